"""An open socket against a scripted transport: whatever comes in, in whatever pieces."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djwsbridge.server.keepalive import Keepalive, keepalive_of
from djwsbridge.server.open_socket import OpenSocket
from tests.security.raw_websocket import CONTINUATION, PING, PONG, TEXT, frame

BINARY, CLOSE = 2, 8
MAX_SIZE = 70_000


class Transport:
    """What a socket writes and does to its connection."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.was_aborted = False
        self.is_paused = False
        self.waiting = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        self.written += b"".join(parts)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.was_aborted = True

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False


class Application:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_text(self, text: str) -> None:
        self.told.append(text)

    def on_binary(self) -> None:
        self.told.append("(binary)")

    def on_too_big(self) -> None:
        self.told.append("(too big)")

    def on_full(self) -> None:
        self.told.append("(full)")

    def on_drained(self) -> None:
        self.told.append("(drained)")

    def on_pong(self) -> None:
        self.told.append("(pong)")

    def on_lost(self, code: int) -> None:
        self.told.append(code)


class Rig:
    """One open socket with both its sides."""

    def __init__(self, keepalive: Keepalive | None = None) -> None:
        self.transport = Transport()
        self.application = Application()
        self.sockets: set[Any] = set()
        self.socket = OpenSocket(
            self.transport,  # type: ignore[arg-type]
            self.application,
            sockets=self.sockets,
            keepalive=keepalive,
            max_size=MAX_SIZE,
        )
        self.socket.begin()

    @property
    def told(self) -> list[Any]:
        return self.application.told

    def receive(self, *parts: bytes) -> None:
        for part in parts:
            if not self.transport.is_closed:
                self.socket.data_received(part)

    def lose(self) -> None:
        self.socket.connection_lost(None)


def close_frame(code: int) -> bytes:
    return bytes((0x88, 2)) + code.to_bytes(2, "big")


TEXTS = st.text(max_size=400) | st.sampled_from(["x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536])


@given(st.lists(TEXTS, max_size=8), st.lists(st.floats(0, 1), max_size=6))
@settings(max_examples=200, deadline=None)  # a busy machine takes its time
def test_texts_arrive_whole_and_in_order_in_whatever_pieces(
    texts: list[str], cuts: list[float]
) -> None:
    rig = Rig()
    stream = b"".join(frame(TEXT, text.encode()) for text in texts)
    edges = [0, *sorted(int(cut * len(stream)) for cut in cuts), len(stream)]
    rig.receive(*(stream[a:b] for a, b in itertools.pairwise(edges) if a < b))
    assert rig.told == texts
    assert rig.socket._parser is None  # nothing is left to read
    assert not rig.transport.written


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_messages_or_the_end(stream: bytes) -> None:
    rig = Rig()
    rig.receive(stream, stream)
    assert not rig.transport.was_aborted


def test_each_byte_may_come_alone() -> None:
    rig = Rig()
    stream = frame(TEXT, b"one") + frame(PONG, b"") + frame(TEXT, "zwölf".encode())
    rig.receive(*(stream[index : index + 1] for index in range(len(stream))))
    assert rig.told == ["one", "zwölf"]


def test_a_ping_is_answered_between_two_fragments() -> None:
    rig = Rig()
    rig.receive(frame(TEXT, b"a", fin=False), frame(PING, b"hello"), frame(CONTINUATION, b"b"))
    assert rig.told == ["ab"]
    assert rig.transport.written == b"\x8a\x05hello"
    rig.receive(frame(TEXT, b"next"))
    assert rig.told == ["ab", "next"]
    assert rig.socket._parser is None


@pytest.mark.parametrize("payload", [b"", b"hello", b"x" * 125])
def test_a_ping_is_answered_without_the_parser(payload: bytes) -> None:
    rig = Rig()
    rig.receive(frame(PING, payload) + frame(TEXT, b"text"))
    assert rig.transport.written == bytes((0x8A, len(payload))) + payload
    assert rig.told == ["text"]
    assert rig.socket._parser is None


def test_a_pong_is_a_sign_of_life_and_nothing_else() -> None:
    rig = Rig()
    rig.socket.silence = 1
    rig.receive(frame(PONG, b"x" * 125))
    assert rig.socket.silence == 0
    assert not rig.told
    assert not rig.transport.written


@pytest.mark.parametrize("sent", [b"\xff", b"\xed\xa0\x80"])
def test_text_that_is_none_ends_the_connection(sent: bytes) -> None:
    rig = Rig()
    rig.receive(frame(TEXT, sent), frame(TEXT, b"later"))
    assert rig.transport.written[:4] == close_frame(1007)[:1] + rig.transport.written[1:2] + (
        1007
    ).to_bytes(2, "big")
    assert rig.transport.is_closed
    rig.lose()
    assert rig.told == [1007]


def test_a_broken_frame_ends_the_connection_with_what_was_before_it() -> None:
    rig = Rig()
    rig.receive(frame(TEXT, b"good") + frame(TEXT, b"bad", masked=False))
    assert rig.told == ["good"]
    assert int.from_bytes(rig.transport.written[2:4], "big") == 1002
    assert rig.transport.is_closed


@pytest.mark.parametrize(
    "parts",
    [
        [frame(TEXT, b"x" * (MAX_SIZE + 1))],
        [frame(TEXT, length=1 << 40)],
        [frame(TEXT, b"x" * MAX_SIZE, fin=False), frame(CONTINUATION, b"y")],
    ],
    ids=["one", "announced", "fragments"],
)
async def test_too_much_is_the_applications_to_refuse(parts: list[bytes]) -> None:
    rig = Rig()
    rig.receive(*parts)
    assert rig.told == ["(too big)"]
    assert rig.transport.is_paused
    assert not rig.transport.written
    rig.socket.close(1009, "too_large")
    assert rig.transport.written[2:] == (1009).to_bytes(2, "big") + b"too_large"
    rig.lose()
    assert rig.told == ["(too big)", 1009]


def test_a_binary_message_is_told_once() -> None:
    rig = Rig()
    rig.receive(frame(BINARY, b"x", fin=False), frame(CONTINUATION, b"y"), frame(TEXT, b"z"))
    assert rig.told == ["(binary)", "z"]


def test_the_peers_close_frame_is_answered() -> None:
    rig = Rig()
    rig.receive(frame(CLOSE, (4001).to_bytes(2, "big") + b"bye") + frame(TEXT, b"after"))
    assert rig.transport.written == b"\x88\x05" + (4001).to_bytes(2, "big") + b"bye"
    assert rig.transport.is_closed
    rig.lose()
    assert rig.told == [4001]
    assert not rig.sockets


async def test_after_its_own_close_frame_nothing_is_delivered() -> None:
    rig = Rig()
    rig.socket.close(4401, "unauthorized")
    rig.socket.close(1000, "again")
    rig.receive(frame(TEXT, b"ignored"))
    assert rig.transport.written.count(b"\x88") == 1
    assert not rig.transport.is_closed
    rig.receive(frame(CLOSE, (4401).to_bytes(2, "big")))
    assert rig.transport.is_closed
    rig.lose()
    assert rig.told == [4401]


async def test_a_peer_that_does_not_answer_the_close_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("djwsbridge.server.open_socket.CLOSE_TIMEOUT", 0.0)
    rig = Rig()
    rig.socket.close(1000, "")
    await asyncio.sleep(0.01)
    assert rig.transport.was_aborted


async def test_a_peer_that_closes_and_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("djwsbridge.server.open_socket.CLOSE_TIMEOUT", 0.0)
    rig = Rig()
    rig.transport.waiting = 1
    rig.receive(frame(CLOSE, (1000).to_bytes(2, "big")))
    assert rig.transport.is_closed
    assert not rig.transport.was_aborted
    await asyncio.sleep(0.01)
    assert rig.transport.was_aborted


def test_fragments_without_content_do_not_pile_up() -> None:
    rig = Rig()
    rig.receive(frame(TEXT, b"one", fin=False))
    rig.receive(*[frame(CONTINUATION, fin=False)] * 1_000)
    assert rig.socket._fragments == [b"one"]
    rig.receive(frame(CONTINUATION, b"two"))
    assert rig.told == ["onetwo"]


def test_no_frame_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    with caplog.at_level(logging.DEBUG, logger="websockets"):
        rig.receive(frame(TEXT, b"a sec", fin=False), frame(CONTINUATION, b"ret"))
        rig.receive(frame(CLOSE))
    assert rig.told == ["a secret"]
    assert "sec" not in caplog.text
    assert "ret" not in caplog.text


def test_the_server_ends() -> None:
    async def end() -> Rig:
        rig = Rig()
        assert rig.sockets == {rig.socket}
        rig.socket.shutdown()
        return rig

    rig = asyncio.run(end())
    assert rig.transport.written == close_frame(1012)
    assert rig.transport.is_closed
    rig.lose()
    assert rig.told == [1012]


def test_a_connection_that_is_lost_has_no_close_frame() -> None:
    rig = Rig()
    rig.lose()
    assert rig.told == [1006]


def test_reading_is_paused_once_and_resumed_once() -> None:
    rig = Rig()
    rig.socket.pause_reading()
    rig.socket.pause_reading()
    rig.socket.resume_reading()
    rig.socket.resume_reading()
    assert not rig.transport.is_paused


def test_a_slow_peer_is_told_of() -> None:
    rig = Rig()
    rig.transport.waiting = 5
    rig.socket.pause_writing()
    assert rig.socket.waiting == 5
    rig.socket.resume_writing()
    assert rig.told == ["(full)", "(drained)"]


# -- keepalive --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_parsed", [False, True])
def test_the_answer_to_a_ping_is_told_and_the_keepalives_is_not(
    is_parsed: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    rig = Rig()
    if is_parsed:
        rig.receive(frame(TEXT, b"one", fin=False))
    rig.socket.keep_alive()
    rig.receive(frame(PONG))
    assert not rig.told
    rig.socket.ping()
    assert rig.transport.written == b"\x89\x00\x89\x01?"
    rig.receive(frame(PONG, b"?"))
    assert rig.told == ["(pong)"]


async def test_a_silent_peer_is_pinged_twice_and_then_cut() -> None:
    keepalive = Keepalive(asyncio.get_running_loop(), 1.0)
    silent, alive = Rig(keepalive), Rig(keepalive)
    for _ in range(3):
        keepalive._tick()
        alive.receive(frame(PONG, b""))
    assert silent.transport.written == b"\x89\x00" * 2
    assert silent.transport.was_aborted
    assert alive.transport.written == b"\x89\x00" * 3
    assert not alive.transport.is_closed
    for rig in (silent, alive):
        rig.lose()
    assert not any(keepalive._slots)
    keepalive._tick()
    assert keepalive._timer is None


async def test_a_whole_interval_passes_before_the_first_ping() -> None:
    keepalive = Keepalive(asyncio.get_running_loop(), 25.0)
    rig = Rig(keepalive)
    for _ in range(24):
        keepalive._tick()
    assert not rig.transport.written
    keepalive._tick()
    assert rig.transport.written == b"\x89\x00"
    rig.lose()
    assert keepalive_of(asyncio.get_running_loop(), 20.0) is keepalive_of(
        asyncio.get_running_loop(), 30.0
    )
