"""The commands that the chat adds to the protocol."""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec

from djwsbridge.protocol.frames import MAX_INTEGER, Command, ObjectId

__all__ = ["ListMessages", "MarkRead", "SendMessage"]

#: A number of a message in its room; 0 stands before the first.
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]


class SendMessage(Command, frozen=True, kw_only=True, tag="message.send"):
    """Store a message in a room and push it to the members.

    Attributes:
        room: the id of a room that the sender is a member of.
        body: the text.
        client_message_id: made by the client once per message; a retry with it is harmless.
    """

    room: ObjectId
    body: str
    client_message_id: uuid.UUID


class ListMessages(Command, frozen=True, kw_only=True, tag="message.list"):
    """Ask for a part of a room's history: the newest messages, or those next to a seq.

    Attributes:
        room: the id of a room that the asker is a member of.
        before: only messages with a lower seq, the nearest first taken.
        after: only messages with a higher seq, likewise; not together with `before`.
        limit: how many at most; more than 500 are 500.
    """

    room: ObjectId
    before: Seq | None = None
    after: Seq | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)] = 50


class MarkRead(Command, frozen=True, kw_only=True, tag="room.mark_read"):
    """Say that everything up to a seq was read.

    Attributes:
        room: the id of a room that the reader is a member of.
        seq: the last message that was read.
    """

    room: ObjectId
    seq: Seq
