"""The commands that the chat adds to the protocol."""

from __future__ import annotations

import uuid
from typing import Annotated

import msgspec

from djwsbridge.protocol.frames import MAX_INTEGER, Command, ObjectId, Topic

__all__ = [
    "Acknowledge",
    "ListMembers",
    "ListMessages",
    "MarkRead",
    "SendMessage",
    "SetTyping",
]

#: A number of an event in its room; 0 stands before the first.
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


class Acknowledge(Command, frozen=True, kw_only=True, tag="ack"):
    """Say that this device has everything of some rooms up to a seq.

    Attributes:
        seqs: topic → seq, at most 200; topics that are no rooms of the user are passed over.
    """

    seqs: dict[Topic, Seq]


class MarkRead(Command, frozen=True, kw_only=True, tag="room.mark_read"):
    """Say that everything up to a seq was read, and so has arrived.

    Attributes:
        room: the id of a room that the reader is a member of.
        seq: the last message that was read.
    """

    room: ObjectId
    seq: Seq


class SetTyping(Command, frozen=True, kw_only=True, tag="typing.set"):
    """Say that the user is writing in a room; to be repeated every 3 s as long as they do.

    Attributes:
        room: the id of a room that the user is a member of.
    """

    room: ObjectId


class ListMembers(Command, frozen=True, kw_only=True, tag="room.members"):
    """Ask who is in a room, who of them is online, and when the others were last seen.

    Attributes:
        room: the id of a room that the asker is a member of.
    """

    room: ObjectId
