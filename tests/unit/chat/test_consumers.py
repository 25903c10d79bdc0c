"""What the plain room socket writes; how it behaves is in tests/integration/chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from djwsbridge.chat.consumers import RoomDialect, routes
from djwsbridge.protocol.codec import encode_push

DIALECT = RoomDialect("room.4")
MESSAGE = {"room": 4, "seq": 1, "sender": {"id": 7, "name": "alice"}, "body": "hi"}
ALICE = {"id": 7, "name": "alice"}


@pytest.mark.parametrize(
    ("topic", "push", "data", "written"),
    [
        (
            "room.4",
            "message.sent",
            MESSAGE,
            {"type": "chat_message", "user": "alice", "message": "hi"},
        ),
        ("room.5", "message.sent", MESSAGE, None),
        (
            "room.4",
            "presence.changed",
            {"user": ALICE, "state": "online"},
            {"type": "user_join", "user": "alice"},
        ),
        (
            "room.4",
            "presence.changed",
            {"user": ALICE, "state": "offline"},
            {"type": "user_leave", "user": "alice"},
        ),
        ("user.7", "presence.changed", {"user": ALICE, "state": "online"}, None),
        ("room.5", "presence.changed", {"user": ALICE, "state": "online"}, None),
        (
            "user.8",
            "private_message",
            {"user": "alice", "message": "psst"},
            {"type": "private_message", "user": "alice", "message": "psst"},
        ),
        (None, "user_list", {"users": ["alice"]}, {"type": "user_list", "users": ["alice"]}),
        ("room.4", "member.joined", {"room": 4, "user": ALICE}, None),
        ("user.7", "room.joined", {"room": {}}, None),
        ("user.7", "signal", {"type": "text"}, None),
    ],
)
def test_pushes_are_the_seeds_frames(
    topic: str | None, push: str, data: dict[str, Any], written: dict[str, Any] | None
) -> None:
    text = DIALECT.encode_push(encode_push(push, topic=topic, data=data))
    assert (None if text is None else json.loads(text)) == written


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ws/chat/general/", "general"),
        ("ws/chat/general", "general"),
        ("ws/chat/Tea & biscuits/", "Tea & biscuits"),
        ("ws/chat/北京の旅/", "北京の旅"),
        ("ws/chat/a/b/", "a/b"),
    ],
)
def test_the_route_takes_any_name(path: str, name: str) -> None:
    [route] = routes()
    match = route.resolve(path)
    assert match is not None
    assert match.kwargs == {"room_name": name}
