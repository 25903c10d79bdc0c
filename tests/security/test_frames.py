"""Raw frames: rows F1 to F10 of the promises, under Daphne and uvicorn.

Both servers run as `make run` and deploy/ run them: messages of at most 64 KiB, no compression. Daphne resets the TCP
connection where the protocol asks for a close code; RFC 6455 lets it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security.raw_websocket import (
    CONTINUATION,
    PING,
    PONG,
    RESET,
    TEXT,
    RawWebSocket,
    frame,
)
from tests.security.rig import Attacker, Target, assert_alive

SITE_SETTINGS: dict[str, Any] = {"DJWSBRIDGE_CONNECTIONS_PER_USER": 100}

HEARTBEAT = b'{"id": 5, "cmd": "heartbeat"}'
NOT_UTF8 = b"\xff\xfe"


@pytest.fixture
def raw(target: Target, attacker: Attacker) -> Iterator[RawWebSocket]:
    """Return a connected v1 socket; when the test is over, another one still works."""
    with RawWebSocket(target.site, {"Sec-WebSocket-Protocol": "djwsbridge.v1"}) as socket:
        command = {"id": 1, "cmd": "connect", "token": target.token()}
        socket.send(frame(TEXT, json.dumps(command).encode()))
        assert b'"ok"' in reply_to(socket, 1)
        yield socket
    assert_alive(attacker.connect())


def reply_to(socket: RawWebSocket, number: int | None) -> bytes:
    """Return the reply with an id."""
    while True:
        opcode, payload = socket.receive()
        if opcode == TEXT and json.loads(payload).get("id", 0) == number:
            return payload


def assert_answers(socket: RawWebSocket) -> None:
    """Expect that the connection goes on."""
    socket.send(frame(TEXT, HEARTBEAT))
    assert b'"ok"' in reply_to(socket, 5)


BROKEN = {
    "F1-unmasked": (frame(TEXT, HEARTBEAT, masked=False), 1002),
    **{f"F2-rsv{3 - bit}": (frame(TEXT, HEARTBEAT, rsv=1 << bit), 1002) for bit in (2, 1, 0)},
    **{f"F3-opcode-{code}": (frame(code, b"x"), 1002) for code in (3, 4, 5, 6, 7, *range(11, 16))},
    "F4-fragmented-ping": (frame(PING, b"x", fin=False), 1002),
    "F4-long-ping": (frame(PING, b"x" * 126), 1002),
    "F4-continuation-first": (frame(CONTINUATION, HEARTBEAT), 1002),
    "F4-text-in-text": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "F5-not-utf8": (frame(TEXT, NOT_UTF8), 1007),
    "F5-surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "F5-above-unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "F5-overlong": (frame(TEXT, b"\xc0\x80"), 1007),
    "F6-huge-length": (frame(TEXT, length=1 << 62), 1009),
    "F6-impossible-length": (frame(TEXT, length=1 << 63), 1009),
    "F6-announced-gigabyte": (frame(TEXT, length=1 << 30), 1009),
    "F7-one-over": (frame(TEXT, b"x" * 65_537), 1009),
    "F7-mebibyte": (frame(TEXT, b"x" * (2**20 + 1)), 1009),
    "F7-fragments": (
        frame(TEXT, b"x" * 40_000, fin=False) + frame(CONTINUATION, b"x" * 40_000),
        1009,
    ),
}


@pytest.mark.parametrize(("sent", "close_code"), BROKEN.values(), ids=BROKEN.keys())
def test_f1_to_f7_a_broken_frame_ends_the_connection(
    raw: RawWebSocket, target: Target, sent: bytes, close_code: int
) -> None:
    raw.send(sent)
    code, texts = raw.receive_end()
    # Up to its own limit of a mebibyte Daphne lets frames through; ours ends the connection, with what it has of 1009.
    told = target.site.server == "daphne" and any("too_large" in str(text) for text in texts)
    assert code in {close_code, RESET, 1000 if told and close_code == 1009 else close_code}


def memory_of(target: Target) -> int:
    """Return the resident memory of the server in KiB."""
    lines = Path(f"/proc/{target.site.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_f6_what_is_announced_costs_nothing(raw: RawWebSocket, target: Target) -> None:
    before = memory_of(target)
    raw.send(frame(TEXT, length=1 << 30))
    raw.receive_end()
    assert memory_of(target) - before < 2_048


def test_f5_a_character_may_lie_in_two_fragments(raw: RawWebSocket) -> None:
    text = '{"id": 6, "cmd": "😀"}'.encode()
    cut = text.index("😀".encode()) + 2
    raw.send(frame(TEXT, text[:cut], fin=False) + frame(CONTINUATION, text[cut:]))
    assert b"unknown_type" in reply_to(raw, 6)
    assert_answers(raw)


def test_f7_the_largest_frame_is_read(raw: RawWebSocket) -> None:
    head, tail = b'{"id": 6, "cmd": "', b'"}'
    raw.send(frame(TEXT, head + b"x" * (65_536 - len(head) - len(tail)) + tail))
    assert b"bad_field" in reply_to(raw, 6)
    assert_answers(raw)


def test_f7_ten_thousand_fragments_are_one_message(raw: RawWebSocket) -> None:
    text = HEARTBEAT + b" " * (10_000 - len(HEARTBEAT))
    fragments = [frame(TEXT, text[:1], fin=False)]
    fragments += [
        frame(CONTINUATION, text[index : index + 1], fin=False) for index in range(1, 9_999)
    ]
    raw.send(b"".join([*fragments, frame(CONTINUATION, text[-1:])]))
    assert b'"ok"' in reply_to(raw, 5)


def test_f8_empty_frames_end_the_connection(raw: RawWebSocket) -> None:
    # They are no JSON: the tenth is one too many (J1), before any rate limit.
    raw.send(frame(TEXT) * 10_000)
    code, texts = raw.receive_end()
    assert code in {4400, RESET}
    assert len(texts) <= 20


def test_f8_a_flood_of_commands_ends_the_connection(raw: RawWebSocket) -> None:
    raw.send(frame(TEXT, HEARTBEAT) * 10_000)
    code, texts = raw.receive_end()
    assert code in {4429, RESET}
    assert b"rate_limited" in texts[-1]
    assert len(texts) < 400


def test_f8_pings_are_answered_and_counted_against_nobody(raw: RawWebSocket) -> None:
    for _ in range(10):
        raw.send(frame(PING, b"x") * 1_000)
        pongs = 0
        while pongs < 1_000:
            opcode, payload = raw.receive()
            pongs += (opcode, payload) == (PONG, b"x")
    assert_answers(raw)


def test_f9_compression_is_not_negotiated(target: Target) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    with RawWebSocket(target.site, offer) as socket:
        assert b"permessage-deflate" not in socket.head.lower()


def test_f10_a_binary_frame_ends_the_connection(raw: RawWebSocket, target: Target) -> None:
    raw.send(frame(2, HEARTBEAT))
    code, texts = raw.receive_end()
    assert b"unsupported_binary" in texts[-1]
    # autobahn, under Daphne, refuses to send 1003: djwsbridge.protocol.codes.STAND_INS.
    assert code == (4400 if target.site.server == "daphne" else 1003)
