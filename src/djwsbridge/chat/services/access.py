"""What all services begin with: may the actor be here, and who hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from django.db import IntegrityError

from djwsbridge.chat import store
from djwsbridge.chat.names import room_topic
from djwsbridge.chat.values import RoomJoined, RoomView
from djwsbridge.durable import NewEvent
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.publish import subscribe_user
from djwsbridge.runtime import user_topic

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "account_must_last",
    "enter_room",
    "event",
    "require_member",
    "room_seq",
    "view_room",
]


def room_seq(room_id: int) -> int:
    """Return the number of the newest event of a room."""
    return store.room_seqs([room_id]).get(room_id, 0)


def require_member(actor: AbstractBaseUser, room_id: int) -> store.Access:
    """Return the actor's access to a room.

    Raises:
        CommandError: `not_found` when they are no member, whether the room exists or not.
    """
    access = store.find_access(actor, room_id)
    if access is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    return access


@contextmanager
def account_must_last(actor: AbstractBaseUser) -> Iterator[None]:
    """Say so when what is stored in here refers to an account that was deleted a moment ago.

    Raises:
        CommandError: `revoked`.
    """
    try:
        yield
    except IntegrityError:
        if store.find_user(actor.pk) is None:
            raise CommandError(ErrorCode.REVOKED) from None
        raise


def view_room(actor: AbstractBaseUser, room_id: int | None) -> RoomView:
    """Return a room as the actor sees it.

    Raises:
        CommandError: `not_found` when they may not know of it.
    """
    room = None if room_id is None else store.room_view(actor, room_id)
    if room is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    return room


def event(topic: str, type: str, data: msgspec.Struct) -> NewEvent:
    """Return a durable event whose payload does not depend on its number."""
    return NewEvent(topic, type, lambda _seq, _now: data)


def enter_room(user: AbstractBaseUser, room_id: int) -> tuple[RoomView, NewEvent]:
    """Let every device of a new member listen to the room.

    Returns:
        The room as they see it, and the event that tells their devices; the caller publishes it.
    """
    room = view_room(user, room_id)
    subscribe_user(user.pk, room_topic(room_id))
    # The log keeps no second copy of a message: it would have to be found when the message is erased.
    told = msgspec.structs.replace(room, last_message=None)
    return room, event(user_topic(user.pk), "room.joined", RoomJoined(told))
