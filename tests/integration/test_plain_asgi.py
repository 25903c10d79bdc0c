"""Our protocol classes under an application that knows nothing of ready frames, such as a Channels consumer."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.servers import TIMEOUT, ServerName, Site, serve, wait_until

PING_INTERVAL = 0.2  # seconds
KEY = base64.b64encode(b"sixteen bytes!!!").decode()
HELLO = bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello"  # a text frame, masked with zeros
HELLO_BACK = bytes([0x81, 0x05]) + b"hello"
PING = 0x89
MORE_THAN_EARLY = b"x" * 70_000


# Who reads the request: our HTTP protocol class, which hands it over as it is, or one that writes it down again.
READERS: dict[str, tuple[ServerName, dict[str, str]]] = {
    "ours": ("fast", {}),
    "h11": (
        "uvicorn",
        {"UVICORN_WS": "djwsbridge.server:WebSocketProtocol", "UVICORN_HTTP": "h11"},
    ),
}


@contextmanager
def echo_site(reader: str, directory: Path, env: Mapping[str, str]) -> Iterator[Site]:
    server, more = READERS[reader]
    application = "tests.echo_app:application"
    with serve(server, directory=directory, env={**env, **more}, application=application) as site:
        yield site


@pytest.fixture(scope="module", params=READERS)
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    site_env: Mapping[str, str],
) -> Iterator[Site]:
    env = {**site_env, "UVICORN_WS_PING_INTERVAL": str(PING_INTERVAL)}
    with echo_site(request.param, tmp_path_factory.mktemp("echo"), env) as running:
        yield running


def shake_hands(site: Site, path: str) -> socket.socket:
    """Send a handshake by hand; the answer is not read yet."""
    link = socket.create_connection(("127.0.0.1", site.port), TIMEOUT)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{site.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    link.sendall("\r\n".join([*lines, "", ""]).encode())
    return link


def send_for_ever(link: socket.socket) -> None:
    """Send until the server does not take it."""
    while True:
        link.sendall(MORE_THAN_EARLY)


def read_until(link: socket.socket, wanted: bytes) -> bytes:
    """Read until something has come; return what has come by then."""
    read = b""
    while wanted not in read:
        part = link.recv(4096)
        assert part, f"the server has closed after {read!r}"
        read += part
    return read


@pytest.mark.parametrize("message", ["text", b"bytes", "long " * 10_000])
def test_messages_come_back(site: Site, message: str | bytes) -> None:
    with connect(f"{site.ws_url}/", proxy=None) as link:
        for _ in range(3):
            link.send(message)
            assert link.recv(TIMEOUT) == message
        link.send([message[:2], message[2:]])
        assert link.recv(TIMEOUT) == message


def test_the_application_closes_with_its_own_code(site: Site) -> None:
    with connect(f"{site.ws_url}/", proxy=None) as link:
        link.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            link.recv(TIMEOUT)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "as asked")


def test_what_comes_before_the_answer_is_read_after_it(site: Site) -> None:
    with closing(shake_hands(site, "/late")) as link:
        wait_until(lambda: httpx.get(f"{site.url}/").json()["late"] == 1, "the handshake")
        link.sendall(HELLO)
        httpx.get(f"{site.url}/open")
        assert read_until(link, HELLO_BACK).startswith(b"HTTP/1.1 101 ")


def test_who_sends_too_much_before_the_answer_is_cut(site: Site) -> None:
    with closing(shake_hands(site, "/silent")) as link, pytest.raises(ConnectionError):
        send_for_ever(link)


def test_a_client_that_says_nothing_is_asked_again_and_again(site: Site) -> None:
    with closing(shake_hands(site, "/")) as link:
        read_until(link, b"\r\n\r\n")
        for _ in range(2):
            head = read_until(link, bytes([PING]))
            ping = head[head.index(PING) :]
            while len(ping) < 2 or len(ping) < 2 + ping[1]:
                ping += link.recv(4096)
            payload = ping[2 : 2 + ping[1]]
            link.sendall(bytes([0x8A, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


@pytest.mark.parametrize("path", ["/fails", "/returns"])
def test_an_application_that_gives_no_answer_has_failed(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"{site.ws_url}{path}", proxy=None):
        pass
    assert refused.value.response.status_code == 500


@pytest.mark.parametrize(
    ("path", "status"), [("/closes", 403), ("/denies", 404), ("/denies-in-parts", 404)]
)
def test_a_handshake_that_the_application_has_refused_is_no_error(
    site: Site, path: str, status: int
) -> None:
    before = site.log
    with pytest.raises(InvalidStatus) as refused, connect(f"{site.ws_url}{path}", proxy=None):
        pass
    assert refused.value.response.status_code == status
    # The next handshake is logged after it: what would be wrong with the first is in the log by then.
    failures = site.log.count("It is meant to fail.")
    with pytest.raises(InvalidStatus), connect(f"{site.ws_url}/fails", proxy=None):
        pass
    wait_until(lambda: site.log.count("It is meant to fail.") > failures, "the next one in the log")
    assert "without an answer" not in site.log.removeprefix(before)


def test_no_secret_of_an_address_is_logged(site: Site) -> None:
    before = site.log.count("It is meant to fail.")
    with pytest.raises(InvalidStatus), connect(f"{site.ws_url}/fails?ticket=hush", proxy=None):
        pass
    wait_until(lambda: site.log.count("It is meant to fail.") > before, "the failure in the log")
    assert "hush" not in site.log


@pytest.mark.parametrize("reader", READERS)
def test_a_server_that_stops_says_so(
    reader: str, tmp_path: Path, site_env: Mapping[str, str]
) -> None:
    with (
        echo_site(reader, tmp_path, site_env) as site,
        connect(f"{site.ws_url}/", proxy=None) as link,
    ):
        assert site.stop() is not None
        with pytest.raises(ConnectionClosed) as closed:
            link.recv(TIMEOUT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
