"""Clients that talk and do not read, and clients that read much, under real servers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from djwsbridge.client import Client
from djwsbridge.client.connection import Connection
from tests.conftest import StartSite
from tests.integration.chat.conftest import Person, Socket
from tests.integration.test_worker_life import (
    MEBIBYTE,
    count_sockets,
    headers_of,
    memory_of,
    open_dead,
)
from tests.servers import TIMEOUT, ServerName, Site, wait_until

BODY = "€" * 8_000  # the longest text that a message may have; 24,000 bytes
# Of memory that clients may cost which read nothing, with what a process grows and shrinks by anyway. Without a bound
# they cost more than twice as much, although the kernel takes the first three MiB for each of them.
COST = 32 * MEBIBYTE


@pytest.fixture
def env(sqlite_url: str) -> Mapping[str, str]:
    return {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "tests.settings_slow_readers"}


@pytest.fixture
def site(request: pytest.FixtureRequest, start_site: StartSite, env: Mapping[str, str]) -> Site:
    """Return a site under Daphne, or under the server that the test names."""
    server: ServerName = getattr(request, "param", "daphne")
    return start_site(server, env=env)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


def meet(site: Site, stack: ExitStack) -> tuple[Person, Person, int]:
    """Return two people and the room in which they are."""
    alice, bob = Person(site, "alice", stack), Person(site, "bob", stack)
    for person in (alice, bob):
        # Or a server would close the connections of these requests while sockets are counted.
        person.client.headers["connection"] = "close"
    room = alice.make_room("General")["id"]
    assert bob.post(f"/chat/api/rooms/{room}/join/").status_code == 200
    return alice, bob, room


def ask(socket: Socket, cmd: str, **fields: object) -> dict[str, Any]:
    """Send a command and return its answer."""
    socket.send(id=2, cmd=cmd, **fields)
    answer: dict[str, Any] = socket.wait_for(id=2)["ok"]
    return answer


def send_tens(
    sender: Socket, room: int, tens: int, *, between: Callable[[], object] = bool
) -> None:
    """Send so many times ten messages to a room, and call `between` after each ten."""
    for _ in range(tens):
        ids = set(range(3, 13))
        for number in ids:
            mid = str(uuid.uuid4())
            sender.send(id=number, cmd="message.send", room=room, body=BODY, client_message_id=mid)
        while ids:
            frame = sender.receive()
            assert "error" not in frame, frame
            ids.discard(frame.get("id"))
        between()


def say(link: socket.socket, *commands: Mapping[str, object]) -> None:
    """Send commands over a raw connection, if it is still open."""
    data = b""
    for command in commands:
        text = json.dumps(command).encode()
        assert len(text) < 126
        data += bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
    with contextlib.suppress(ConnectionError):
        link.sendall(data)


# -- clients that read nothing ----------------------------------------------------------------------------------------


def test_heartbeats_of_clients_that_read_nothing_prove_nothing(
    site: Site, stack: ExitStack
) -> None:
    alice, bob, room = meet(site, stack)
    sender = alice.connect()
    send_tens(sender, room, 5)  # fills what the server itself keeps, such as SQLite's caches
    sockets, before = count_sockets(site), memory_of(site)
    deaf = [stack.enter_context(open_dead(bob)) for _ in range(16)]
    ids, costs = itertools.count(2), []

    def talk() -> None:
        number = next(ids)
        for link in deaf:
            say(link, {"id": number, "cmd": "heartbeat"})
        costs.append(memory_of(site) - before)

    send_tens(sender, room, 30, between=talk)  # 7 MB for each of them
    assert max(costs) < COST
    wait_until(lambda: count_sockets(site) <= sockets, "those who read nothing to be closed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "question", "count"),
    [
        ("daphne", "message.list", 30),
        ("daphne", "topic.recover", 300),
        ("fast", "message.list", 30),
    ],
    indirect=["site"],
)
def test_answers_to_clients_that_read_nothing_are_bounded(
    site: Site, stack: ExitStack, question: str, count: int
) -> None:
    alice, bob, room = meet(site, stack)
    sender = alice.connect()
    send_tens(sender, room, 3)
    topic = f"room.{room}"
    epoch = ask(sender, "topic.recover", topic=topic, epoch="", seq=0)["epoch"]
    fields: Mapping[str, object] = {
        "message.list": {"room": room, "limit": 500},
        "topic.recover": {"topic": topic, "epoch": epoch, "seq": 1},
    }[question]
    readers = [alice.connect() for _ in range(8)]
    with ThreadPoolExecutor(
        8
    ) as pool:  # what the server's threads cost once, they do not cost again
        list(pool.map(lambda one: [ask(one, question, **fields) for _ in range(5)], readers))
    sockets, before = count_sockets(site), memory_of(site)
    deaf = [stack.enter_context(open_dead(bob)) for _ in range(8)]
    for number in range(3, 3 + 2 * count, 2):
        for link in deaf:
            say(
                link,
                {"id": number, "cmd": question, **fields},
                {"id": number + 1, "cmd": "heartbeat"},
            )

    def are_closed() -> bool:
        assert memory_of(site) - before < COST
        ask(sender, "heartbeat")
        return count_sockets(site) <= sockets

    wait_until(are_closed, "those who read nothing to be closed", timeout=2 * TIMEOUT)


# -- clients that read ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def reading(person: Person) -> AsyncIterator[tuple[Client, list[int]]]:
    """Connect a client of the library; gives it and the numbers of the messages that it was pushed."""
    seqs: list[int] = []

    async def read(client: Client) -> None:
        async for push in client.pushes():
            if push.type == "message.sent" and push.seq is not None:
                seqs.append(push.seq)  # noqa: PERF401  the test looks at it meanwhile

    url = f"{person.site.ws_url}/ws/bridge/"
    async with Client(url, headers=lambda: headers_of(person)) as client:
        task = asyncio.create_task(read(client))
        yield client, seqs
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async def look() -> None:
        while not condition():  # noqa: ASYNC110  the condition is anything
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), 2 * TIMEOUT)


async def test_a_quick_reader_gets_twenty_mebibytes_over_one_connection(
    site: Site, stack: ExitStack
) -> None:
    alice, bob, room = meet(site, stack)
    sender = alice.connect()
    async with reading(bob) as (client, seqs):
        connection_id = client.connection_id
        await asyncio.to_thread(send_tens, sender, room, 20)
        await until(lambda: len(seqs) == 200)
        assert seqs == list(range(seqs[0], seqs[0] + 200))
        size = 200 * len(BODY.encode())
        while size < 20 * MEBIBYTE:
            answer = await client.request("message.list", room=room, limit=500)
            size += sum(len(message["body"].encode()) for message in answer["messages"])
        assert client.connection_id == connection_id


async def test_a_client_that_knows_of_no_proofs_gets_everything_in_the_end(
    site: Site, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "_prove", lambda *_: None)  # as in the last release
    alice, bob, room = meet(site, stack)
    sender = alice.connect()
    async with reading(bob) as (client, seqs):
        connection_id = client.connection_id
        await asyncio.to_thread(send_tens, sender, room, 8)
        await until(lambda: len(seqs) == 80)
        assert seqs == list(range(seqs[0], seqs[0] + 80))
        await until(lambda: client.connection_id != connection_id)  # it was closed, and came back
