"""What a page of the chat is opened with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djwsbridge.chat import store
from djwsbridge.chat.services.messages import list_messages
from djwsbridge.chat.services.people import view_me
from djwsbridge.chat.services.rooms import MEMBERS_LISTED, count_members, list_rooms
from djwsbridge.chat.values import MessagePage, PageView, RoomView

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["load_page"]


def load_page(*, actor: AbstractBaseUser, room: RoomView | None) -> PageView:
    """Return the actor's rooms; of an open room of theirs the newest messages and the members."""
    page = MessagePage(messages=[], last_seq=0, more=False)
    members, member_count = [], 0
    if room is not None and room.is_member:
        page = list_messages(actor=actor, room_id=room.id)
        members = store.list_members(room.id, limit=MEMBERS_LISTED)
        member_count = count_members(room.id, listed=len(members))
    listed = list_rooms(actor=actor)
    return PageView(
        user=view_me(actor=actor),
        rooms=listed.rooms,
        more_rooms=listed.more,
        room=room,
        messages=page.messages,
        last_seq=page.last_seq,
        members=members,
        member_count=member_count,
    )
