"""Private conversations: exactly one room per pair of people."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError
from django.utils import timezone

from djwsbridge.accounts import name_of
from djwsbridge.chat import store
from djwsbridge.chat.services.access import enter_room, view_room
from djwsbridge.chat.services.messages import send_message
from djwsbridge.chat.services.transactions import one_transaction
from djwsbridge.chat.values import RoomView, UserRef
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import check_body
from djwsbridge.publish import publish, publish_events
from djwsbridge.runtime import user_topic

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["find_direct", "open_direct", "send_private"]


def open_direct(*, actor: AbstractBaseUser, user_id: int | str | None) -> RoomView:
    """Return the actor's direct room with a user (or with themselves); make it if there is none.

    Raises:
        CommandError: `not_found` when there is no such active user, `rate_limited` when the actor
            has begun too many conversations lately.
    """
    peer = store.find_user(user_id)
    if peer is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    room_id = store.find_direct(actor, peer)
    if room_id is None:
        _check_rate(actor)
        try:
            return _make(actor, peer)
        except IntegrityError:  # the other one was faster
            room_id = store.find_direct(actor, peer)
    return view_room(actor, room_id)


def find_direct(*, actor: AbstractBaseUser, username: str) -> tuple[UserRef, RoomView | None]:
    """Return the user of a name and the actor's direct room with them, None if there is none.

    Raises:
        CommandError: `not_found` when there is no such user, or an inactive one without such a room.
    """
    peer = store.find_username(username, active_only=False)
    room_id = None if peer is None else store.find_direct(actor, peer)
    if peer is None or not (peer.is_active or room_id):
        raise CommandError(ErrorCode.NOT_FOUND)
    room = None if room_id is None else store.room_view(actor, room_id)
    return store.user_ref(peer), room


def send_private(*, actor: AbstractBaseUser, username: str, body: str) -> UserRef:
    """Store a message in the actor's direct room with a user, made if there is none, and tell that user's devices.

    Returns:
        Who it is for.

    Raises:
        CommandError: `bad_recipient` when there is no such active user; else as `open_direct` and `send_message`.
    """
    try:
        return _send_private(actor, username, body)
    except IntegrityError:  # an account was deleted meanwhile
        if store.find_username(username) is not None:
            raise
        raise CommandError(ErrorCode.BAD_RECIPIENT) from None


@one_transaction()
def _send_private(actor: AbstractBaseUser, username: str, body: str) -> UserRef:
    peer = store.find_username(username)
    if peer is None:
        raise CommandError(ErrorCode.BAD_RECIPIENT)
    check_body(body)  # before there is a room for it
    room = open_direct(actor=actor, user_id=peer.pk)
    send_message(actor=actor, room_id=room.id, body=body, client_message_id=uuid.uuid4())
    if store.find_username(username) != peer:  # looked at again, under the lock of the room
        raise CommandError(ErrorCode.BAD_RECIPIENT)
    notice = {"user": name_of(actor), "message": body}
    publish(user_topic(peer.pk), "private_message", notice)
    return store.user_ref(peer)


def _check_rate(actor: AbstractBaseUser) -> None:
    """Stop who writes to everybody; of requests at once a few more may come through.

    Raises:
        CommandError: `rate_limited`.
    """
    count, seconds = settings.DIRECT_RATE
    now, window = timezone.now(), timedelta(seconds=seconds)
    made = store.recent_directs(actor, after=now - window, limit=count)
    if len(made) >= count:
        wait = made[-1] + window - now
        milliseconds = int(wait / timedelta(milliseconds=1)) + 1
        raise CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=milliseconds)


@one_transaction()
def _make(actor: AbstractBaseUser, peer: AbstractBaseUser) -> RoomView:
    room_id = store.make_direct(actor, peer)
    room, joined = enter_room(actor, room_id)
    others = [enter_room(peer, room_id)[1]] if peer.pk != actor.pk else []
    publish_events([joined, *others])
    return room
