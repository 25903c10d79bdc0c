"""Slow clients of our HTTP protocol (H23, W5): none holds a connection for ever, and no honest one is cut.

The server is a real one; its deadlines are those of tests/slow_app.py. No test sleeps: a "witness", a connection that
is silent from its beginning, is cut when the deadline has passed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest

from tests.servers import TIMEOUT, Site, serve, wait_until
from tests.slow_app import BIG

HOST = b"Host: localhost\r\n"
KEY = base64.b64encode(b"sixteen bytes!!!")
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKE = b"GET / HTTP/1.1\r\n" + HOST + UPGRADE + b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
SECOND = b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n"
HELLO = b"\x81\x85\0\0\0\0hello"  # a text frame, masked with zeros
PACE = 0.1  # seconds between two pieces of what is sent slowly
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def get(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n"


def post(path: str, headers: bytes, body: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\n".encode() + HOST + headers + b"\r\n" + body


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, site_env: Mapping[str, str]) -> Iterator[Site]:
    application = "tests.slow_app:application"
    directory = tmp_path_factory.mktemp("slow")
    with serve("fast", directory=directory, env=site_env, application=application) as running:
        yield running


@pytest.fixture
def link(site: Site) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", site.port), TIMEOUT)) as connected:
        yield connected


@contextmanager
def links_to(site: Site, uses: Sequence[bytes]) -> Iterator[list[tuple[socket.socket, bytes]]]:
    """Connect once for each use; what takes a whole deadline is tried side by side."""
    with ExitStack() as stack:
        address = ("127.0.0.1", site.port)
        made = [stack.enter_context(socket.create_connection(address, TIMEOUT)) for _ in uses]
        yield list(zip(made, uses, strict=True))


def read_to_end(link: socket.socket) -> bytes:
    """Return what comes until the server ends the connection, which it has to."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := link.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


def read_until(link: socket.socket, wanted: bytes) -> bytes:
    read = b""
    while wanted not in read:
        part = link.recv(65_536)
        assert part, f"the server has closed after {read!r}"
        read += part
    return read


def drip(
    link: socket.socket, piece: bytes, *, times: int, pace: float = PACE
) -> tuple[bytes, bool]:
    """Send a piece again and again; return what the server says meanwhile, and whether it has closed."""
    said = b""
    link.settimeout(pace)
    try:
        for _ in range(times):
            link.sendall(piece)
            with contextlib.suppress(TimeoutError):
                part = link.recv(65_536)
                if not part:
                    return said, True
                said += part
    except ConnectionError:
        return said, True
    finally:
        link.settimeout(TIMEOUT)
    return said, False


def drip_until_closed(link: socket.socket, piece: bytes) -> bytes:
    said, is_closed = drip(link, piece, times=int(TIMEOUT / PACE))
    assert is_closed
    return said


def flood_until_closed(link: socket.socket, piece: bytes) -> bytes:
    """Send far more than any limit allows, in pieces."""
    said, is_closed = drip(link, piece, times=1_000, pace=PACE / 100)
    assert is_closed
    return said


def let_time_pass(site: Site) -> None:
    """Return when the deadline of whatever was begun before has passed, with some more for its second look."""
    for _ in range(2):
        with closing(socket.create_connection(("127.0.0.1", site.port), TIMEOUT)) as witness:
            assert read_to_end(witness) == b""


def counts_of(site: Site) -> dict[str, int]:
    counts: dict[str, int] = httpx.get(f"{site.url}/counts").json()
    return counts


def wait_for_another(site: Site, begun: int) -> None:
    """Wait until the application has begun with one more request than that, besides those that ask for counts."""
    asked = iter(range(1, 1_000_000))
    wait_until(lambda: counts_of(site)["begun"] > begun + next(asked), "the request to be begun")


def body_of(answer: bytes) -> Any:
    """Return what the application says it was asked, in an answer that ends after it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return json.loads(body)


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# -- heads -------------------------------------------------------------------------------------------------------------

HALF_HEADS = [
    b"",
    b"\r\n\r\n",
    b"GET",
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: loc",
    get()[:-1],
    HANDSHAKE[:90],
    HANDSHAKE[:-1],
]


def test_half_a_head_and_silence_is_cut(site: Site) -> None:
    with links_to(site, HALF_HEADS) as links:
        for link, half in links:
            link.sendall(half)
        assert {half: read_to_end(link) for link, half in links} == dict.fromkeys(HALF_HEADS, b"")


def test_half_a_second_head_on_a_kept_connection_is_cut(site: Site) -> None:
    with links_to(site, HALF_HEADS[1:]) as links:
        for link, half in links:
            link.sendall(get("/early"))
            read_until(link, b"early")
            link.sendall(half)
        assert {half: read_to_end(link) for link, half in links} == dict.fromkeys(
            HALF_HEADS[1:], b""
        )


def test_half_a_second_head_in_the_same_segment_is_cut(site: Site) -> None:
    with links_to(site, HALF_HEADS[1:]) as links:
        for link, half in links:
            link.sendall(get("/early") + half)
        assert [statuses(read_to_end(link)) for link, _ in links] == [[200]] * len(links)


@pytest.mark.parametrize("piece", [b"x", b"\r\n", b"X: y\r\n"], ids=["bytes", "breaks", "headers"])
@pytest.mark.parametrize("is_second", [False, True], ids=["first", "second"])
def test_a_head_that_trickles_is_cut(link: socket.socket, piece: bytes, *, is_second: bool) -> None:
    if is_second:
        link.sendall(get("/early"))
        read_until(link, b"early")
    link.sendall(b"" if piece == b"\r\n" else b"GET / HTTP/1.1\r\nA: b")
    drip_until_closed(link, piece)


def test_a_head_in_many_pieces_is_read(link: socket.socket) -> None:
    for byte in get("/pieces"):
        link.sendall(bytes([byte]))
    assert b'"/pieces"' in read_until(link, b"}")


@pytest.mark.parametrize("piece", [b"x" * 4_096, b"X: y\r\n" * 700], ids=["header", "headers"])
def test_a_head_without_end_is_refused(link: socket.socket, piece: bytes) -> None:
    link.sendall(b"GET / HTTP/1.1\r\nA: b")
    assert statuses(flood_until_closed(link, piece)) == [431]


def test_half_a_head_behind_an_answer_does_not_cut_that(site: Site, link: socket.socket) -> None:
    link.sendall(get("/stream") + b"GET")
    read_until(link, b"one")
    let_time_pass(site)
    httpx.get(f"{site.url}/open")
    assert read_to_end(link) == b"two"


# -- bodies ------------------------------------------------------------------------------------------------------------

HALF_BODIES = [
    post("/", b"Content-Length: 10\r\n"),
    post("/", b"Content-Length: 10\r\n", b"12345"),
    post("/", CHUNKED),
    post("/", CHUNKED, b"a\r\n12345"),
    post("/", CHUNKED, b"5\r\n12345\r\n"),
    post("/", CHUNKED, b"0\r\nX-Trailer: y"),
    post("/", b"Expect: 100-continue\r\nContent-Length: 10\r\n"),
    post("/", b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED),
]


@pytest.mark.parametrize("is_second", [False, True], ids=["first", "second"])
def test_w5_half_a_body_and_silence_is_answered_with_408(site: Site, *, is_second: bool) -> None:
    gone = counts_of(site)["gone"]
    with links_to(site, HALF_BODIES) as links:
        for link, half in links:
            if is_second:
                link.sendall(get("/early"))
                read_until(link, b"early")
            link.sendall(half)
        for link, half in links:
            answer = read_to_end(link).removeprefix(CONTINUE)
            assert statuses(answer) == [408], half
            assert b"\r\nconnection: close\r\n" in answer
    told = gone + len(HALF_BODIES)
    wait_until(lambda: counts_of(site)["gone"] == told, "the application to be told")


DRIPPING_BODIES = {
    "length": (post("/", b"Content-Length: 100000\r\n"), b"x"),
    "chunks": (post("/", CHUNKED), b"1\r\nx\r\n"),
    "extension": (post("/", CHUNKED, b"5;"), b"x"),
    "trailers": (post("/", CHUNKED, b"0\r\n"), b"X: y\r\n"),
}


@pytest.mark.parametrize(("head", "piece"), DRIPPING_BODIES.values(), ids=DRIPPING_BODIES.keys())
def test_w5_a_body_that_trickles_for_ever_is_answered_with_408(
    link: socket.socket, head: bytes, piece: bytes
) -> None:
    link.sendall(head)
    assert statuses(drip_until_closed(link, piece)) == [408]


def test_trailers_without_end_are_refused(link: socket.socket) -> None:
    link.sendall(post("/", CHUNKED, b"0\r\nX: y"))
    assert statuses(flood_until_closed(link, b"x" * 4_096)) == [431]


def test_a_slow_upload_that_gets_on_is_read_to_its_end(link: socket.socket) -> None:
    pieces, piece = 30, b"x" * 1_000
    link.sendall(post("/", b"Content-Length: %d\r\n" % (pieces * len(piece))))
    answer, is_closed = drip(link, piece, times=pieces)
    assert not is_closed
    assert statuses(answer or read_until(link, b"}")) == [200]


def test_an_application_that_does_not_read_costs_the_client_nothing(
    site: Site, link: socket.socket
) -> None:
    body = b"x" * 300_000
    begun = counts_of(site)["begun"]
    link.sendall(post("/wait", b"Content-Length: %d\r\n" % len(body), body))
    wait_for_another(site, begun)
    let_time_pass(site)
    httpx.get(f"{site.url}/open")
    assert statuses(read_until(link, b"}")) == [200]


def test_a_client_may_wait_for_100_continue_as_long_as_the_application_takes(
    site: Site, link: socket.socket
) -> None:
    begun = counts_of(site)["begun"]
    link.sendall(post("/wait", b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
    wait_for_another(site, begun)
    let_time_pass(site)
    httpx.get(f"{site.url}/open")
    read_until(link, CONTINUE)
    link.sendall(b"hello")
    assert body_of(read_until(link, b"}"))["body"] == "hello"


def test_an_answer_under_way_is_not_cut_for_its_body(site: Site, link: socket.socket) -> None:
    link.sendall(post("/stream", b"Content-Length: 10\r\n"))
    read_until(link, b"one")
    let_time_pass(site)
    httpx.get(f"{site.url}/open")
    assert read_to_end(link) == b"two"


def test_the_rest_of_a_body_that_was_answered_may_not_trickle(link: socket.socket) -> None:
    link.sendall(post("/early", b"Content-Length: 100000\r\n"))
    assert statuses(drip_until_closed(link, b"x")) == [200]


def test_a_body_behind_an_answer_gets_408_behind_it(site: Site, link: socket.socket) -> None:
    begun = counts_of(site)["begun"]
    link.sendall(get("/wait") + post("/", b"Content-Length: 10\r\n", b"12345"))
    wait_for_another(site, begun)
    let_time_pass(site)
    httpx.get(f"{site.url}/open")
    assert statuses(read_to_end(link)) == [200, 408]


# -- answers that are not read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/big", "/big-stream"])
@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_an_answer_that_is_not_read_is_cut(
    site: Site, link: socket.socket, path: str, connection: str
) -> None:
    head = f"GET {path} HTTP/1.1\r\nConnection: {connection}\r\n".encode()
    link.sendall(head + HOST + b"\r\n")
    read_until(link, b"\r\n\r\n")
    let_time_pass(site)
    assert len(read_to_end(link)) < BIG - (1 << 20)


@pytest.mark.parametrize("path", ["/big", "/big-stream"])
def test_an_answer_that_is_read_slowly_is_read_to_its_end(link: socket.socket, path: str) -> None:
    link.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n".encode() + HOST + b"\r\n")
    left = BIG - len(read_until(link, b"\r\n\r\n").partition(b"\r\n\r\n")[2])
    pauses, pause = socket.socketpair()  # its end never says anything: its timeout is the pace
    with pauses, pause:
        pause.settimeout(PACE)
        while left:
            part = link.recv(min(left, BIG // 20), socket.MSG_WAITALL)
            assert part, f"the server has closed with {left} bytes left"
            left -= len(part)
            with contextlib.suppress(TimeoutError):
                pause.recv(1)


# -- what comes behind an answer that is under way (S4) ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/wait", "/stream"])
@pytest.mark.parametrize("more", [b"", HELLO, SECOND], ids=["alone", "frame", "request"])
def test_s4_a_handshake_behind_an_answer_is_refused_behind_it(
    site: Site, link: socket.socket, path: str, more: bytes
) -> None:
    begun = counts_of(site)["begun"]
    link.sendall(get(path) + HANDSHAKE + more)
    wait_for_another(site, begun)
    httpx.get(f"{site.url}/open")
    answers = read_to_end(link)
    assert statuses(answers) == [200, 400]
    assert b"101" not in answers


def test_s4_frames_after_it_are_not_read(site: Site, link: socket.socket) -> None:
    begun = counts_of(site)["begun"]
    link.sendall(get("/wait") + HANDSHAKE)
    wait_for_another(site, begun)
    link.sendall(HELLO + SECOND)
    httpx.get(f"{site.url}/open")
    assert statuses(read_to_end(link)) == [200, 400]


def test_what_is_no_request_is_refused_behind_an_answer(site: Site, link: socket.socket) -> None:
    link.sendall(get("/stream") + b"\x16\x03\x01")
    read_until(link, b"one")
    httpx.get(f"{site.url}/open")
    answers = read_to_end(link)
    assert answers.startswith(b"two")
    assert statuses(answers) == [400]


def test_no_answer_is_given_twice(link: socket.socket) -> None:
    link.sendall(post("/early", CHUNKED))
    answers = read_until(link, b"early")
    link.sendall(b"no chunk\r\n")
    assert statuses(answers + read_to_end(link)) == [200]


def test_every_pipelined_request_learns_that_its_client_is_gone(site: Site) -> None:
    before = counts_of(site)
    with closing(socket.create_connection(("127.0.0.1", site.port), TIMEOUT)) as link:
        link.sendall(get("/listen") + SECOND)
        wait_for_another(site, before["begun"])
    wait_until(lambda: counts_of(site)["gone"] > before["gone"], "the application to be told")


# -- one message is not taken for another ------------------------------------------------------------------------------


def test_a_frame_in_the_segment_of_the_handshake_is_read(link: socket.socket) -> None:
    link.sendall(HANDSHAKE + HELLO[:4])
    read_until(link, b"\r\n\r\n")
    link.sendall(HELLO[4:])
    assert read_until(link, b"hello").endswith(b"\x81\x05hello")


def test_a_request_behind_a_handshake_is_no_request(link: socket.socket) -> None:
    link.sendall(HANDSHAKE + SECOND)
    answer = read_to_end(link)
    assert statuses(answer) == [101]
    assert b"\x88" in answer  # a close frame: it is no frame


@pytest.mark.parametrize("body", [b"hello", SECOND])
def test_a_handshake_with_a_body_is_refused(link: socket.socket, body: bytes) -> None:
    head = HANDSHAKE.replace(HOST, HOST + b"Content-Length: %d\r\n" % len(body))
    link.sendall(head)
    assert statuses(read_to_end(link)) == [400]


@pytest.mark.parametrize("headers", [b"Content-Length: %d\r\n" % len(SECOND), CHUNKED])
def test_the_body_of_a_request_whose_upgrade_is_ignored_is_no_request(
    link: socket.socket, headers: bytes
) -> None:
    body = SECOND if b"Length" in headers else b"%x\r\n%b\r\n0\r\n\r\n" % (len(SECOND), SECOND)
    link.sendall(
        post("/", b"Connection: Upgrade\r\nUpgrade: h2c\r\nConnection: close\r\n" + headers)
    )
    link.sendall(body)
    assert body_of(read_to_end(link))["body"] == SECOND.decode()


def test_trailers_are_no_headers(link: socket.socket) -> None:
    body = b"5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    link.sendall(post("/", CHUNKED, body))
    answer = body_of(read_until(link, b"}"))
    assert answer["body"] == "hello"
    assert [name for name, _ in answer["headers"]] == ["host", "transfer-encoding"]
