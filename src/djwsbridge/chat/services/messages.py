"""Messages: send, list, mark as read."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from djwsbridge.chat import store
from djwsbridge.chat.services.access import require_member, room_topic
from djwsbridge.chat.values import MessagePage, MessageView, ReadView
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import check_body
from djwsbridge.publish import publish

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["PAGE_LIMIT", "list_messages", "mark_read", "send_message"]

PAGE_SIZE = 50  # messages; two screens
PAGE_LIMIT = 500  # messages; the most that one answer holds


def send_message(
    *, actor: AbstractBaseUser, room_id: int, body: str, client_message_id: uuid.UUID
) -> MessageView:
    """Store a message, number it, and publish it to the room's members after commit.

    A retry with the same `client_message_id` returns what the first try stored. The unique
    constraint decides this, not a look-up: of two tries at once, one stores.

    Raises:
        CommandError: `not_found` when the actor is no member, `bad_text`, `too_large` or
            `empty_body` for the body, `idempotency_conflict` when the id was used for another
            message.
    """
    check_body(body)
    try:
        return _store_message(actor, room_id, body, client_message_id)
    except (IntegrityError, CommandError):
        # Refused as a duplicate, or by a room that was left after the first try was stored.
        first = store.find_message(actor, client_message_id)
        if first is None:
            raise
    if (first.room, first.body) != (room_id, body):
        raise CommandError(ErrorCode.IDEMPOTENCY_CONFLICT)
    return first


@transaction.atomic
def _store_message(
    actor: AbstractBaseUser, room_id: int, body: str, client_message_id: uuid.UUID
) -> MessageView:
    access = require_member(actor, room_id)
    seq, now = store.next_seq(room_id)  # locks the room: after every check
    message = store.add_message(
        actor, room_id, seq=seq, created=now, body=body, client_message_id=client_message_id
    )
    store.raise_read_seq(access, seq)
    publish(room_topic(room_id), "message.sent", message, seq=seq)
    return message


def list_messages(
    *,
    actor: AbstractBaseUser,
    room_id: int,
    before: int | None = None,
    after: int | None = None,
    limit: int = PAGE_SIZE,
) -> MessagePage:
    """Return a part of a room's history: the newest messages, or those next to a seq.

    Raises:
        CommandError: `not_found` when the actor is no member, `bad_field` for a negative seq, both
            seqs at once or a limit below one. A limit that is too high is lowered.
    """
    if limit < 1:
        raise CommandError(ErrorCode.BAD_FIELD, field="limit")
    if before is not None and (after is not None or before < 0):
        raise CommandError(ErrorCode.BAD_FIELD, field="before")
    if after is not None and after < 0:
        raise CommandError(ErrorCode.BAD_FIELD, field="after")
    last_seq = require_member(actor, room_id).last_seq
    messages = store.list_messages(
        room_id, before=before, after=after, limit=min(limit, PAGE_LIMIT)
    )
    if messages:  # one may have come in between the two queries
        last_seq = max(last_seq, messages[-1].seq)
    return MessagePage(messages=messages, last_seq=last_seq)


def mark_read(*, actor: AbstractBaseUser, room_id: int, seq: int) -> ReadView:
    """Move the actor's read pointer of a room forward; it never goes back.

    Raises:
        CommandError: `not_found` when the actor is no member, `bad_field` for a negative seq,
            `bad_ack` for one that does not exist yet.
    """
    if seq < 0:
        raise CommandError(ErrorCode.BAD_FIELD, field="seq")
    access = require_member(actor, room_id)
    if seq > access.last_seq:
        raise CommandError(ErrorCode.BAD_ACK)
    store.raise_read_seq(access, seq)
    return ReadView(read_seq=max(access.read_seq, seq))
