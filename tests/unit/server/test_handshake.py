"""The opening handshake: what is accepted, what is refused, and the answers."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from websockets.headers import validate_subprotocols

from djwsbridge.server.handshake import (
    HandshakeFailed,
    key_of,
    path_and_query,
    refusal,
    subprotocols_of,
    switching_protocols,
)

Headers = list[tuple[bytes, bytes]]

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3, like the answer below
ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD: Headers = [
    (b"host", b"example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]


def without(name: bytes) -> Headers:
    return [header for header in GOOD if header[0] != name]


def test_a_good_handshake_has_a_key() -> None:
    assert key_of("GET", "1.1", b"/ws/?a=b", GOOD) == KEY
    assert key_of("GET", "1.1", b"/", [*GOOD, (b"content-length", b"0")]) == KEY


@pytest.mark.parametrize(
    ("method", "version", "target", "headers", "status"),
    [
        ("POST", "1.1", b"/", GOOD, 405),
        ("GET", "1.0", b"/", GOOD, 505),
        ("GET", "1.1", "/ä".encode(), GOOD, 400),
        ("GET", "1.1", b"/" + b"a" * 8_192, GOOD, 431),
        ("GET", "1.1", b"/", [*GOOD, (b"cookie", b"a" * 8_192)], 431),
        ("GET", "1.1", b"/", [*GOOD, *[(b"x", b"y")] * 128], 431),
        ("GET", "1.1", b"/", [*GOOD, (b"content-length", b"5")], 400),
        ("GET", "1.1", b"/", [*GOOD, (b"transfer-encoding", b"chunked")], 400),
        ("GET", "1.1", b"/", without(b"sec-websocket-version"), 426),
        ("GET", "1.1", b"/", [*GOOD, (b"sec-websocket-version", b"13")], 426),
        ("GET", "1.1", b"/", without(b"sec-websocket-key"), 400),
        ("GET", "1.1", b"/", [*GOOD, (b"sec-websocket-key", KEY)], 400),
        (
            "GET",
            "1.1",
            b"/",
            [*without(b"sec-websocket-key"), (b"sec-websocket-key", b"c2hvcnQ=")],
            400,
        ),
        (
            "GET",
            "1.1",
            b"/",
            [*without(b"sec-websocket-key"), (b"sec-websocket-key", KEY + b"\x85")],
            400,
        ),
    ],
)
def test_what_is_no_handshake_is_refused(
    method: str, version: str, target: bytes, headers: Headers, status: int
) -> None:
    with pytest.raises(HandshakeFailed) as failed:
        key_of(method, version, target, headers)
    assert failed.value.status == status
    assert refusal(failed.value).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_refusal_says_what_would_have_been_right_and_ends_the_connection() -> None:
    failure = HandshakeFailed(HTTPStatus.UPGRADE_REQUIRED, "why", (b"Sec-WebSocket-Version", b"13"))
    assert refusal(failure).split(b"\r\n") == [
        b"HTTP/1.1 426 Upgrade Required",
        b"Connection: close",
        b"Content-Length: 0",
        b"Sec-WebSocket-Version: 13",
        b"",
        b"",
    ]


def test_the_answer_proves_that_the_key_was_read() -> None:
    answer = switching_protocols(KEY, "djwsbridge.v1", [(b"server", b"uvicorn")])
    assert answer.split(b"\r\n") == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + ANSWER,
        b"Sec-WebSocket-Protocol: djwsbridge.v1",
        b"server: uvicorn",
        b"",
        b"",
    ]
    assert b"Protocol:" not in switching_protocols(KEY, None, [])


def test_subprotocols_may_stand_in_several_lines() -> None:
    name = b"sec-websocket-protocol"
    offered = subprotocols_of([(name, b"djwsbridge.v1, chat"), *GOOD, (name, b"last")])
    assert offered == ["djwsbridge.v1", "chat", "last"]
    validate_subprotocols(offered)  # type: ignore[arg-type]
    assert subprotocols_of(GOOD) == []


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/ws/bridge/", b"/ws/bridge/", b""),
        (b"//ws/?a=b?c", b"//ws/", b"a=b?c"),
        (b"http://example.com:8000/ws/bridge/?a=b", b"/ws/bridge/", b"a=b"),
        (b"https://example.com", b"/", b""),
        (b"https://example.com?a=b", b"/", b"a=b"),
    ],
)
def test_an_address_has_a_path_and_a_query(target: bytes, path: bytes, query: bytes) -> None:
    assert path_and_query(target) == (path, query)


@pytest.mark.parametrize("target", [b"http://[::1/", b"", b"http:/ws/"])
def test_what_is_no_address_is_refused(target: bytes) -> None:
    with pytest.raises(HandshakeFailed, match="400"):
        path_and_query(target)
