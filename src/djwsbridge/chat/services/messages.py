"""Messages: send, list, erase."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import cast

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError

from djwsbridge.chat import store
from djwsbridge.chat.names import room_id_of, room_topic
from djwsbridge.chat.services.access import require_member, room_seq
from djwsbridge.chat.services.transactions import one_transaction
from djwsbridge.chat.values import MessagePage, MessageView
from djwsbridge.durable import NewEvent
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import check_body
from djwsbridge.publish import publish_events

__all__ = [
    "PAGE_LIMIT",
    "Outgoing",
    "erase_messages",
    "list_messages",
    "send_message",
    "send_messages",
]

PAGE_SIZE = 50  # messages; two screens
PAGE_LIMIT = 500  # messages; the most that one answer holds
PAGE_BYTES = (
    512 * 1024
)  # of one answer; Daphne sends no frame above 1 MiB, and a phone has to read it in one piece


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message that somebody wants to send."""

    actor: AbstractBaseUser
    room_id: int
    body: str
    client_message_id: uuid.UUID


def send_message(
    *, actor: AbstractBaseUser, room_id: int, body: str, client_message_id: uuid.UUID
) -> MessageView:
    """Store a message, number it, and push it to the room's members after commit.

    A retry with the same `client_message_id` returns what the first try stored. The unique
    constraint decides what is one, not a look-up: of two tries at once, one stores.

    Raises:
        CommandError: `not_found` when the actor is no member, `bad_text`, `too_large` or
            `empty_body` for the body, `idempotency_conflict` when the id was used for another
            message.
    """
    outgoing = Outgoing(
        actor=actor, room_id=room_id, body=body, client_message_id=client_message_id
    )
    result = send_messages([outgoing])[0]
    if isinstance(result, Exception):
        raise result
    return result


def send_messages(sends: Sequence[Outgoing]) -> list[MessageView | Exception]:
    """Do what `send_message` does for many messages in one transaction.

    Returns:
        For each what was stored, or why it was not.
    """
    if not sends:
        return []
    with contextlib.suppress(IntegrityError, _MayNotWrite):
        return _send_together(sends, may_be_retries=False)
    # One of them was stored before, or its sender has lost the right to write: that has committed by now.
    try:
        return _send_together(sends, may_be_retries=True)
    except (IntegrityError, _MayNotWrite) as error:
        # It has happened again, to another one: send each message alone.
        if len(sends) == 1:
            return [
                error if isinstance(error, IntegrityError) else CommandError(ErrorCode.NOT_FOUND)
            ]
        return [result for send in sends for result in send_messages([send])]


class _MayNotWrite(Exception):
    """A sender has lost the right to write between the first look at it and the lock."""


@one_transaction()
def _send_together(
    sends: Sequence[Outgoing], *, may_be_retries: bool
) -> list[MessageView | Exception]:
    """Check everything first, then lock, number and store what is new.

    Raises:
        IntegrityError: a message was stored before; not when `may_be_retries`, unless that was a moment ago.
        _MayNotWrite: a sender has lost the right to write since this has checked it.
    """
    writers = store.find_writers((send.room_id, send.actor.pk) for send in sends)
    # Who has left since the first try still gets its reply.
    first_tries = store.find_sent(
        (send.actor.pk, send.client_message_id)
        for send in sends
        if may_be_retries or (send.room_id, send.actor.pk) not in writers
    )
    results: list[MessageView | Exception | None] = [None] * len(sends)
    new: dict[tuple[object, uuid.UUID], int] = {}
    for index, send in enumerate(sends):
        key = (send.actor.pk, send.client_message_id)
        try:
            if key in first_tries:
                results[index] = _same(first_tries[key], send)
            else:
                _check(send, may_write=(send.room_id, send.actor.pk) in writers)
                new.setdefault(key, index)
        except CommandError as error:
            results[index] = error
    stored = _store([sends[index] for index in new.values()])
    views = dict(zip(new, stored, strict=True))
    return [
        result if result is not None else _result_of(views, send)
        for send, result in zip(sends, results, strict=True)
    ]


def _check(send: Outgoing, *, may_write: bool) -> None:
    """Raise what is wrong with a message."""
    check_body(send.body)
    if not may_write:
        raise CommandError(ErrorCode.NOT_FOUND)


def _store(sends: Sequence[Outgoing]) -> list[MessageView]:
    """Number and store messages, and push them after commit.

    Raises:
        _MayNotWrite: under the lock that numbering takes, a sender may not write any more.
    """

    def view(send: Outgoing, seq: int, now: datetime) -> MessageView:
        return MessageView(
            room=send.room_id,
            seq=seq,
            sender=store.user_ref(send.actor),
            body=send.body,
            created=now,
            client_message_id=send.client_message_id,
        )

    events = publish_events(
        [NewEvent(room_topic(send.room_id), "message.sent", partial(view, send)) for send in sends]
    )
    views = [cast("MessageView", event.data) for event in events]
    rows = ((send.actor.pk, stored) for send, stored in zip(sends, views, strict=True))
    if store.add_messages(rows) < len(views):
        raise _MayNotWrite
    return views


def _result_of(
    views: Mapping[tuple[object, uuid.UUID], MessageView], send: Outgoing
) -> MessageView | Exception:
    """Return the outcome of a message, which may stand twice in one group."""
    try:
        return _same(views[send.actor.pk, send.client_message_id], send)
    except CommandError as error:
        return error


def _same(first: MessageView, send: Outgoing) -> MessageView:
    """Return what the first try stored, if this is a retry of it. What was erased since has no text to compare.

    Raises:
        CommandError: `idempotency_conflict`, it is another message.
    """
    if first.room != send.room_id or first.body not in ("", send.body):
        raise CommandError(ErrorCode.IDEMPOTENCY_CONFLICT)
    return first


def list_messages(
    *,
    actor: AbstractBaseUser,
    room_id: int,
    before: int | None = None,
    after: int | None = None,
    limit: int = PAGE_SIZE,
) -> MessagePage:
    """Return a part of a room's history: the newest messages, or those next to a seq.

    What does not fit into the bytes of one answer is left for the next page, but never all of it.

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
    # In this order: what is shown was there before the actor was seen to be a member.
    last_seq = room_seq(room_id)
    require_member(actor, room_id)
    limit = min(limit, PAGE_LIMIT)
    before = last_seq + 1 if before is None else min(before, last_seq + 1)
    found = store.list_messages(room_id, before=before, after=after, limit=limit + 1)
    nearest = found if after is not None else found[::-1]
    kept = _fit(nearest[:limit])
    messages = kept if after is not None else kept[::-1]
    return MessagePage(messages=messages, last_seq=last_seq, more=len(messages) < len(found))


def _fit(messages: Sequence[MessageView]) -> list[MessageView]:
    """Return the first messages that go into one answer, at least one of them."""
    kept: list[MessageView] = []
    size = 0
    for message in messages:
        size += len(msgspec.json.encode(message))
        if kept and size > PAGE_BYTES:
            break
        kept.append(message)
    return kept


def erase_messages(*, topic: str, seqs: Sequence[int]) -> int:
    """Erase the text of a room's messages and leave the rest, so that no number is missing; return how many there were.

    Nobody's command: it is what scrubbing the log of a room means for the chat.
    """
    return store.erase_messages(room_id_of(topic), seqs)
