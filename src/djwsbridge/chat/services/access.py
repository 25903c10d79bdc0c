"""What all services begin with: may the actor be here, and which topics hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djwsbridge.chat import store
from djwsbridge.chat.values import RoomJoined, RoomView
from djwsbridge.durable import installed_log
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.publish import publish, subscribe_user

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["announce_joined", "require_member", "room_seq", "room_topic", "user_topic", "view_room"]


def room_topic(room_id: int) -> str:
    """Return the topic of a room's members."""
    return f"room.{room_id}"


def user_topic(user_id: object) -> str:
    """Return the topic of one user's devices."""
    return f"user.{user_id}"


def room_seq(room_id: int) -> int:
    """Return the number of the newest event of a room."""
    topic, log = room_topic(room_id), installed_log()
    return log.tips([topic]).get(topic, 0) if log is not None else 0


def require_member(actor: AbstractBaseUser, room_id: int) -> store.Access:
    """Return the actor's access to a room.

    Raises:
        CommandError: `not_found` when they are no member, whether the room exists or not.
    """
    access = store.find_access(actor, room_id)
    if access is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    return access


def view_room(actor: AbstractBaseUser, room_id: int | None) -> RoomView:
    """Return a room as the actor sees it.

    Raises:
        CommandError: `not_found` when they may not know of it.
    """
    room = None if room_id is None else store.room_view(actor, room_id)
    if room is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    return room


def announce_joined(user: AbstractBaseUser, room_id: int) -> RoomView:
    """Let every device of a new member listen to the room; return it as they see it."""
    room = view_room(user, room_id)
    subscribe_user(user.pk, room_topic(room_id))
    publish(user_topic(user.pk), "room.joined", RoomJoined(room), durable=True)
    return room
