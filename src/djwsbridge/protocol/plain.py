"""The plain dialect: the frames of the first seed, spoken without a subprotocol.

In `{"type", "message" or "content", "recipient", …}`; out the same keys plus the server's own `sender`. Errors are
`{"error": "<text>", "code": …}`. What `send_ws_message` sends arrives flat.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from djwsbridge.protocol.codec import MAX_TYPE_LENGTH, decode_push, load_object
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER, MAX_KEY_LENGTH, PlainMessage
from djwsbridge.protocol.text import check_body

__all__ = ["BODY_KEYS", "PlainDialect", "read_recipient"]

BODY_KEYS = ("content", "message")
MAX_ID_LENGTH = 64  # characters; a UUID has 36
_FLAT_PUSHES = frozenset({"signal", "user.message"})
_NUMBER = re.compile(r"[0-9]{1,16}")
_encoder = msgspec.json.Encoder()


class PlainDialect:
    """The seed's frames. It has no ids and no replies: what was sent comes back as a push.

    Args:
        text_keys: see `read_recipient`.
    """

    name = None

    def __init__(self, *, text_keys: bool = False) -> None:
        self._text_keys = text_keys

    def decode(self, text: str) -> PlainMessage:
        """Return the message that a text frame holds.

        Raises:
            CommandError: with the code of what is wrong.
        """
        frame = load_object(text)
        frame.pop("sender", None)
        return PlainMessage(
            frame=frame,
            type=_read_type(frame),
            body=_read_body(frame),
            recipient=read_recipient(frame.get("recipient"), text_keys=self._text_keys),
        )

    def encode_reply(self, command: object, ok: object) -> str | None:
        """Answer nothing: this dialect has no replies."""
        return None

    def encode_error(self, error: CommandError) -> str:
        """Write an error; the socket stays open."""
        return _encoder.encode(
            {"error": error.message, "code": error.code.value, **error.details}
        ).decode()

    encode_farewell = encode_error

    def encode_push(self, text: str) -> str | None:
        """Write a push flat; None for the pushes that the seed's clients do not know."""
        push = decode_push(text)
        return bytes(push.data).decode() if push.type in _FLAT_PUSHES else None


def _read_type(frame: Mapping[str, Any]) -> str | None:
    value = frame.get("type")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_TYPE_LENGTH):
        raise CommandError(ErrorCode.BAD_FIELD, field="type")
    return value


def _read_body(frame: Mapping[str, Any]) -> str | None:
    keys = [key for key in BODY_KEYS if key in frame]
    if not keys:
        return None
    if len(keys) > 1:
        raise CommandError(ErrorCode.BAD_FIELD, "Use `message` or `content`, not both.")
    return check_body(frame[keys[0]])


def read_recipient(value: object, *, text_keys: bool = False) -> int | str | None:
    """Return the key of a user: an int, or the canonical text of a UUID; None when there is none.

    Args:
        value: what a client has written.
        text_keys: whether any text can be the key of a user; it is returned as it was written then.

    Raises:
        CommandError: `bad_recipient`.
    """
    if value is None:
        return None
    if type(value) is int and 0 <= value <= MAX_INTEGER:
        return value
    if text_keys and isinstance(value, str) and 0 < len(value) <= MAX_KEY_LENGTH:
        return value
    if not text_keys and isinstance(value, str) and len(value) <= MAX_ID_LENGTH:
        if _NUMBER.fullmatch(value):
            return int(value)
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise CommandError(ErrorCode.BAD_RECIPIENT)
