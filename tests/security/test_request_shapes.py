"""Odd requests, and those that smuggle others: our HTTP protocol takes none that stock uvicorn refuses.

Both are asked side by side. Where they differ, `OURS` says what ours does.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.servers import TIMEOUT, ServerName, Site, serve

HOST = b"Host: x\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyEhIQ==\r\n"
)
SECOND = b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n"
PATIENCE = 3.0  # seconds for what is answered; a connection that is idle is closed after one


def post(
    headers: bytes, body: bytes = b"", *, method: bytes = b"POST", target: bytes = b"/first"
) -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


class Outcome(NamedTuple):
    """What a server has made of a shape: its statuses, and which requests its application was given."""

    statuses: list[int]
    requests: list[tuple[str, str, str]]


# What is sent on one connection; the second part is sent when the first one has been read.
SHAPES: dict[str, list[bytes]] = {
    "get": [post(b"", method=b"GET")],
    "get2 pipelined": [post(b"", method=b"GET") + SECOND],
    "post cl": [post(b"Content-Length: 5\r\n", b"hello")],
    "post cl + pipelined": [post(b"Content-Length: 5\r\n", b"hello") + SECOND],
    "post chunked": [post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n") + SECOND],
    "cl+te": [post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te+cl": [post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + SECOND)],
    "cl twice same": [post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello" + SECOND)],
    "cl twice diff": [post(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello" + SECOND)],
    "cl list": [post(b"Content-Length: 5, 5\r\n", b"hello" + SECOND)],
    "cl +5": [post(b"Content-Length: +5\r\n", b"hello" + SECOND)],
    "cl -1": [post(b"Content-Length: -1\r\n", b"hello" + SECOND)],
    "cl 0x5": [post(b"Content-Length: 0x5\r\n", b"hello" + SECOND)],
    "cl 5 space": [post(b"Content-Length: 5 \r\n", b"hello" + SECOND)],
    "cl  5_0": [post(b"Content-Length: 5_0\r\n", b"hello" + SECOND)],
    "cl empty": [post(b"Content-Length: \r\n", b"" + SECOND)],
    "cl huge": [post(b"Content-Length: 99999999999999999999999\r\n", b"hello" + SECOND)],
    "cl space colon": [post(b"Content-Length : 5\r\n", b"hello" + SECOND)],
    "te space colon": [post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te xchunked": [post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te chunked,identity": [
        post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SECOND)
    ],
    "te identity,chunked": [
        post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n" + SECOND)
    ],
    "te gzip,chunked": [post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te twice": [
        post(
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + SECOND
        )
    ],
    "te tab": [post(b"Transfer-Encoding:\tchunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te vtab": [post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te obs-fold": [post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SECOND)],
    "te upper": [post(b"TRANSFER-ENCODING: CHUNKED\r\n", b"0\r\n\r\n" + SECOND)],
    "te http10": [
        b"POST /first HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND
    ],
    "chunk ext": [post(b"Transfer-Encoding: chunked\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n") + SECOND],
    "chunk ext newline": [
        post(b"Transfer-Encoding: chunked\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n") + SECOND
    ],
    "chunk bare lf": [post(b"Transfer-Encoding: chunked\r\n", b"5\nhello\n0\n\n") + SECOND],
    "chunk neg": [post(b"Transfer-Encoding: chunked\r\n", b"-5\r\nhello\r\n0\r\n\r\n") + SECOND],
    "chunk 0x5": [post(b"Transfer-Encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n") + SECOND],
    "chunk overflow": [
        post(b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n") + SECOND
    ],
    "chunk spaces": [post(b"Transfer-Encoding: chunked\r\n", b"5 \r\nhello\r\n0\r\n\r\n") + SECOND],
    "chunk too long data": [
        post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhelloXX\r\n0\r\n\r\n") + SECOND
    ],
    "chunk trailer": [
        post(
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\nX-Trailer: bad\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
        )
        + SECOND
    ],
    "trailer in 2": [
        post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nX-Tra"),
        b"iler: bad\r\n\r\n" + SECOND,
    ],
    "bare lf head": [b"GET /first HTTP/1.1\nHost: x\n\n" + SECOND],
    "bare cr": [b"GET /first HTTP/1.1\rHost: x\r\r" + SECOND],
    "leading crlf": [b"\r\n\r\n" + post(b"", method=b"GET") + SECOND],
    "leading space": [b" " + post(b"", method=b"GET")],
    "http09": [b"GET /first\r\n\r\n"],
    "http10": [b"GET /first HTTP/1.0\r\n\r\n"],
    "http10 keepalive": [b"GET /first HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + SECOND],
    "http12": [b"GET /first HTTP/1.2\r\n" + HOST + b"\r\n"],
    "http20": [b"GET /first HTTP/2.0\r\n" + HOST + b"\r\n"],
    "h2 preface": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "http11 lower": [b"GET /first http/1.1\r\n" + HOST + b"\r\n"],
    "no host": [b"GET /first HTTP/1.1\r\n\r\n"],
    "two hosts": [b"GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    "absolute": [b"GET http://evil/first HTTP/1.1\r\n" + HOST + b"\r\n"],
    "authority": [b"GET evil:80 HTTP/1.1\r\n" + HOST + b"\r\n"],
    "star": [b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"],
    "connect": [b"CONNECT evil:80 HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND],
    "connect path": [b"CONNECT /first HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND],
    "trace": [post(b"", method=b"TRACE")],
    "unknown method": [post(b"", method=b"FOO")],
    "method lower": [post(b"", method=b"get")],
    "nonascii path": [b"GET /f\xff HTTP/1.1\r\n" + HOST + b"\r\n"],
    "pct path": [b"GET /f%00%ff%0d%0a HTTP/1.1\r\n" + HOST + b"\r\n"],
    "space in path": [b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"],
    "nul header": [post(b"X: a\x00b\r\n", method=b"GET")],
    "ctl header": [post(b"X: a\x01b\r\n", method=b"GET")],
    "x85 header": [post(b"X: a\x85\x0b\x1cb\r\n", method=b"GET")],
    "name with space": [post(b"X Y: b\r\n", method=b"GET")],
    "no colon": [post(b"XY\r\n", method=b"GET")],
    "empty name": [post(b": v\r\n", method=b"GET")],
    "underscore": [post(b"X_Forwarded_For: 1\r\n", method=b"GET")],
    "obs fold": [post(b"X: a\r\n b\r\n", method=b"GET")],
    "fold first": [b"GET /first HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n"],
    "get with body": [post(b"Content-Length: 5\r\n", b"hello", method=b"GET") + SECOND],
    "head": [post(b"", method=b"HEAD") + SECOND],
    "close + more": [post(b"Connection: close\r\n", method=b"GET") + SECOND],
    "expect": [post(b"Expect: 100-continue\r\nContent-Length: 5\r\n"), b"hello"],
    "expect odd": [post(b"Expect: 200-ok\r\nContent-Length: 5\r\n"), b"hello"],
    "expect http10": [
        b"POST /first HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"hello",
    ],
    "garbage": [b"\x16\x03\x01\x02\x00\x01\x00"],
    "garbage second": [post(b"", method=b"GET") + b"\x16\x03garbage\r\n\r\n"],
    "h2c get": [post(b"Connection: Upgrade\r\nUpgrade: h2c\r\n", method=b"GET") + SECOND],
    "h2c post": [
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello") + SECOND
    ],
    "h2c smuggle": [
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n" % len(SECOND)),
        SECOND,
    ],
    "h2c chunked": [
        post(
            b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
        )
        + SECOND
    ],
    "h2c expect": [
        post(
            b"Connection: Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
        ),
        b"hello",
    ],
    "upgrade no connection": [post(b"Upgrade: websocket\r\n", method=b"GET") + SECOND],
    "upgrade 2 connections": [
        post(UPGRADE + b"Connection: keep-alive\r\n", method=b"GET", target=b"/ws") + SECOND
    ],
    "upgrade list": [
        post(UPGRADE.replace(b"websocket", b"websocket, h2c"), method=b"GET", target=b"/ws")
        + SECOND
    ],
    "ws": [post(UPGRADE, method=b"GET", target=b"/ws")],
    "ws + request": [post(UPGRADE, method=b"GET", target=b"/ws") + SECOND],
    "ws + frame": [post(UPGRADE, method=b"GET", target=b"/ws") + b"\x81\x85\0\0\0\0hello"],
    "ws + half frame": [
        post(UPGRADE, method=b"GET", target=b"/ws") + b"\x81\x85\0\0",
        b"\0\0hello",
    ],
    "ws body same": [
        post(UPGRADE + b"Content-Length: 5\r\n", b"hello", method=b"GET", target=b"/ws") + SECOND
    ],
    "ws body later": [
        post(UPGRADE + b"Content-Length: %d\r\n" % len(SECOND), method=b"GET", target=b"/ws"),
        SECOND,
    ],
    "ws chunked": [
        post(
            UPGRADE + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", method=b"GET", target=b"/ws"
        )
        + SECOND
    ],
    "ws post": [post(UPGRADE, method=b"POST", target=b"/ws") + SECOND],
    "ws http10": [b"GET /ws HTTP/1.0\r\n" + HOST + UPGRADE + b"\r\n" + SECOND],
    "ws bad version": [post(UPGRADE.replace(b"13", b"12"), method=b"GET", target=b"/ws") + SECOND],
    "ws connect": [b"CONNECT /ws HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n" + SECOND],
}

FIRST, GET_FIRST = ("POST", "/first", "hello"), ("GET", "/first", "")
GET_WS, GET_SECOND = ("GET", "/ws", ""), ("GET", "/second", "")
REFUSED = Outcome([400], [])
OURS: dict[str, Outcome] = {
    # uvicorn gives it to the application.
    "connect path": REFUSED,
    # uvicorn refuses the second request in place of answering the first.
    "garbage second": Outcome([200, 400], [GET_FIRST]),
    # uvicorn takes no body from a request whose upgrade it ignores: it drops what is in the same segment, and takes the
    # rest for a request.
    "h2c get": Outcome([200, 200], [GET_FIRST, GET_SECOND]),
    "h2c post": Outcome([200, 200], [FIRST, GET_SECOND]),
    "h2c smuggle": Outcome([200], [("POST", "/first", SECOND.decode())]),
    "h2c chunked": Outcome([200, 200], [FIRST, GET_SECOND]),
    "h2c expect": Outcome([100, 200], [FIRST]),
    "upgrade 2 connections": Outcome([200, 200], [GET_WS, GET_SECOND]),
    "upgrade list": Outcome([200, 200], [GET_WS, GET_SECOND]),
    # uvicorn gives no answer.
    "ws body same": REFUSED,
    "ws body later": REFUSED,
    "ws chunked": REFUSED,
    # uvicorn writes the request down again as HTTP/1.1.
    "ws http10": Outcome([505], []),
    "ws bad version": Outcome([426], []),
}


def outcome_of(said: bytes) -> Outcome:
    """Read the answers of tests/slow_app.py."""
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", said)]
    bodies = [json.loads(one) for one in re.findall(rb"\{[^\n]*?\]\]\}", said)]
    return Outcome(statuses, [(one["method"], one["path"], one["body"]) for one in bodies])


def read_for(link: socket.socket, until: float) -> bytes:
    """Return what comes before the connection ends, or before a moment of the monotonic clock."""
    said = b""
    try:
        while True:
            link.settimeout(max(until - time.monotonic(), 0.01))
            part = link.recv(65_536)
            if not part:
                return said
            said += part
    except (TimeoutError, ConnectionError):
        return said


def ask_all(site: Site, shapes: Mapping[str, Sequence[bytes]]) -> dict[str, Outcome]:
    """Send all shapes, each on a connection of its own."""
    with ExitStack() as stack:
        address = ("127.0.0.1", site.port)
        links = {
            name: stack.enter_context(socket.create_connection(address, TIMEOUT)) for name in shapes
        }
        for part in range(2):
            for name, link in links.items():
                if part < len(shapes[name]):
                    link.sendall(shapes[name][part])
            assert httpx.get(f"{site.url}/").status_code == 200  # so all of it has been read
        until = time.monotonic() + PATIENCE
        return {name: outcome_of(read_for(link, until)) for name, link in links.items()}


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, site_env: Mapping[str, str]
) -> dict[ServerName, dict[str, Outcome]]:
    def outcomes_of(server: ServerName) -> dict[str, Outcome]:
        directory: Path = tmp_path_factory.mktemp(server)
        env = {**site_env, "UVICORN_TIMEOUT_KEEP_ALIVE": "1"}
        application = "tests.slow_app:application"
        with serve(server, directory=directory, env=env, application=application) as site:
            return ask_all(site, SHAPES)

    return {server: outcomes_of(server) for server in ("uvicorn", "fast")}


@pytest.mark.parametrize("shape", SHAPES)
def test_ours_reads_what_uvicorn_reads_or_less(
    outcomes: dict[ServerName, dict[str, Outcome]], shape: str
) -> None:
    stock, ours = outcomes["uvicorn"][shape], outcomes["fast"][shape]
    assert ours == OURS.get(shape, stock)
    assert (shape in OURS) == (ours != stock), "OURS names what differs"
