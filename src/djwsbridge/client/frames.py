"""The frames of the wire protocol as a client sees them: decoded once, here.

Fields that this version does not know are passed over, so that a newer server can be talked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from djwsbridge.client.errors import BadFrameError
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = [
    "Message",
    "Person",
    "Push",
    "ReceiptEntry",
    "Reply",
    "TopicReport",
    "Welcome",
    "decode_frame",
    "encode_command",
    "read_message",
    "read_moved",
    "read_tips",
    "read_topic_report",
    "read_welcome",
]


class Push(msgspec.Struct, frozen=True, omit_defaults=True):
    """A frame from the server that nobody asked for.

    Attributes:
        type: what happened, such as `message.sent`.
        topic: where; None for what concerns this connection alone.
        seq: its number in the topic; None when it is not durable.
        data: the payload. `{"scrubbed": True}` in a durable push: its content was erased, its number stays.
        epoch: the life of the topic's log; in the very first push of a topic, else None.
    """

    type: str = msgspec.field(name="push")
    topic: str | None = None
    seq: int | None = None
    data: Any = None
    epoch: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """The answer to one command.

    Attributes:
        id: the command's; None when the server could not read it.
        result: what it answered: an object, or the error.
    """

    id: int | None
    result: Mapping[str, Any] | CommandError


class Person(msgspec.Struct, frozen=True):
    """A user as others see them.

    Attributes:
        id: a number, or a UUID where the user model has one.
        name: the user name.
    """

    id: int | str
    name: str = ""


class Message(msgspec.Struct, frozen=True):
    """A message as it is stored.

    Attributes:
        room: the id of its room.
        seq: its number there.
        sender: who wrote it.
        body: the text; empty when it was erased.
        created: when it was stored, by the server's clock, ISO 8601.
        client_message_id: made by its sender.
    """

    room: int
    seq: int
    sender: Person
    body: str
    created: str
    client_message_id: str


class ReceiptEntry(msgspec.Struct, frozen=True):
    """What a member has of a room; `read_seq` is None when the member does not tell."""

    user: int | str
    delivered_seq: int = 0
    read_seq: int | None = None


class TopicReport(msgspec.Struct, frozen=True):
    """What the server tells of a topic when it is subscribed to or recovered.

    Attributes:
        epoch: the present life of its log, empty before the first event; None when the topic has no log.
        seq: the newest event's number; None when the topic has no log.
        recovered: whether `events` is what was missed.
        events: the missed pushes, in order.
        more: whether there are further ones.
        omitted: whether there is more to say of the topic than went into this answer.
        reason: why it was not recovered; None when there is nothing to say.
        receipts: of the members, whole; None when they are not told.
    """

    epoch: str | None = None
    seq: int | None = None
    recovered: bool = False
    events: tuple[Push, ...] = ()
    more: bool = False
    omitted: bool = False
    reason: str | None = None
    receipts: tuple[ReceiptEntry, ...] | None = None


class Welcome(msgspec.Struct, frozen=True):
    """The answer to `connect`."""

    connection_id: str
    user: Person
    heartbeat_ms: int = 25_000
    topics: dict[str, TopicReport] = {}
    announced: dict[str, int] = {}


class _Moved(msgspec.Struct):
    topics: dict[str, int]


class _Frame(msgspec.Struct):
    id: int | None = None
    ok: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    push: str | None = None
    topic: str | None = None
    epoch: str | None = None
    seq: int | None = None
    data: Any = None


Value = TypeVar("Value")

_decoder = msgspec.json.Decoder(_Frame)


def encode_command(id: int, cmd: str, fields: Mapping[str, object]) -> str:
    """Write a command as it goes over the wire."""
    return msgspec.json.encode({"id": id, "cmd": cmd, **fields}).decode()


def decode_frame(text: str | bytes) -> Push | Reply:
    """Read a frame of the server.

    Raises:
        BadFrameError: it is neither a reply nor a push.
    """
    if isinstance(text, bytes):
        raise BadFrameError("The server sent a binary frame.")
    try:
        frame = _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise BadFrameError(f"The server sent a frame that cannot be read: {error}") from error
    if frame.push is not None:
        return Push(frame.push, frame.topic, frame.seq, frame.data, frame.epoch)
    if frame.ok is not None:
        return Reply(frame.id, frame.ok)
    if frame.error is not None:
        return Reply(frame.id, _read_error(frame.error))
    raise BadFrameError("The server sent a frame that is neither a reply nor a push.")


def read_welcome(ok: Mapping[str, Any]) -> Welcome:
    """Read the answer to `connect`; raises `BadFrameError`."""
    return _convert(ok, Welcome)


def read_topic_report(ok: Mapping[str, Any]) -> TopicReport:
    """Read the answer to `topic.recover`; raises `BadFrameError`."""
    return _convert(ok, TopicReport)


def read_message(ok: object) -> Message:
    """Read a stored message; raises `BadFrameError`."""
    return _convert(ok, Message)


def read_tips(ok: Mapping[str, Any]) -> dict[str, int]:
    """Read the newest seqs out of the answer to `heartbeat`; raises `BadFrameError`."""
    return _convert(ok.get("tips", {}), dict[str, int])


def read_moved(data: object) -> dict[str, int]:
    """Read the newest seqs out of a push `topics.moved`; raises `BadFrameError`."""
    return _convert(data, _Moved).topics


def _convert(value: object, kind: type[Value]) -> Value:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadFrameError(f"The server sent an answer that cannot be read: {error}") from error


def _read_error(body: Mapping[str, Any]) -> CommandError:
    details = {
        key: value for key, value in body.items() if key not in ("code", "message", "retryable")
    }
    name = body.get("code")
    try:
        code = ErrorCode(name)
    except ValueError:
        # A newer server's: what matters is whether a retry can help.
        code = ErrorCode.INTERNAL if body.get("retryable") is True else ErrorCode.FORBIDDEN
        details["unknown_code"] = str(name)
    message = body.get("message")
    return CommandError(code, message if isinstance(message, str) else None, **details)
