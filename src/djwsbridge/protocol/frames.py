"""The frames of the core, as values.

A class decodes, checks and documents its frame: msgspec reads JSON straight into it, refuses unknown fields, and
renders the schema of the protocol page. Other apps derive from `Command` and register their class with the transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

__all__ = [
    "MAX_INTEGER",
    "MAX_KEY_LENGTH",
    "TOPIC_PATTERN",
    "Command",
    "Connect",
    "Cursor",
    "Heartbeat",
    "ListPresence",
    "ObjectId",
    "PlainMessage",
    "Push",
    "RecoverTopic",
    "RefreshToken",
    "SendToUser",
    "Subscribe",
    "Topic",
    "Unsubscribe",
]

MAX_INTEGER = (
    2**53 - 1
)  # the largest integer that every JSON reader keeps exact (RFC 8259, section 6)

MAX_KEY_LENGTH = 255  # characters of a user's key in text; what a CharField usually holds at most
#: A number that names something: a room, a frame.
ObjectId = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
#: What a topic may be called. `$` alone would let a line feed through at the end.
TOPIC_PATTERN = r"^[A-Za-z0-9_.\-]{1,80}$(?!\n)"
#: The name of a topic, such as `room.42`.
Topic = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=TOPIC_PATTERN)]
#: What a client has of a topic: (epoch, seq).
Cursor = tuple[
    Annotated[str, msgspec.Meta(max_length=64)], Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
]
_Credential = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class Command(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="cmd"
):
    """A frame from the client that asks for something.

    Attributes:
        id: chosen by the client, repeated in the reply; unique among its commands in flight.
    """

    id: ObjectId


class Connect(Command, frozen=True, kw_only=True, tag="connect"):
    """Say who is there and what they have: the first command of every connection.

    Attributes:
        ticket: a one-time ticket, when the handshake carried no credential.
        token: a JWT access token, likewise.
        cursors: what the client has of each topic; the answer says for each whether it could be recovered.
    """

    ticket: _Credential | None = None
    token: _Credential | None = None
    cursors: dict[Topic, Cursor] = {}


class Heartbeat(Command, frozen=True, kw_only=True, tag="heartbeat"):
    """Show that this client is alive and ask whether the server is.

    Attributes:
        proof: the number of the push `proof` that is answered by this; None when the client beats by itself.
    """

    proof: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class RecoverTopic(Command, frozen=True, kw_only=True, tag="topic.recover"):
    """Ask what was missed on a topic that this connection is subscribed to, or for the next page of it.

    Attributes:
        topic: which.
        epoch: the client has everything of this life of the log,
        seq: up to this number.
    """

    topic: Topic
    epoch: Annotated[str, msgspec.Meta(max_length=64)]
    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]


class RefreshToken(Command, frozen=True, kw_only=True, tag="auth.refresh"):
    """Replace the token of this connection by a newer one of the same user."""

    token: _Credential


class Subscribe(Command, frozen=True, kw_only=True, tag="subscribe"):
    """Listen to a topic."""

    topic: Topic


class Unsubscribe(Command, frozen=True, kw_only=True, tag="unsubscribe"):
    """Stop listening to a topic."""

    topic: Topic


class ListPresence(Command, frozen=True, kw_only=True, tag="presence.list"):
    """Ask who is online on a topic that this connection is subscribed to."""

    topic: Topic


class SendToUser(Command, frozen=True, kw_only=True, tag="user.send"):
    """Relay a message to another user: the v1 form of the plain dialect's frame.

    Attributes:
        recipient: the key of a user: an integer, a numeric string or a UUID; any text where users have such keys.
        type: what the message is, such as `text`; see the setting DJWSBRIDGE_ALLOWED_TYPES.
        content: the text.
    """

    recipient: (
        Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
        | Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_LENGTH)]
    )
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "text"
    content: str


class PlainMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A frame of the plain dialect, checked.

    Attributes:
        frame: the keys and values as they came in, without `sender`.
        type: the value of `type`; None when the frame has none.
        body: the text under `message` or `content`; None when the frame has none.
        recipient: the key of a user, as `read_recipient` returns it; None when the frame has none.
    """

    frame: Mapping[str, Any]
    type: str | None
    body: str | None
    recipient: int | str | None


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """A frame from the server that nobody asked for.

    Attributes:
        type: what happened, such as `message.sent`; on the wire the value of `push`.
        topic: where it was published; None for pushes to one connection.
        seq: its number in the topic; None when the push is not durable.
        data: the payload, JSON text that is passed on as it is.
    """

    type: str = msgspec.field(name="push")
    topic: str | None = None
    seq: int | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
