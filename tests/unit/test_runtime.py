"""One node: engine, hub and presence together. The engine is a fake that keeps a record."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from djwsbridge import durable, publish, runtime
from djwsbridge.engine.base import Deliver, Engine, OnBack
from djwsbridge.engine.channel_layer import ChannelLayerEngine
from djwsbridge.engine.factory import build_engine
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.engine.outbox import AT_ONCE, Outbox
from djwsbridge.presence import Change, Person
from djwsbridge.protocol.codec import Codec, encode_push
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.runtime import CONTROL_TOPIC, Runtime
from tests.servers import TIMEOUT


class RecordingEngine(Engine):
    """Keeps what it is asked for; `broken` topics fail, `gates` are waited for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.broken: set[str] = set()
        self.failure: type[Exception] = EngineUnavailable
        self.gates: dict[str, asyncio.Event] = {}
        self.joined: set[str] = set()

    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        self.calls.append(("start",))

    async def stop(self) -> None:
        self.calls.append(("stop",))

    async def subscribe(self, topic: str) -> None:
        await self._call("subscribe", topic)
        assert topic not in self.joined, "joined twice"
        self.joined.add(topic)

    async def unsubscribe(self, topic: str) -> None:
        await self._call("unsubscribe", topic)
        self.joined.discard(topic)

    async def publish(self, topic: str, text: str) -> None:
        await self._call("publish", topic, text)

    async def _call(self, name: str, topic: str, *rest: str) -> None:
        self.calls.append((name, topic, *rest))
        if topic in self.gates:
            await self.gates[topic].wait()
        if topic in self.broken:
            raise self.failure("broken")


class Reader:
    """A connection as the node sees it."""

    dialect = Codec([Heartbeat])
    write = None

    def __init__(self, node: Runtime | None = None) -> None:
        self.node = node
        self.got: list[str] = []
        self.sessions: list[str | None] = []

    def push(self, text: str) -> None:
        self.got.append(text)

    async def subscribe(self, topic: str) -> None:
        assert self.node is not None
        await self.node.subscribe(topic, self)

    let_in = subscribe

    async def unsubscribe(self, topic: str) -> None:
        assert self.node is not None
        await self.node.unsubscribe(topic, self)

    async def revalidate(self, *, ended_session: str | None) -> None:
        self.sessions.append(ended_session)

    def check(self, *, now: float) -> None:
        """Have no deadlines."""


async def eventually(condition: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + TIMEOUT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "gave up waiting"
        await asyncio.sleep(0.01)


async def turns() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log out: with one, a node starts without its engine too."""
    monkeypatch.setattr(runtime, "installed_log", lambda: None)


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
async def start(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[[Engine], Awaitable[Runtime]]]:
    nodes: list[Runtime] = []

    async def start_one(engine: Engine) -> Runtime:
        node = Runtime(engine)
        nodes.append(node)
        monkeypatch.setitem(runtime._runtimes, node.loop, node)
        await node.start()
        return node

    yield start_one
    for node in nodes:
        await node.stop()


# -- which engine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        (None, {}, MemoryEngine),
        (
            None,
            {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
            ChannelLayerEngine,
        ),
        ("memory", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, MemoryEngine),
        (
            "channel_layer",
            {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
            ChannelLayerEngine,
        ),
    ],
)
def test_the_settings_name_the_engine(
    settings: Any, name: str | None, layers: object, expected: type[Engine]
) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.CHANNEL_LAYERS = name, layers
    assert type(build_engine()) is expected


@pytest.mark.parametrize(
    ("name", "text"), [("carrier_pigeon", "can be one of"), ("channel_layer", "names no default")]
)
def test_an_engine_that_cannot_be_built_says_why(settings: Any, name: str, text: str) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.CHANNEL_LAYERS = name, {}
    with pytest.raises(ImproperlyConfigured, match=text):
        build_engine()


# -- start and stop --------------------------------------------------------------------------------------------------


async def test_many_connections_start_a_node_once(engine: RecordingEngine) -> None:
    node = Runtime(engine)
    await asyncio.gather(*(node.start() for _ in range(10)))
    assert engine.calls.count(("start",)) == 1
    assert engine.calls.count(("subscribe", CONTROL_TOPIC)) == 1
    await node.stop()


@pytest.mark.parametrize("failure", [EngineUnavailable, RuntimeError])
async def test_a_start_that_failed_is_tried_again_from_where_it_was(
    engine: RecordingEngine, failure: type[Exception]
) -> None:
    engine.broken, engine.failure = {CONTROL_TOPIC}, failure
    node = Runtime(engine)
    results = await asyncio.gather(*(node.start() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [failure] * 3
    assert not node.started
    engine.broken = set()
    await asyncio.gather(*(node.start() for _ in range(3)))
    assert node.started
    assert engine.calls.count(("start",)) == 1
    await node.stop()


async def test_one_who_was_told_late_of_a_failure_does_not_undo_the_next_start(
    engine: RecordingEngine,
) -> None:
    node, gate = Runtime(engine), asyncio.Event()
    engine.broken, engine.gates = {CONTROL_TOPIC}, {CONTROL_TOPIC: gate}

    async def start_twice() -> None:
        try:
            await node.start()
        except EngineUnavailable:
            engine.broken = set()
            await node.start()

    eager, late = asyncio.create_task(start_twice()), asyncio.create_task(node.start())
    await turns()
    gate.set()
    await asyncio.wait({eager, late})
    assert isinstance(late.exception(), EngineUnavailable)
    assert node.started
    assert engine.calls.count(("subscribe", CONTROL_TOPIC)) == 2
    await node.stop()


async def test_a_node_that_stops_first_sends_what_it_has(engine: RecordingEngine) -> None:
    node = Runtime(engine)
    await node.start()
    for number in range(3):
        node.hand_over("user.7", str(number))
    await node.stop()
    assert [call[2] for call in engine.calls if call[:2] == ("publish", "user.7")] == list("012")
    assert "presence.snapshot" in engine.calls[-2][2]
    assert engine.calls[-1] == ("stop",)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("djwsbridge")]


async def test_a_node_that_was_never_started_stops_without_a_word(engine: RecordingEngine) -> None:
    await Runtime(engine).stop()
    assert engine.calls == []


# -- subscriptions ---------------------------------------------------------------------------------------------------


async def test_the_engine_is_told_of_the_first_and_the_last(engine: RecordingEngine) -> None:
    node, one, two = Runtime(engine), Reader(), Reader()
    await node.subscribe("room.1", one)
    await node.subscribe("room.1", two)
    await node.unsubscribe("room.1", one)
    assert engine.calls == [("subscribe", "room.1")]
    await node.unsubscribe("room.1", two)
    assert engine.calls == [("subscribe", "room.1"), ("unsubscribe", "room.1")]
    assert node.subscriptions._links == {}


async def test_a_push_that_no_server_may_be_able_to_send_is_dropped_and_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a push comes from `group_send`, or from a log that an older version has written."""
    monkeypatch.setattr(durable, "_installed", [])
    node, reader = Runtime(MemoryEngine(MemoryBus())), Reader()
    await node.start()
    await node.subscribe("user.7", reader)
    largest = encode_push("signal", topic="user.7", data={"blob": "é" * 131_000})
    too_large = encode_push("signal", topic="user.7", data={"blob": "é" * 131_600})
    for text in (too_large, largest):
        await node.publish("user.7", text)
    await turns()
    assert reader.got == [largest]
    assert "A push on user.7 was dropped" in caplog.text
    await node.stop()


async def test_whoever_comes_while_the_first_is_waiting_waits_too(engine: RecordingEngine) -> None:
    node, gate = Runtime(engine), asyncio.Event()
    engine.gates["room.1"] = gate
    tasks = [asyncio.create_task(node.subscribe("room.1", Reader())) for _ in range(5)]
    await turns()
    assert not any(task.done() for task in tasks)
    gate.set()
    await asyncio.gather(*tasks)
    assert engine.calls == [("subscribe", "room.1")]


async def test_comings_and_goings_in_any_order_end_as_the_hub_says(
    engine: RecordingEngine,
) -> None:
    node, readers = Runtime(engine), [Reader() for _ in range(6)]
    for step in range(30):
        engine.gates["room.1"] = asyncio.Event()
        tasks = []
        for number, reader in enumerate(readers):
            change = node.subscribe if (step + number) % 3 else node.unsubscribe
            tasks.append(asyncio.create_task(change("room.1", reader)))
            await turns()
        engine.gates["room.1"].set()
        await asyncio.gather(*tasks)
        assert ("room.1" in engine.joined) == ("room.1" in node.hub)
    engine.gates.clear()
    for reader in readers:
        await node.unsubscribe("room.1", reader)
    assert node.subscriptions._links == {}
    assert engine.joined == set()


async def test_a_subscription_that_failed_leaves_nothing(engine: RecordingEngine) -> None:
    node, reader = Runtime(engine), Reader()
    engine.broken = {"room.1"}
    with pytest.raises(EngineUnavailable):
        await node.subscribe("room.1", reader)
    assert "room.1" not in node.hub
    assert node.subscriptions._links == {}
    engine.broken = set()
    await node.subscribe("room.1", reader)
    assert engine.joined == {"room.1"}


async def test_of_many_subscriptions_all_are_made_or_none(engine: RecordingEngine) -> None:
    node, reader = Runtime(engine), Reader()
    engine.broken = {"room.3"}
    with pytest.raises(EngineUnavailable):
        await node.subscribe_all((f"room.{number}" for number in range(5)), reader)
    await eventually(lambda: not engine.joined and not node.subscriptions._links)
    assert not node.hub.topics()
    engine.broken = set()
    await node.subscribe_all((f"room.{number}" for number in range(5)), reader)
    assert len(node.hub.topics()) == len(engine.joined) == 5


async def test_a_connection_that_is_lost_while_it_subscribes_leaves_nothing(
    engine: RecordingEngine,
) -> None:
    node, reader = Runtime(engine), Reader()
    engine.gates["room.3"] = asyncio.Event()
    task = asyncio.create_task(node.subscribe_all([f"room.{n}" for n in range(5)], reader))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    engine.gates["room.3"].set()
    await eventually(lambda: not engine.joined and not node.subscriptions._links)
    assert not node.hub.topics()


async def test_to_leave_does_not_fail_with_the_engine(engine: RecordingEngine) -> None:
    node, reader = Runtime(engine), Reader()
    await node.subscribe("room.1", reader)
    engine.broken = {"room.1"}
    await node.unsubscribe("room.1", reader)
    assert "room.1" not in node.hub


# -- the outbox ------------------------------------------------------------------------------------------------------


async def test_pushes_leave_in_order_and_one_that_is_waited_for_takes_its_turn(
    engine: RecordingEngine, start: Callable[[Engine], Awaitable[Runtime]]
) -> None:
    node = await start(engine)
    node.hand_over("user.7", "1")
    await node.publish("user.7", "2")
    node.hand_over("user.7", "3")
    await node.publish("user.7", "4")
    assert [call[2] for call in engine.calls if call[:2] == ("publish", "user.7")] == list("1234")


async def test_a_push_that_is_waited_for_fails_at_its_sender_and_others_only_in_the_log(
    engine: RecordingEngine,
    start: Callable[[Engine], Awaitable[Runtime]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = await start(engine)
    engine.broken = {"user.7"}
    node.hand_over("user.7", "1")
    with pytest.raises(EngineUnavailable):
        await node.publish("user.7", "2")
    assert "user.7" in caplog.text
    engine.broken = set()
    await node.publish("user.7", "3")


async def test_beyond_its_bound_the_newest_are_dropped_and_logged(
    engine: RecordingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(engine, capacity=3)
    for number in range(5):
        outbox.put("user.7", str(number))
    assert caplog.text.count("was dropped") == 2
    task = asyncio.create_task(outbox.run())
    await outbox.finish(TIMEOUT)
    task.cancel()
    assert [call[2] for call in engine.calls] == list("012")


class WillingEngine(RecordingEngine):
    """Takes pushes at once, as long as it is willing."""

    is_willing = True

    def offer(self, topic: str, text: str) -> bool:
        if self.is_willing:
            self.calls.append(("offer", topic, text))
        return self.is_willing


async def test_what_the_engine_takes_at_once_does_not_wait_and_overtakes_nothing() -> None:
    engine = WillingEngine()
    outbox = Outbox(engine)
    outbox.put_all([("user.7", "1"), ("user.7", "2")])
    assert engine.calls == [("offer", "user.7", "1"), ("offer", "user.7", "2")]
    engine.is_willing = False
    outbox.put("user.7", "3")
    engine.is_willing = True
    outbox.put("user.7", "4")  # behind the one that waits
    engine.gates["user.7"] = asyncio.Event()
    run = asyncio.create_task(outbox.run())
    await turns()
    outbox.put("user.7", "5")  # behind those that are being taken
    engine.gates.pop("user.7").set()
    await outbox.finish(TIMEOUT)
    run.cancel()
    outbox.put("user.7", "6")
    assert [call[2] for call in engine.calls] == list("123456")
    assert engine.calls[-1] == ("offer", "user.7", "6")


async def test_what_waits_is_given_to_the_engine_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups: list[int] = []

    class GroupingEngine(RecordingEngine):
        async def publish_all(self, pushes: Any) -> Any:
            groups.append(len(pushes))
            return await super().publish_all(pushes)

    engine, refused = GroupingEngine(), []
    engine.broken = {"user.8"}
    outbox = Outbox(engine, on_refused=lambda topic, text: refused.append((topic, text)))
    outbox.put_all([("user.7", "1"), ("user.8", "2"), ("user.8", "3")])
    waiting = asyncio.create_task(outbox.deliver("user.7", "4"))
    await asyncio.sleep(0)
    run = asyncio.create_task(outbox.run())
    await waiting
    await outbox.finish(TIMEOUT)
    run.cancel()
    assert groups == [4]
    assert refused == [("user.8", "2"), ("user.8", "3")]
    assert "did not take 2 pushes" in caplog.text


async def test_an_engine_that_fails_as_nobody_foresaw_is_given_the_next_push(
    engine: RecordingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    def on_refused(topic: str, text: str) -> None:
        refused.append(text)
        raise ValueError("Not even here it can be delivered.")

    outbox = Outbox(engine, on_refused=on_refused)
    run = asyncio.create_task(outbox.run())
    engine.broken, engine.failure = {"user.7"}, RuntimeError
    outbox.put("user.7", "1")
    with pytest.raises(EngineUnavailable, match="RuntimeError"):
        await asyncio.wait_for(outbox.deliver("user.7", "2"), TIMEOUT)
    assert refused == ["1", "2"]
    assert "RuntimeError: broken" in caplog.text  # with its traceback
    engine.broken = set()
    await asyncio.wait_for(outbox.deliver("user.7", "3"), TIMEOUT)
    run.cancel()


async def test_a_thread_hands_over_many_pushes_in_order(
    engine: RecordingEngine, start: Callable[[Engine], Awaitable[Runtime]]
) -> None:
    await start(engine)
    pushes = [("user.7", str(number)) for number in range(100)]
    await asyncio.to_thread(runtime.hand_over_all, pushes)
    await eventually(lambda: ("publish", "user.7", "99") in engine.calls)
    assert [call[1:] for call in engine.calls if call[:2] == ("publish", "user.7")] == pushes


async def node_without_server() -> Runtime:
    async def itself(node: Runtime) -> Runtime:
        return node

    return await asyncio.to_thread(runtime.run_on_node, itself)


async def test_a_process_that_does_not_serve_waits_once_for_many_pushes(
    engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(await node_without_server(), "engine", engine)
    waits: list[object] = []
    wait = runtime.run_on_node
    monkeypatch.setattr(runtime, "run_on_node", lambda call: waits.append(call) or wait(call))
    pushes = [("user.7", str(number)) for number in range(AT_ONCE + 1)]
    await asyncio.to_thread(runtime.hand_over_all, pushes)
    assert [call[1:] for call in engine.calls] == pushes
    assert len(waits) == 2


async def test_in_a_process_that_does_not_serve_one_refused_push_is_told_and_the_others_leave(
    engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(await node_without_server(), "engine", engine)
    engine.broken = {"user.7"}
    with pytest.raises(EngineUnavailable, match="broken"):
        await asyncio.to_thread(runtime.hand_over_all, [("user.7", "1"), ("user.8", "2")])
    assert engine.calls[-1] == ("publish", "user.8", "2")


async def test_a_sender_who_gave_up_stops_nobody(engine: RecordingEngine) -> None:
    outbox = Outbox(engine)
    engine.gates["user.7"] = asyncio.Event()
    run = asyncio.create_task(outbox.run())
    for broken in (False, True):
        engine.broken = {"user.7"} if broken else set()
        sender = asyncio.create_task(outbox.deliver("user.7", "1"))
        await turns()
        sender.cancel()
    engine.gates["user.7"].set()
    outbox.put("user.8", "2")
    await outbox.finish(TIMEOUT)
    run.cancel()
    assert engine.calls[-1] == ("publish", "user.8", "2")


async def test_an_engine_that_hangs_does_not_hold_the_end_for_ever(engine: RecordingEngine) -> None:
    outbox = Outbox(engine)
    engine.gates["user.7"] = asyncio.Event()
    run = asyncio.create_task(outbox.run())
    outbox.put("user.7", "1")
    await outbox.finish(0.01)
    run.cancel()


# -- what nodes tell each other --------------------------------------------------------------------------------------


async def test_access_that_is_lost_ends_on_every_node_at_once(
    start: Callable[[Engine], Awaitable[Runtime]],
) -> None:
    bus = MemoryBus()
    nodes = [await start(MemoryEngine(bus)) for _ in range(2)]
    readers = [Reader(node) for node in nodes]
    for reader in readers:
        await reader.subscribe("user.7")
    publish.subscribe_user(7, "room.1")
    await eventually(lambda: all("room.1" in node.hub for node in nodes))
    publish.publish("room.1", "note", {"n": 1})
    await eventually(lambda: all(reader.got for reader in readers))
    publish.unsubscribe_user(7, "room.1")
    publish.publish("room.1", "note", {"n": 2})
    publish.publish("user.7", "note", {"n": 3})
    await eventually(lambda: all(len(reader.got) > 1 for reader in readers))
    for reader in readers:
        assert [json.loads(text)["data"]["n"] for text in reader.got] == [1, 3]


async def test_a_changed_user_is_looked_at_again_everywhere(
    start: Callable[[Engine], Awaitable[Runtime]],
) -> None:
    bus = MemoryBus()
    nodes = [await start(MemoryEngine(bus)) for _ in range(2)]
    readers = [Reader(node) for node in nodes]
    for reader in readers:
        await reader.subscribe("user.7")
    publish.user_changed(7, session="digest")
    publish.user_changed(8)
    await eventually(lambda: all(reader.sessions for reader in readers))
    assert [reader.sessions for reader in readers] == [["digest"], ["digest"]]


async def test_a_person_who_comes_is_shown_on_the_other_node(
    start: Callable[[Engine], Awaitable[Runtime]],
) -> None:
    bus = MemoryBus()
    one, two = [await start(MemoryEngine(bus)) for _ in range(2)]
    reader, alice = Reader(two), Person(1, "alice")
    await two.subscribe("room.1", reader)
    one.presence.acquire("room.1", alice)
    await eventually(lambda: reader.got)
    one.presence.release("room.1", alice)
    await eventually(lambda: len(reader.got) == 2)
    assert [json.loads(text) for text in reader.got] == [
        json.loads(
            encode_push(
                "presence.changed",
                topic="room.1",
                data={"user": {"id": 1, "name": "alice"}, "state": state},
            )
        )
        for state in ("online", "offline")
    ]


async def test_a_new_node_learns_who_is_there_and_a_stopped_one_takes_its_people_along(
    start: Callable[[Engine], Awaitable[Runtime]],
) -> None:
    bus, alice = MemoryBus(), Person(1, "alice")
    one = await start(MemoryEngine(bus))
    one.presence.acquire("room.1", alice)
    two = await start(MemoryEngine(bus))
    await eventually(lambda: two.presence.online("room.1") == [alice])
    await one.stop()
    await eventually(lambda: two.presence.online("room.1") == [])


async def test_what_a_node_of_another_version_says_is_logged_and_left(
    start: Callable[[Engine], Awaitable[Runtime]], caplog: pytest.LogCaptureFixture
) -> None:
    node, reader = await start(MemoryEngine(MemoryBus())), Reader()
    await node.subscribe("user.7", reader)
    with caplog.at_level(logging.WARNING):
        await node.publish(CONTROL_TOPIC, '{"type": "of tomorrow"}')
        await node.publish(CONTROL_TOPIC, "not even JSON")
        await node.publish("user.7", encode_push("signal", topic="user.7", data={}))
        await eventually(lambda: reader.got)
    assert caplog.text.count("of another version") == 2


async def test_a_thread_runs_something_on_the_node_that_serves(settings: Any) -> None:
    settings.DJWSBRIDGE_ENGINE = "memory"

    async def name(node: Runtime) -> str:
        return node.node

    alone = await asyncio.to_thread(runtime.run_on_node, name)
    node = runtime.current()
    await node.start()
    try:
        assert await asyncio.to_thread(runtime.run_on_node, name) == node.node
        assert alone != node.node
    finally:
        await node.stop()


async def test_a_thread_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "HAND_OVER_TIMEOUT", 0.0)

    async def hang(_: Runtime) -> None:
        await asyncio.Event().wait()

    with pytest.raises(EngineUnavailable):
        await asyncio.to_thread(runtime.run_on_node, hang)


async def test_who_came_and_went_at_once_is_not_told_and_who_stays_is_told_once() -> None:
    node = Runtime(MemoryEngine(MemoryBus()))
    reader = Reader()
    node.hub.add("room.1", reader)
    ann, ben = Person(1, "ann"), Person(2, "ben")
    node.announce([Change("room.1", ann, online=True), Change("room.1", ben, online=True)])
    node.announce([Change("room.1", ann, online=False), Change("room.1", ben, online=True)])
    node._tell_news()
    node._tell_news()
    [text] = reader.got
    assert json.loads(text)["data"] == {"user": {"id": 2, "name": "ben"}, "state": "online"}
