"""The shipped nginx configuration, run by a real nginx in front of two processes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.deploy_rig import Nginx, read_compose
from tests.servers import TIMEOUT, free_port, run_manage, serve, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers import PostgresServer, Site

SECRET = "a-secret-that-was-put-into-a-query-string"
VARIABLES = {"SECRET_KEY": "not a secret, but long enough for a test", "POSTGRES_PASSWORD": "x"}
HEADER_DEADLINE = 10.0  # seconds until a client that does not finish its headers is cut


@contextlib.contextmanager
def run_nginx(factory: pytest.TempPathFactory, *upstreams: int) -> Iterator[Nginx]:
    """Run nginx as the compose file does, in front of servers on the given ports."""
    command = read_compose(VARIABLES)["services"]["nginx"]["command"]
    nginx = Nginx(command, directory=factory.mktemp("nginx"), upstreams=upstreams)
    try:
        nginx.start()
        yield nginx
    finally:
        nginx.stop()


@pytest.fixture(scope="module")
def sites(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, redis_url: str
) -> Iterator[list[Site]]:
    """Run the two workers of the compose file."""
    declared = read_compose({**VARIABLES, "HTTPS": "0"})["services"]["worker1"]["environment"]
    env = {
        **declared,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": postgres.create_database("behind_nginx"),
        "REDIS_URL": redis_url,
    }
    run_manage("migrate", "--no-input", env=env)
    directory = tmp_path_factory.mktemp("workers")
    with (
        serve("uvicorn", directory=directory, env=env) as one,
        serve("uvicorn", directory=directory, env=env) as two,
    ):
        yield [one, two]
    postgres.drop_database("behind_nginx")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, sites: list[Site]) -> Iterator[Nginx]:
    with run_nginx(tmp_path_factory, *(site.port for site in sites)) as running:
        yield running


@pytest.fixture
def echo(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, site_env: Mapping[str, str]
) -> Iterator[Nginx]:
    """Run nginx in front of two processes that answer with what they were asked."""
    env = {**site_env, "FORWARDED_ALLOW_IPS": "*"}
    application = "tests.echo_app:application"
    with (
        serve("uvicorn", directory=tmp_path, env=env, application=application) as one,
        serve("uvicorn", directory=tmp_path, env=env, application=application) as two,
        run_nginx(tmp_path_factory, one.port, two.port) as running,
    ):
        yield running


def open_socket(nginx: Nginx, path: str) -> int | None:
    """Open a WebSocket that never introduces itself; return the code it is closed with."""
    with connect(f"{nginx.ws_url}{path}", origin=nginx.url, proxy=None) as link:
        with contextlib.suppress(Exception):
            while True:
                link.recv(TIMEOUT)
        return link.close_code


def test_pages_and_sockets_pass(nginx: Nginx) -> None:
    assert httpx.get(f"{nginx.url}/healthz").status_code == 200
    assert httpx.get(f"{nginx.url}/accounts/login/").status_code == 200
    assert open_socket(nginx, "/ws/bridge/") in range(4400, 4500)


def test_static_files_pass(nginx: Nginx) -> None:
    page = httpx.get(f"{nginx.url}/accounts/login/").text
    paths = [part.split('"')[0] for part in page.split('"/static/')[1:]]
    assert paths
    for path in paths:
        assert httpx.get(f"{nginx.url}/static/{path}").status_code == 200


def test_no_query_string_is_logged(nginx: Nginx, sites: list[Site]) -> None:
    httpx.get(f"{nginx.url}/chat/?token={SECRET}")
    httpx.get(f"{nginx.url}/healthz?token={SECRET}", headers={"Referer": f"/?token={SECRET}"})
    with contextlib.suppress(InvalidStatus):
        open_socket(nginx, f"/ws/bridge/?token={SECRET}")
    wait_until(lambda: '"GET /ws/bridge/" ' in nginx.log, "nginx to log the socket")
    assert '"GET /healthz" 200' in nginx.log
    assert SECRET not in nginx.log
    for site in sites:
        assert SECRET not in site.log


def test_no_query_string_is_logged_when_nobody_answers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with run_nginx(tmp_path_factory, free_port(), free_port()) as nginx:
        assert httpx.get(f"{nginx.url}/chat/?token={SECRET}").status_code == 502
        wait_until(lambda: '"GET /chat/" 502' in nginx.log, "nginx to log the request")
        assert SECRET not in nginx.log


def is_cut(link: socket.socket) -> bool:
    """Tell whether the other side has ended a connection that it sends nothing on."""
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        if not selector.select(0):
            return False
    try:
        return not link.recv(4096)
    except ConnectionError:
        return True


def test_slow_clients_are_cut_and_disturb_nobody(echo: Nginx) -> None:
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:

        def dial(sent: bytes) -> socket.socket:
            link = socket.create_connection(("127.0.0.1", echo.port), TIMEOUT)
            stack.callback(link.close)
            link.sendall(sent)
            return link

        silent = dial(b"")
        trickling = dial(b"G")
        halves = [dial(b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: ") for _ in range(500)]

        asked = time.monotonic()
        assert httpx.get(echo.url).status_code == 200
        assert time.monotonic() - asked < 1

        open_links = {silent, trickling, *halves}

        def all_are_cut() -> bool:
            with contextlib.suppress(ConnectionError):
                trickling.sendall(b"E")
            open_links.difference_update([link for link in open_links if is_cut(link)])
            return not open_links

        wait_until(all_are_cut, "slow clients to be cut", timeout=HEADER_DEADLINE)
        assert time.monotonic() - begun < HEADER_DEADLINE


def test_claims_about_the_address_do_not_get_through(echo: Nginx) -> None:
    claims = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    seen = httpx.get(echo.url, headers=claims).json()
    assert seen["client"][0] == "127.0.0.1"
    assert seen["scheme"] == "http"
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["headers"]["host"] == f"127.0.0.1:{echo.port}"


def test_only_a_websocket_is_passed_on_as_an_upgrade(echo: Nginx) -> None:
    claims = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    seen = httpx.post(echo.url, headers=claims, content=b"GET /open HTTP/1.1\r\n\r\n").json()
    assert "upgrade" not in seen["headers"]
    with connect(f"{echo.ws_url}/ws/bridge/", proxy=None) as link:
        link.send("hello")
        assert link.recv(TIMEOUT) == "hello"


def test_an_address_gets_fifty_sockets(echo: Nginx) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(f"{echo.ws_url}/ws/bridge/", proxy=None))
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{echo.ws_url}/ws/bridge/", proxy=None)
    assert refused.value.response.status_code == 429


def test_an_address_that_asks_too_often_is_told_so(echo: Nginx) -> None:
    with httpx.Client() as client, ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: client.get(echo.url).status_code, range(300))
        assert set(answers) == {200, 429}


def test_large_headers_and_bodies_are_refused(echo: Nginx) -> None:
    assert httpx.get(echo.url, headers={"X-Large": "x" * 70_000}).status_code in {400, 431}
    assert httpx.post(echo.url, content=b"x" * 1_100_000).status_code == 413
