"""A client that was away for very long catches up in seconds while others write, with the limits as shipped."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from djwsbridge.client import RESET, Client
from tests.conftest import StartSite
from tests.integration.chat.conftest import Person, Socket
from tests.servers import TIMEOUT, ServerName, Site, run_manage, wait_until

MISSED = 10_000
WRITERS = 10
WRITES_EVERY = 0.5  # seconds; 20 messages a second in all, as many as ten users may send
EPOCH = "0123456789abcdef"

# Writes the events of a room as its messages would have.
FILL = f"""
from django.db import transaction
from djwsbridge.durable import NewEvent
from djwsbridge.log.log import Log
from djwsbridge.log.models import Topic

def event(seq, now):
    sender = {{"id": 1, "name": "alice"}}
    mid = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
    body = "what was said while nobody was there " * 2
    return {{"room": ROOM, "seq": seq, "sender": sender, "body": body, "created": now, "client_message_id": mid}}

for _ in range({MISSED} // 1_000):
    with transaction.atomic():
        Log().append([NewEvent("room.ROOM", "message.sent", event)] * 1_000)
Topic.objects.filter(name="room.ROOM").update(epoch="{EPOCH}")
"""


@pytest.fixture(params=["sqlite_url", "postgres_site_url"])
def site(request: pytest.FixtureRequest, start_site: StartSite) -> Site:
    return start_site("fast", env={"DATABASE_URL": request.getfixturevalue(request.param)})


@pytest.fixture
def people(site: Site) -> Iterator[tuple[list[Person], int]]:
    """Return people and a room of theirs in which very much was said."""
    with ExitStack() as stack:
        people = [Person(site, f"user{number}", stack) for number in range(WRITERS + 1)]
        room = people[0].make_room("General")["id"]
        for person in people[1:]:
            assert person.post(f"/chat/api/rooms/{room}/join/").status_code == 200
        run_manage("shell", "-c", FILL.replace("ROOM", str(room)), env=site.env)
        yield people, room


def headers_of(person: Person) -> dict[str, str]:
    cookies = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
    return {"Cookie": cookies, "Origin": person.site.url}


@asynccontextmanager
async def writing(writers: list[Person], room: int) -> AsyncIterator[set[int]]:
    """Let people write all the time; gives the seqs of what they have written."""
    written: set[int] = set()

    async def write(client: Client) -> None:
        while True:
            written.add((await client.send_message(room, f"live {uuid.uuid4()}")).seq)
            await asyncio.sleep(WRITES_EVERY)

    async with AsyncExitStack() as entered:
        tasks = []
        for writer in writers:
            client = Client(f"{writer.site.ws_url}/ws/bridge/", headers=headers_of(writer))
            await entered.enter_async_context(client)
            tasks.append(asyncio.create_task(write(client)))
        try:
            yield written
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def read_all(client: Client, topic: str, written: set[int]) -> list[int]:
    """Return the seqs of a topic as the library's client gives them out, until something new is among them."""
    seqs: list[int] = []
    async for push in client.pushes():
        assert push.type != RESET
        if push.topic == topic and push.seq is not None:
            seqs.append(push.seq)
            if len(seqs) > MISSED and push.seq in written:
                return seqs
    raise AssertionError("The client has ended.")


class PlainClient:
    """A client of the protocol page that knows `topic.recover`, and nothing of how large a page may be."""

    def __init__(self, socket: ClientConnection, topic: str) -> None:
        self.socket = socket
        self.topic = topic
        self.ids = itertools.count(1)
        # What was given out, and the live pushes that came too early.
        self.seqs: list[int] = []
        self.held: set[int] = set()

    async def ask(self, cmd: str, **fields: Any) -> dict[str, Any]:
        number = next(self.ids)
        await self.socket.send(json.dumps({"id": number, "cmd": cmd, **fields}))
        while (frame := await self.receive()).get("id") != number:
            pass
        ok: dict[str, Any] = frame["ok"]
        return ok

    async def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        if frame.get("topic") == self.topic and "seq" in frame:
            self.held.add(frame["seq"])
        return frame

    def take(self, report: dict[str, Any]) -> None:
        assert report["recovered"]
        self.seqs += [event["seq"] for event in report.get("events", ())]

    async def catch_up(self) -> None:
        cursors = {self.topic: [EPOCH, 0]}
        report = (await self.ask("connect", cursors=cursors))["topics"][self.topic]
        self.take(report)
        while report.get("more"):
            report = await self.ask(
                "topic.recover", topic=self.topic, epoch=EPOCH, seq=self.seqs[-1]
            )
            self.take(report)

    async def read_on(self, written: set[int]) -> None:
        """Take what was held and what comes, until something new is among it."""
        while True:
            while self.seqs[-1] + 1 in self.held:
                self.seqs.append(self.seqs[-1] + 1)
            if self.seqs[-1] in written:
                return
            await self.receive()


async def test_the_librarys_client_catches_up_while_others_write(
    people: tuple[list[Person], int],
) -> None:
    (*writers, reader), room = people
    topic = f"room.{room}"
    url = f"{reader.site.ws_url}/ws/bridge/"
    async with writing(writers, room) as written:
        options: dict[str, Any] = {"headers": headers_of(reader), "cursors": {topic: (EPOCH, 0)}}
        async with Client(url, **options) as client:
            seqs = await asyncio.wait_for(read_all(client, topic, written), TIMEOUT)
    assert seqs == list(range(1, seqs[-1] + 1))


async def test_any_client_of_the_protocol_catches_up_while_others_write(
    people: tuple[list[Person], int],
) -> None:
    (*writers, reader), room = people
    headers = headers_of(reader)
    opening = connect(
        f"{reader.site.ws_url}/ws/bridge/",
        origin=headers.pop("Origin"),  # type: ignore[arg-type]
        additional_headers=headers,
        subprotocols=["djwsbridge.v1"],  # type: ignore[list-item]
    )
    async with writing(writers, room) as written, opening as socket:
        client = PlainClient(socket, f"room.{room}")
        await asyncio.wait_for(client.catch_up(), TIMEOUT)
        await asyncio.wait_for(client.read_on(written), TIMEOUT)
    assert len(client.seqs) > MISSED
    assert client.seqs == list(range(1, client.seqs[-1] + 1))


# Puts an event into the log of a user that is larger than Daphne sends, as an older version would have.
OVERSIZE = """
from django.db import transaction
from djwsbridge.durable import NewEvent
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic

with transaction.atomic():
    [event] = Log().append([NewEvent("user.USER", "signal", lambda seq, now: {"blob": "SMALL"})])
    rows = Event.objects.filter(topic__name="user.USER", seq=event.seq)
    rows.update(payload=event.text.replace("SMALL", "x" * 1_500_000))
print(Topic.objects.get(name="user.USER").epoch, event.seq)
"""


@pytest.mark.parametrize("server", ["daphne", "fast"])
def test_an_event_that_no_server_can_send_costs_its_own_topic_alone(
    server: ServerName, start_site: StartSite, sqlite_url: str
) -> None:
    site = start_site(server, env={"DATABASE_URL": sqlite_url})
    with ExitStack() as stack:
        alice = Person(site, "alice", stack)
        room = alice.make_room("General")["id"]
        early = alice.connect()
        welcome = greet(alice, {})
        user = welcome["user"]["id"]
        code = OVERSIZE.replace("USER", str(user))
        epoch, seq = run_manage("shell", "-c", code, env=site.env).split()[-2:]
        hears(early, alice, room, f"user.{user}", int(seq))
        topics = {f"room.{room}": [welcome["topics"][f"room.{room}"]["epoch"], 0]}
        again = greet(alice, {f"user.{user}": [epoch, int(seq) - 1], **topics})["topics"]
        assert again[f"user.{user}"] == {"epoch": epoch, "seq": int(seq), "recovered": False}
        assert again[f"room.{room}"]["recovered"]
        assert again[f"room.{room}"]["events"]


def hears(socket: Socket, person: Person, room: int, topic: str, seq: int) -> None:
    """Wait until the server has come across an event, and see that the connection gets what follows on a room."""
    wait_until(lambda: tips(socket).get(topic) == seq, "the look at the log")
    message = {"body": "hello", "client_message_id": str(uuid.uuid4())}
    assert person.post(f"/chat/api/rooms/{room}/messages/", **message).status_code == 201
    assert socket.wait_for(push="message.sent")["data"]["body"] == "hello"


def tips(socket: Socket) -> dict[str, int]:
    socket.send(id=3, cmd="heartbeat")
    found: dict[str, int] = socket.wait_for(id=3)["ok"]["tips"]
    return found


def greet(person: Person, cursors: dict[str, Any]) -> dict[str, Any]:
    """Connect with cursors; return the answer."""
    socket = person.open_socket("/ws/bridge/", subprotocol="djwsbridge.v1")
    socket.send(id=1, cmd="connect", cursors=cursors)
    answer: dict[str, Any] = socket.wait_for(id=1)["ok"]
    return answer
