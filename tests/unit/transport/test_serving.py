"""A connection whose server buffers without bound, as Daphne does: only proofs show that the client reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.frames import Command
from djwsbridge.protocol.server import State
from djwsbridge.runtime import Runtime
from djwsbridge.transport import registry
from djwsbridge.transport.connection import Connection
from tests.servers import TIMEOUT
from tests.unit.transport.conftest import NewClient
from tests.unit.transport.fake_server import FakeClient

DAPHNE = {"version": "3.0"}  # its `asgi` in the scope; others name the version of the specification
SMALL = 16_000  # bytes that may wait for a reader: a proof is asked for after each thousand


class Ask(Command, frozen=True, kw_only=True, tag="test.ask"):
    """A command with an answer of this many bytes."""

    size: int


class Hold(Command, frozen=True, kw_only=True, tag="test.hold"):
    """A command whose answer waits for `Handlers.gate`."""


class Handlers:
    """What was carried out, and what lets `test.hold` end."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.gate = asyncio.Event()

    def ask(self, connection: Connection, command: Ask) -> str:
        self.done.append(command.id)
        return "x" * command.size

    async def hold(self, connection: Connection, command: Hold) -> None:
        await self.gate.wait()
        self.done.append(command.id)


@pytest.fixture
async def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    made = Handlers()
    registry.register_command(Ask, made.ask)
    registry.register_command(Hold, made.hold)
    return made


@pytest.fixture(autouse=True)
def _small_queue(settings: Any, handlers: Handlers) -> Iterator[None]:
    settings.DJWSBRIDGE_SEND_QUEUE_BYTES = SMALL
    yield
    registry.codec.cache_clear()


@pytest.fixture
async def client(new_client: NewClient, handlers: Handlers) -> FakeClient:
    """Return a client whose frames the test reads from what the server would buffer."""
    client = new_client(asgi=DAPHNE)
    await client.join()
    return client


def burst(node: Runtime, *, first: int = 1, last: int = 30) -> None:
    """Deliver more durable pushes than may wait."""
    for seq in range(first, last + 1):
        data = {"text": "x" * 1_000}
        node.hub.deliver("user.7", encode_push("signal", topic="user.7", seq=seq, data=data))


def member_of(node: Runtime) -> Connection:
    (member,) = node.members
    assert isinstance(member, Connection)
    return member


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def read_all(client: FakeClient) -> list[dict[str, Any]]:
    """Return everything that the server has sent."""
    await turns()
    client.say({"id": 999, "cmd": "no.such"})
    frames: list[dict[str, Any]] = []
    while not frames or frames[-1].get("id") != 999:
        frames.append(await client.hear())
    return frames[:-1]


def numbers_in(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["data"]["proof"] for frame in frames if frame.get("push") == "proof"]


async def test_only_a_proof_makes_a_reader_quick_again(node: Runtime, client: FakeClient) -> None:
    burst(node)
    frames = await read_all(client)
    assert [frame["seq"] for frame in frames if "seq" in frame] == list(range(1, 15))
    numbers = numbers_in(frames)
    for number in range(2, 6):
        assert await client.ask("heartbeat", id=number) == {"id": number, "ok": {}}
    guess = "0" * len(numbers[0])
    assert await client.ask("heartbeat", id=6, proof=guess) == {"id": 6, "ok": {}}
    assert member_of(node).queue.is_slow
    client.say({"id": 7, "cmd": "heartbeat", "proof": numbers[-1]})
    assert await client.hear() == {"push": "tips", "data": {"user.7": 30}}
    assert await client.hear() == {"id": 7, "ok": {}}
    burst(node, first=31, last=31)
    assert (await client.hear())["seq"] == 31


async def test_who_talks_and_never_reads_is_closed(node: Runtime, client: FakeClient) -> None:
    client.say({"id": 2, "cmd": "heartbeat"})
    burst(node)
    first = numbers_in(await read_all(client))[0]
    client.say({"id": 3, "cmd": "heartbeat", "proof": first})  # it has read once
    await turns()
    member, now = member_of(node), node.loop.time()
    for seconds in range(1, 30):
        client.say({"id": 3 + seconds, "cmd": "heartbeat"})
        await turns()
        member.check(now=now + seconds)
    assert member.protocol.state is State.OPEN
    member.check(now=now + 31)
    await until_closed(client)
    assert client.closes == [4420]


async def until_closed(client: FakeClient) -> None:
    async def look() -> None:
        while not client.closes:  # noqa: ASYNC110  it is a list
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), TIMEOUT)


async def test_who_asks_for_much_and_never_reads_is_not_answered(
    node: Runtime, client: FakeClient, handlers: Handlers
) -> None:
    for number in range(2, 42):
        client.say({"id": number, "cmd": "test.ask", "size": 2_000})
    await turns(200)
    assert handlers.done == list(range(2, 10))
    member_of(node).check(now=node.loop.time() + 6)  # it never gave a proof
    await until_closed(client)
    assert client.closes == [4420]
    assert len(handlers.done) == 8


async def test_a_proof_counts_before_the_commands_that_wait_for_it(
    node: Runtime, client: FakeClient, handlers: Handlers
) -> None:
    ids = list(range(2, 42))
    for number in ids:
        client.say({"id": number, "cmd": "test.ask", "size": 2_000})
    answered: list[int] = []
    while answered != ids:
        frame = await client.hear()
        if frame.get("push") == "proof":
            client.say({"id": 100, "cmd": "heartbeat", "proof": frame["data"]["proof"]})
        elif frame["id"] != 100:
            answered.append(frame["id"])
    assert handlers.done == ids


async def test_a_proof_is_not_counted_as_a_frame(
    new_client: NewClient, node: Runtime, settings: Any
) -> None:
    settings.DJWSBRIDGE_FRAME_RATE = (3, 60.0)
    client = new_client(asgi=DAPHNE)
    await client.join()
    proofs = 0
    for seq in range(1, 51):
        burst(node, first=seq, last=seq)
        assert (await client.hear())["seq"] == seq
        number = (await client.assert_pushed("proof"))["data"]["proof"]
        proofs += 1
        assert "ok" in await client.ask("heartbeat", id=1 + seq, proof=number)
    assert proofs == 50
    assert "ok" in await client.ask("heartbeat", id=60)
    assert "ok" in await client.ask("heartbeat", id=61, proof="0" * 16)
    client.say({"id": 62, "cmd": "heartbeat", "proof": "0" * 16})
    await client.assert_failed("rate_limited", id=62)


async def test_frames_that_wait_are_bounded(
    node: Runtime, client: FakeClient, handlers: Handlers
) -> None:
    client.say({"id": 2, "cmd": "test.hold"})
    for number in range(3, 20):
        client.say({"id": number, "cmd": "test.ask", "size": 1, "x": "y" * 1_000})
    await turns()
    assert member_of(node).is_closing
    frame = await client.assert_pushed("error", code="rate_limited")
    assert frame["data"]["retry_after_ms"] > 0
    handlers.gate.set()
    await client.assert_closed(4429)
    assert handlers.done == [2]


async def test_what_came_before_the_end_is_carried_out(
    node: Runtime, client: FakeClient, handlers: Handlers
) -> None:
    client.say({"id": 2, "cmd": "test.hold"})
    client.say({"id": 3, "cmd": "test.ask", "size": SMALL})
    client.say({"id": 4, "cmd": "test.ask", "size": SMALL})
    client.say({"id": 5, "cmd": "test.ask", "size": 1})
    leaving = asyncio.ensure_future(client.leave())
    await turns()
    assert not leaving.done()
    handlers.gate.set()
    await asyncio.wait_for(leaving, TIMEOUT)
    assert handlers.done == [2, 3, 4, 5]


async def test_plain_readers_are_closed_when_as_much_was_sent_as_may_wait(
    new_client: NewClient, node: Runtime, handlers: Handlers
) -> None:
    client = await new_client(asgi=DAPHNE, subprotocols=()).open()
    await client.assert_accepted()
    while "user.7" not in node.hub:  # noqa: ASYNC110  it is a registry
        await asyncio.sleep(0)
    burst(node, last=20)
    client.say({"message": "I talk", "recipient": 7})
    await until_closed(client)
    assert client.closes == [4420]


# -- ready frames -----------------------------------------------------------------------------------------------------


class FakeWire:
    """A wire whose peer reads nothing until the test says so."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.receiver: Any = None
        self.waiting = 0
        self.is_full = False
        self.is_reading = True
        self.pings = 0

    def write(self, frame: bytes) -> None:
        self.waiting += len(frame)
        if self.waiting > self.limit and not self.is_full:
            self.is_full = True
            self.receiver.on_full()

    def read_all(self) -> None:
        self.waiting = 0
        if self.is_full:
            self.is_full = False
            self.receiver.on_drained()

    def ping(self) -> None:
        self.pings += 1

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def close(self, code: int, reason: str) -> None:
        self.receiver.on_lost(code)


@pytest.fixture
async def wire(new_client: NewClient, handlers: Handlers, node: Runtime) -> FakeWire:
    """Return the wire of a connection that has begun."""
    made: list[FakeWire] = []

    def attach(receiver: Any, *, limit: int, max_size: int) -> FakeWire:
        made.append(FakeWire(limit))
        made[0].receiver = receiver
        return made[0]

    client = await new_client(extensions={"djwsbridge.wire": {"attach": attach}}).open()
    await client.assert_accepted()
    await asyncio.wait_for(asyncio.shield(client.task), TIMEOUT)
    made[0].receiver.on_text('{"id":1,"cmd":"connect"}')
    await turns()
    made[0].read_all()
    return made[0]


def ask_for_much(wire: FakeWire) -> None:
    """Send forty commands as one read from the transport brings them, with answers of 80 KB in all."""
    for number in range(2, 42):
        wire.receiver.on_text(f'{{"id":{number},"cmd":"test.ask","size":2000}}')


async def test_commands_that_came_together_wait_for_room(
    wire: FakeWire, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djwsbridge.transport.wire_queue.AT_ONCE", 4_000)
    ask_for_much(wire)
    await turns()
    assert wire.waiting < 2 * SMALL
    assert not wire.is_reading
    assert len(handlers.done) < 15
    for _ in range(10):
        wire.read_all()
        await turns()
    assert handlers.done == list(range(2, 42))
    assert wire.is_reading
    wire.close(1000, "")
    await turns()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_full_user_is_pinged_and_only_a_dead_connection_makes_room(
    wire: FakeWire,
    new_client: NewClient,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    monkeypatch.setattr("djwsbridge.transport.seats.ANSWER_TIME", 0.3)
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 1
    if answers:
        monkeypatch.setattr(wire, "ping", wire.receiver.on_pong)
    late = await new_client().open()
    await late.assert_accepted()
    late.say({"id": 1, "cmd": "connect"})
    if answers:
        await late.assert_told_and_closed(4430, "too_many")
        wire.close(1000, "")
    else:
        assert "ok" in await late.hear()
        assert wire.pings == 1
    await turns()


async def assert_full(new_client: NewClient) -> None:
    """Expect that another client of the user is refused."""
    late = await new_client().open()
    await late.assert_accepted()
    late.say({"id": 1, "cmd": "connect"})
    await late.assert_told_and_closed(4430, "too_many")


@pytest.mark.parametrize("scope", [{}, {"asgi": DAPHNE}], ids=["uvicorn", "daphne"])
async def test_a_client_whose_command_takes_long_keeps_its_place(
    new_client: NewClient,
    handlers: Handlers,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    scope: dict[str, Any],
) -> None:
    monkeypatch.setattr("djwsbridge.transport.seats.ANSWER_TIME", 0.3)
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 1
    client = new_client(**scope)
    await client.join()
    client.gives_proofs = True
    client.say({"id": 2, "cmd": "test.hold"})
    await turns()
    await assert_full(new_client)
    assert not client.closes
    handlers.gate.set()
    assert await client.hear() == {"id": 2, "ok": {}}


async def test_a_client_that_is_not_read_because_a_command_takes_long_keeps_its_place(
    wire: FakeWire,
    new_client: NewClient,
    handlers: Handlers,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("djwsbridge.transport.seats.ANSWER_TIME", 0.3)
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 1
    wire.receiver.on_text('{"id":2,"cmd":"test.hold"}')
    wire.receiver.on_text('{"id":3,"cmd":"heartbeat"}')
    assert not wire.is_reading
    await assert_full(new_client)
    assert wire.pings == 1
    handlers.gate.set()
    await turns()
    assert handlers.done == [2]
    wire.close(1000, "")
    await turns()


async def test_a_client_that_has_gone_keeps_no_place_while_its_command_takes_long(
    wire: FakeWire,
    new_client: NewClient,
    handlers: Handlers,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("djwsbridge.transport.seats.ANSWER_TIME", 0.3)
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 1
    wire.receiver.on_text('{"id":2,"cmd":"test.hold"}')
    wire.receiver.on_lost(1006)
    assert "ok" in await new_client().join()
    handlers.gate.set()
    await turns()
    assert handlers.done == [2]


async def test_a_frame_is_a_sign_of_life_when_it_comes(
    node: Runtime, client: FakeClient, handlers: Handlers
) -> None:
    member = member_of(node)
    client.say({"id": 2, "cmd": "test.hold"})
    await turns()
    moment = node.loop.time()
    client.say({"id": 3, "cmd": "heartbeat"})
    await turns()
    assert member.protocol.last_seen > moment
    handlers.gate.set()
    assert [(await client.hear())["id"] for _ in range(2)] == [2, 3]


async def test_commands_that_wait_for_room_are_carried_out_when_their_client_is_lost(
    wire: FakeWire, handlers: Handlers, node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djwsbridge.transport.wire_queue.AT_ONCE", 4_000)
    ask_for_much(wire)
    await turns()
    assert len(handlers.done) < 15
    wire.receiver.on_lost(1006)
    await turns(200)
    assert handlers.done == list(range(2, 42))
    assert not node.members
