from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from djwsbridge.chat.commands import ListMessages, MarkRead, SendMessage
from djwsbridge.protocol.codec import Codec
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

CODEC = Codec([SendMessage, ListMessages, MarkRead])
MESSAGE_ID = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
SEND = {"id": 1, "cmd": "message.send", "room": 4, "body": "hi", "client_message_id": MESSAGE_ID}
LIST = {"id": 1, "cmd": "message.list", "room": 4}
READ = {"id": 1, "cmd": "room.mark_read", "room": 4, "seq": 7}


@pytest.mark.parametrize(
    ("frame", "command"),
    [
        (SEND, SendMessage(id=1, room=4, body="hi", client_message_id=uuid.UUID(MESSAGE_ID))),
        (LIST, ListMessages(id=1, room=4)),
        ({**LIST, "before": 0, "limit": 10**6}, ListMessages(id=1, room=4, before=0, limit=10**6)),
        ({**LIST, "after": 9}, ListMessages(id=1, room=4, after=9)),
        (READ, MarkRead(id=1, room=4, seq=7)),
    ],
)
def test_frames_are_read(frame: dict[str, Any], command: object) -> None:
    assert CODEC.decode(json.dumps(frame)) == command


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        ({**SEND, "body": None}, ErrorCode.BAD_FIELD, "body"),
        ({**SEND, "body": 5}, ErrorCode.BAD_FIELD, "body"),
        ({**SEND, "body": True}, ErrorCode.BAD_FIELD, "body"),
        ({**SEND, "body": []}, ErrorCode.BAD_FIELD, "body"),
        ({**SEND, "client_message_id": ""}, ErrorCode.BAD_FIELD, "client_message_id"),
        ({**SEND, "client_message_id": "x" * 10_000}, ErrorCode.BAD_FIELD, "client_message_id"),
        ({**SEND, "client_message_id": None}, ErrorCode.BAD_FIELD, "client_message_id"),
        ({**SEND, "room": 0}, ErrorCode.BAD_FIELD, "room"),
        ({**SEND, "room": 1.5}, ErrorCode.BAD_FIELD, "room"),
        ({**SEND, "room": "4"}, ErrorCode.BAD_FIELD, "room"),
        ({**SEND, "sender": 1}, ErrorCode.UNKNOWN_FIELD, None),
        ({**SEND, "seq": 1}, ErrorCode.UNKNOWN_FIELD, None),
        ({**SEND, "created": "2026-01-01"}, ErrorCode.UNKNOWN_FIELD, None),
        ({**SEND, "body": "a\0b"}, ErrorCode.BAD_TEXT, None),
        ({**LIST, "before": -1}, ErrorCode.BAD_FIELD, "before"),
        ({**LIST, "after": -1}, ErrorCode.BAD_FIELD, "after"),
        ({**LIST, "limit": 0}, ErrorCode.BAD_FIELD, "limit"),
        ({**READ, "seq": -1}, ErrorCode.BAD_FIELD, "seq"),
        ({"id": 1, "cmd": "room.mark_read", "room": 4}, ErrorCode.BAD_FIELD, "seq"),
    ],
)
def test_anything_else_is_refused(
    frame: dict[str, Any], code: ErrorCode, field: str | None
) -> None:
    with pytest.raises(CommandError) as caught:
        CODEC.decode(json.dumps(frame))
    assert caught.value.code is code
    assert caught.value.details.get("field") == field
