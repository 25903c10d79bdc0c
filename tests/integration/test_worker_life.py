"""A process from its start to its end, under real servers: it leaves without losing anybody or anything."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from djwsbridge.client import Client, Message
from tests.conftest import StartSite
from tests.faults.proxy import Link, Trouble, fault_proxy
from tests.integration.chat.conftest import Person, Socket
from tests.servers import SERVERS, TIMEOUT, PostgresServer, ServerName, Site, wait_until

SENDERS = 5
EXIT_WITHIN = 30.0  # seconds after SIGTERM


@pytest.fixture
def env(sqlite_url: str) -> Mapping[str, str]:
    return {
        "DATABASE_URL": sqlite_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings_impatient",
    }


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest, start_site: StartSite, env: Mapping[str, str]) -> Site:
    server: ServerName = request.param
    return start_site(server, env=env)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def alice(site: Site, stack: ExitStack) -> Person:
    return Person(site, "alice", stack)


def headers_of(person: Person) -> dict[str, str]:
    cookies = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
    return {"Cookie": cookies, "Origin": person.site.url}


async def until(condition: Callable[[], bool]) -> None:
    async def look() -> None:
        while not condition():  # noqa: ASYNC110  the condition is anything
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), TIMEOUT)


@asynccontextmanager
async def sending(client: Client, room: int) -> AsyncIterator[list[Message]]:
    """Send one message after the other while the block runs; gives what was acknowledged."""
    acked: list[Message] = []
    enough = asyncio.Event()

    async def send() -> None:
        while not enough.is_set():
            acked.append(await client.send_message(room, f"{uuid.uuid4()}"))

    task = asyncio.create_task(send())
    try:
        yield acked
    finally:
        enough.set()
        await asyncio.wait_for(task, TIMEOUT)


def end_of(socket: Socket) -> tuple[list[dict[str, Any]], int]:
    """Read a socket to its end: the frames, and the code that it was closed with."""
    frames = []
    try:
        while True:
            frames.append(socket.receive())
    except ConnectionClosed as closed:
        return frames, closed.rcvd.code if closed.rcvd else 1006


async def test_a_process_that_ends_under_load_loses_nothing(
    site: Site, alice: Person, env: Mapping[str, str]
) -> None:
    room = alice.make_room("General")["id"]
    clients = [
        Client(f"{site.ws_url}/ws/bridge/", headers=lambda: headers_of(alice))
        for _ in range(SENDERS)
    ]
    async with AsyncExitStack() as entered:
        lists = []
        for client in clients:
            await entered.enter_async_context(client)
            lists.append(await entered.enter_async_context(sending(client, room)))
        await until(lambda: min(map(len, lists)) >= 5)
        begun = time.monotonic()
        await asyncio.to_thread(site.stop)
        assert time.monotonic() - begun < EXIT_WITHIN
        counts = list(map(len, lists))
        await asyncio.to_thread(site.start)
        await until(lambda: all(len(one) > count for one, count in zip(lists, counts, strict=True)))
    acked = [message for one in lists for message in one]
    assert len({message.seq for message in acked}) == len(acked)
    stored: list[dict[str, Any]] = []
    while not stored or stored[-1]["seq"] < max(message.seq for message in acked):
        after = stored[-1]["seq"] if stored else 0
        page = alice.client.get(f"/chat/api/rooms/{room}/messages/?after={after}&limit=500")
        stored += page.json()["messages"]
    numbers = {message["seq"]: message["body"] for message in stored}
    assert len(numbers) == len(stored) == len({message["body"] for message in stored})
    assert sorted(numbers) == list(range(min(numbers), max(numbers) + 1))
    assert {message.seq for message in acked} == set(numbers)
    assert "Traceback" not in site.log


def test_everybody_is_told_to_go_and_then_closed(
    site: Site, alice: Person, stack: ExitStack
) -> None:
    room = alice.make_room("General")
    sockets = [alice.connect() for _ in range(5)]
    plain = Person(site, "bob", stack).enter(room["slug"])
    status = site.stop()
    for one in sockets:
        frames, code = end_of(one)
        (told,) = [frame for frame in frames if frame.get("push") == "reconnect"]
        assert 0 <= told["data"]["after_ms"] <= 6_000
        assert code == (1000 if site.server == "daphne" else 1012)
    _, code = end_of(plain)
    assert code == (1000 if site.server == "daphne" else 1012)
    assert status in {0, -15}
    assert "Traceback" not in site.log


# -- slow readers -----------------------------------------------------------------------------------------------------

MEBIBYTE = 1_048_576
DEAD_READERS = 8
COST = 2 * MEBIBYTE  # of memory that a reader which never reads may cost
# By which a process grows and shrinks anyway. Unbounded, the readers would cost 40 MB.
NOISE = 8 * MEBIBYTE


def memory_of(site: Site) -> int:
    """Return the bytes of memory that a server occupies."""
    for line in Path(f"/proc/{site.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")


def open_dead(person: Person) -> socket.socket:
    """Open a v1 socket that reads nothing after the answer to its `connect`."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", person.site.port))
    link.settimeout(TIMEOUT)
    lines = [
        "GET /ws/bridge/ HTTP/1.1",
        f"Host: 127.0.0.1:{person.site.port}",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Protocol: djwsbridge.v1",
        *(f"{name}: {value}" for name, value in headers_of(person).items()),
    ]
    link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert b" 101 " in link.recv(4096).split(b"\r\n")[0]
    command = json.dumps({"id": 1, "cmd": "connect"}).encode()
    link.sendall(bytes([0x81, 0x80 | len(command), 0, 0, 0, 0]) + command)
    while b"heartbeat_ms" not in link.recv(4096):
        pass
    return link


def send_many(sender: Socket, room: int) -> None:
    """Send 5 MB of messages to a room, ten at a time."""
    for first in range(2, 602, 10):
        unanswered = set(range(first, first + 10))
        for number in sorted(unanswered):
            mid = str(uuid.uuid4())
            sender.send(
                id=number, cmd="message.send", room=room, body="x" * 8_000, client_message_id=mid
            )
        while unanswered:
            frame = sender.receive()
            if frame.get("id") in unanswered:
                assert "ok" in frame, frame
                unanswered.remove(frame["id"])


def count_sockets(site: Site) -> int:
    """Return how many sockets a server has open."""
    found = 0
    for entry in Path(f"/proc/{site.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed a moment ago
            found += str(entry.readlink()).startswith("socket:")
    return found


@pytest.mark.slow
def test_who_never_reads_costs_little_delays_nobody_and_is_closed(
    site: Site, alice: Person, stack: ExitStack
) -> None:
    bob = Person(site, "bob", stack)
    # Or a server would close the connections of these requests while sockets are counted.
    for person in (alice, bob):
        person.client.headers["connection"] = "close"
    room = alice.make_room("General")["id"]
    assert bob.post(f"/chat/api/rooms/{room}/join/").status_code == 200
    reader = alice.connect()
    for _ in range(3):
        send_many(reader, room)  # fills what the server itself keeps, such as SQLite's caches
    sockets, before = count_sockets(site), memory_of(site)
    for _ in range(DEAD_READERS):
        stack.enter_context(open_dead(bob))
    assert count_sockets(site) == sockets + DEAD_READERS
    send_many(reader, room)
    assert memory_of(site) - before < DEAD_READERS * COST + NOISE
    wait_until(lambda: count_sockets(site) <= sockets, "the dead readers to be closed")
    reader.send(id=5_000, cmd="heartbeat")
    assert "ok" in reader.wait_for(id=5_000)


# -- the database is away ---------------------------------------------------------------------------------------------


@pytest.fixture(params=SERVERS)
def far_site(
    request: pytest.FixtureRequest,
    start_site: StartSite,
    env: Mapping[str, str],
    postgres: PostgresServer,
    postgres_site_url: str,
) -> Iterator[tuple[Site, Link]]:
    """Return a site and the link between it and its database."""
    with fault_proxy(1) as proxy:
        link = proxy.link("database", postgres.port)
        url = postgres_site_url.replace(f":{postgres.port}/", f":{link.port}/")
        yield start_site(request.param, env={**env, "DATABASE_URL": url}), link


def send_one(socket: Socket, room: int, number: int, mid: str) -> dict[str, Any]:
    socket.send(id=number, cmd="message.send", room=room, body="x", client_message_id=mid)
    return socket.wait_for(id=number)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["cut", "black hole"])
def test_a_lost_database_is_told_at_once_and_noticed_when_it_is_back(
    far_site: tuple[Site, Link], stack: ExitStack, trouble: str
) -> None:
    site, link = far_site
    alice = Person(site, "alice", stack)
    room = alice.make_room("General")["id"]
    socket = alice.connect()
    assert "ok" in send_one(socket, room, 2, str(uuid.uuid4()))
    if trouble == "cut":
        link.refuse()
        link.cut(reset=True)
    else:
        link.set(up=Trouble(black=True), down=Trouble(black=True))
    mid = str(uuid.uuid4())
    for number in range(3, 15):
        begun = time.monotonic()
        error = send_one(socket, room, number, mid)["error"]
        assert time.monotonic() - begun < 3.5
        assert error["code"] in {"db_unavailable", "commit_unknown"}
        assert error["retryable"]
    assert site.status("/readyz") == 503
    assert site.status("/healthz") == 200
    link.heal()
    begun = time.monotonic()
    number = 20
    while "ok" not in (answer := send_one(socket, room, number, mid)):
        number += 1
        assert time.monotonic() - begun < 5.0, answer
    wait_until(lambda: site.status("/readyz") == 200, "the site to be ready again")
    again = send_one(socket, room, 1_000, mid)
    assert again["ok"] == answer["ok"]
    history = alice.client.get(f"/chat/api/rooms/{room}/messages/").json()["messages"]
    assert len(history) == 2
