"""No page and no push costs the process a connection of its pool, whatever the view does."""

from __future__ import annotations

import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.integration.chat.conftest import Person
from tests.servers import TIMEOUT, PostgresServer, ServerName, Site, serve, wait_until

REQUESTS = 5  # of each view, more than the pool has connections
RESETS = 200
HURRY = 0.05  # seconds after which a client resets its connection
# Seconds in which a page answers while 200 views of a second each go on: 0.3 on an idle machine. A bound of 32 threads
# would make it six.
SOON = 3.0
AT_ONCE = struct.pack("ii", 1, 0)  # for SO_LINGER: close with a reset

READ = ["plain", "sync-stream", "async-stream", "async-view-with-stream", "file"]
BROKEN = ["broken", "broken-in-transaction", "broken-async"]
CUT = ["failing-sync-stream", "failing-async-stream"]
ABANDONED = ["long-sync-stream", "long-async-stream", "slow", "slow-with-database"]


@pytest.fixture(scope="module", params=["fast", "daphne"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    migrated_postgres: str,
    site_env: dict[str, str],
) -> Iterator[Site]:
    server: ServerName = request.param
    name = f"pages_{server}"
    env = {
        **site_env,
        "DJANGO_SETTINGS_MODULE": "tests.settings_pages",
        "DATABASE_URL": postgres.create_database(name, template=migrated_postgres),
    }
    with serve(server, directory=tmp_path_factory.mktemp("pages"), env=env) as running:
        yield running
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def talk(site: Site) -> Iterator[Callable[[str], None]]:
    """Return a function that sends a message from one member of a room to another, over their sockets."""
    with ExitStack() as stack:
        alice, bob = (Person(site, name, stack) for name in ("alice", "bob"))
        room = alice.make_room("Pages")["id"]
        assert bob.post(f"/chat/api/rooms/{room}/join/").is_success
        here, there = alice.connect(), bob.connect()

        def send(body: str) -> None:
            message = {"room": room, "body": body, "client_message_id": str(uuid.uuid4())}
            here.send(id=2, cmd="message.send", **message)
            assert "ok" in here.wait_for(id=2)
            assert there.wait_for(push="message.sent")["data"]["body"] == body

        yield send


def get(site: Site, view: str) -> httpx.Response:
    return httpx.get(f"{site.url}/pages/{view}", timeout=TIMEOUT)


def ask(site: Site, view: str) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", site.port), TIMEOUT)
    link.sendall(f"GET /pages/{view} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return link


def reset(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    link.close()


def state(site: Site) -> dict[str, int]:
    found: dict[str, int] = get(site, "state").json()
    return found


def is_whole(site: Site) -> bool:
    """Say whether every connection of the process's pool is free."""
    now = state(site)
    return 0 < now["size"] == now["free"]


def read(site: Site, view: str) -> None:
    assert get(site, view).status_code == 200


def fail(site: Site, view: str) -> None:
    assert get(site, view).status_code == 500


def read_until_it_breaks(site: Site, view: str) -> None:
    """Leave after the view has raised: Daphne lets the client wait for the rest."""
    before = state(site)["defects"]
    with ask(site, view):
        wait_until(lambda: state(site)["defects"] > before, "the content to raise")


def abandon(site: Site, view: str) -> None:
    """Reset the connection as soon as a part has come, or after a moment without one."""
    link = ask(site, view)
    link.settimeout(HURRY * 2)
    with suppress(TimeoutError):
        link.recv(1)
    reset(link)


CASES: list[tuple[Callable[[Site, str], None], str]] = [
    *[(read, view) for view in READ],
    *[(fail, view) for view in BROKEN],
    *[(read_until_it_breaks, view) for view in CUT],
    *[(abandon, view) for view in ABANDONED],
]


@pytest.mark.parametrize(("use", "view"), CASES, ids=[view for _, view in CASES])
def test_a_view_gives_its_connection_back(
    site: Site, talk: Callable[[str], None], use: Callable[[Site, str], None], view: str
) -> None:
    for _ in range(REQUESTS):
        use(site, view)
    wait_until(lambda: is_whole(site), "every connection to be free")
    assert get(site, "plain").status_code == 200
    talk(view)


@pytest.mark.parametrize("view", ["slow", "slow-async"])
def test_clients_that_leave_do_not_delay_a_page(site: Site, view: str) -> None:
    links = [ask(site, view) for _ in range(RESETS)]
    time.sleep(HURRY)
    for link in links:
        reset(link)
    begun = time.monotonic()
    assert get(site, "plain").status_code == 200
    assert time.monotonic() - begun < SOON
    wait_until(lambda: is_whole(site), "every connection to be free")
