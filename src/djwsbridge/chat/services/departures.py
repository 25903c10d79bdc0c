"""Rights that end because a project deletes or deactivates accounts, or deletes rooms or memberships.

Each function works in the transaction that changes the rows. It locks the topics of the rooms first, so that messages
which are on their way are stored before, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from djwsbridge.chat import store
from djwsbridge.chat.names import room_topic
from djwsbridge.chat.services.access import event
from djwsbridge.chat.services.transactions import one_transaction
from djwsbridge.chat.values import MemberChange, RoomLeft
from djwsbridge.publish import publish_events, unsubscribe_user
from djwsbridge.runtime import user_topic

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from djwsbridge.durable import NewEvent

__all__ = ["delete_membership", "delete_room", "delete_user", "hold_messages", "left_events"]


@one_transaction()
def delete_user(*, user: AbstractBaseUser) -> None:
    """End all memberships of a user whose account is being deleted, and tell the groups."""
    groups = _end_memberships(user, _room_ids(user))
    if groups:
        publish_events([_member_left(room_id, user) for room_id in groups])


@one_transaction()
def delete_membership(*, user: AbstractBaseUser, room_id: int) -> None:
    """End a membership whose row is being deleted, and tell the group and the user's devices."""
    groups = _end_memberships(user, [room_id])
    unsubscribe_user(user.pk, room_topic(room_id))
    if groups:
        publish_events(left_events(room_id, user))


@one_transaction()
def delete_room(*, room_id: int) -> None:
    """End all memberships of a room that is being deleted, tell the members' devices, and empty its log."""
    store.lock_rooms([room_id])
    former = store.remove_all_members(room_id)
    store.clear_log(room_id)
    for user_id in former:
        unsubscribe_user(user_id, room_topic(room_id))
    left = RoomLeft(room_id)
    publish_events([event(user_topic(user_id), "room.left", left) for user_id in former])


@one_transaction()
def hold_messages(*, user: AbstractBaseUser) -> None:
    """Wait for the messages of a user who was deactivated, and let none be stored until the transaction ends."""
    store.lock_rooms(_room_ids(user))


def left_events(room_id: int, user: AbstractBaseUser) -> list[NewEvent]:
    """Return what the user's devices and the members of a group are told of a leaving."""
    own = event(user_topic(user.pk), "room.left", RoomLeft(room_id))
    return [own, _member_left(room_id, user)]


def _room_ids(user: AbstractBaseUser) -> list[int]:
    return store.list_room_ids([user]).get(user.pk, [])


def _end_memberships(user: AbstractBaseUser, room_ids: Sequence[int]) -> list[int]:
    """Remove a user from rooms under their locks; return the groups among those that they were in."""
    if not room_ids:
        return []
    store.lock_rooms(room_ids)
    removed = store.remove_memberships(user, room_ids)
    for one in removed:
        if one.is_owner:
            store.pass_on_ownership(one.room_id)
    return [one.room_id for one in removed if one.is_group]


def _member_left(room_id: int, user: AbstractBaseUser) -> NewEvent:
    return event(room_topic(room_id), "member.left", MemberChange(room_id, store.user_ref(user)))
