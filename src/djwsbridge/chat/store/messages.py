"""Queries about messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import OuterRef, QuerySet, Subquery

from djwsbridge.accounts import name_in_column
from djwsbridge.chat.models import Message, Room
from djwsbridge.chat.store.database import rows_of
from djwsbridge.chat.store.memberships import writing_permit
from djwsbridge.chat.store.users import DELETED_USER
from djwsbridge.chat.values import MessageView, UserRef
from djwsbridge.log.rows import find_rows, insert_rows
from djwsbridge.protocol.topics import wire_id

__all__ = [
    "add_messages",
    "erase_messages",
    "find_sent",
    "list_messages",
    "newest_messages",
]


def add_messages(messages: Iterable[tuple[Any, MessageView]]) -> int:
    """Store messages, each with the key of its sender, in one statement; leave out those whose sender may not write.

    Call it with the topics of the rooms locked.

    Returns:
        How many were stored.

    Raises:
        IntegrityError: a sender has stored a message with this `client_message_id` before.
    """
    # In one order everywhere: transactions that store the same ids must not wait for each other.
    ordered = sorted(messages, key=lambda pair: pair[1].client_message_id.int)
    return insert_rows(
        Message,
        ("room_id", "seq", "sender_id", "body", "client_message_id", "created"),
        [
            (view.room, view.seq, sender_id, view.body, view.client_message_id, view.created)
            for sender_id, view in ordered
        ],
        permit=writing_permit(),
    )


def erase_messages(room_id: int, seqs: Iterable[int]) -> int:
    """Leave nothing of the text of a room's messages; return how many there were."""
    return rows_of(Message).filter(room_id=room_id, seq__in=list(seqs)).update(body="")


def find_sent(keys: Iterable[tuple[Any, uuid.UUID]]) -> dict[tuple[Any, uuid.UUID], MessageView]:
    """Return which of these (sender, `client_message_id`) were stored before, and what."""
    found = find_rows(Message, ("sender_id", "client_message_id"), keys)
    if not found:  # as nearly always: few sends are retries
        return {}
    senders, ids = zip(*found, strict=True)
    rows = rows_of(Message).filter(sender_id__in=set(senders), client_message_id__in=set(ids))
    return {(key, view.client_message_id): view for key, view in _keyed_views(rows)}


def list_messages(room_id: int, *, before: int, after: int | None, limit: int) -> list[MessageView]:
    """Return up to `limit` messages before a seq, ascending: those nearest to it, or those next after another one."""
    rows = rows_of(Message).filter(room_id=room_id, seq__lt=before)
    if after is not None:
        return _views(rows.filter(seq__gt=after).order_by("seq")[:limit])
    return _views(rows.order_by("-seq")[:limit])[::-1]


def newest_messages(room_ids: Iterable[int]) -> list[MessageView]:
    """Return the newest message of each room."""
    newest = rows_of(Message).filter(room_id=OuterRef("pk")).order_by("-seq").values("pk")[:1]
    rooms = rows_of(Room).filter(pk__in=list(room_ids)).order_by()
    rows = rows_of(Message).filter(pk__in=rooms.values_list(Subquery(newest), flat=True))
    return _views(rows)


def _views(rows: QuerySet[Message]) -> list[MessageView]:
    return [view for _, view in _keyed_views(rows)]


def _keyed_views(rows: QuerySet[Message]) -> Iterator[tuple[Any, MessageView]]:
    """Yield messages, each with its sender's key; without the objects, of which a page would need a hundred."""
    names = ("room", "seq", "body", "created", "client_message_id")
    username = f"sender__{get_user_model().USERNAME_FIELD}"
    columns = ("sender_id", username, "room_id", *names[1:])
    for sender_id, name, *values in rows.values_list(*columns):
        sender = (
            DELETED_USER if sender_id is None else UserRef(wire_id(sender_id), name_in_column(name))
        )
        yield sender_id, MessageView(sender=sender, **dict(zip(names, values, strict=True)))
