"""What every engine promises (`djwsbridge.engine.base`), on each implementation."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from djwsbridge import runtime
from djwsbridge.engine.channel_layer import ChannelLayerEngine, raise_capacity
from djwsbridge.protocol.codec import Codec
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.utils import send_ws_message
from tests.contract.conftest import BACKENDS, Kind
from tests.contract.rig import Node, eventually, run_python
from tests.servers import TIMEOUT

StartNode = Callable[[Kind], Awaitable[Node]]


class Reader:
    """A subscriber that keeps what it gets."""

    dialect = Codec([Heartbeat])
    write = None

    def __init__(self) -> None:
        self.got: list[str] = []

    def push(self, text: str) -> None:
        self.got.append(text)


def ours() -> list[asyncio.Task[object]]:
    """Return what still runs for an engine."""
    return [
        task
        for task in asyncio.all_tasks()
        if task.get_name().startswith("djwsbridge") and not task.done()
    ]


# -- all engines -----------------------------------------------------------------------------------------------------


async def test_a_push_is_delivered_once_and_in_order(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    await node.engine.subscribe("room.1")
    for number in range(50):
        await publisher.publish("room.1", str(number))
    await node.assert_delivered(*(("room.1", str(number)) for number in range(50)))
    await node.settle(publisher)
    assert len(node.got) == 50


async def test_pushes_that_are_published_together_keep_their_order(
    kind: Kind, start_node: StartNode
) -> None:
    node, publisher = await start_node(kind), kind.build()
    pushes = [(f"room.{number % 3}", str(number)) for number in range(150)]
    for topic in ("room.0", "room.1", "room.2"):
        await node.engine.subscribe(topic)
    assert await publisher.publish_all(pushes[:1]) == [None]
    assert await publisher.publish_all(pushes[1:]) == [None] * 149
    await node.wait_for(150)
    await node.settle(publisher)
    for number in range(3):
        assert node.texts(f"room.{number}") == [str(n) for n in range(number, 150, 3)]


async def test_what_an_engine_takes_at_once_is_delivered_like_the_rest(
    kind: Kind, start_node: StartNode
) -> None:
    """Never within the call that offers it: who publishes is not to be interrupted by a delivery."""
    node = await start_node(kind)
    await node.engine.subscribe("room.1")
    for number in range(50):
        before = len(node.got)
        if number % 2 or not node.engine.offer("room.1", str(number)):
            await node.engine.publish("room.1", str(number))
        elif number == 0:
            assert len(node.got) == before
    await node.assert_delivered(*(("room.1", str(number)) for number in range(50)))


async def test_a_node_hears_itself(kind: Kind, start_node: StartNode) -> None:
    node = await start_node(kind)
    await node.engine.subscribe("room.1")
    await node.engine.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))


async def test_topics_are_kept_apart(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    await node.engine.subscribe("room.1")
    await publisher.publish("room.2", "b")
    await publisher.publish("room.11", "c")
    await publisher.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))


async def test_after_unsubscribe_nothing_is_delivered(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    for topic in ("room.1", "user.7"):
        await node.engine.subscribe(topic)
        await node.engine.unsubscribe(topic)
        await publisher.publish(topic, "a")
    await node.settle(publisher)
    assert node.got == []


async def test_subscribed_twice_is_once(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    for topic in ("user.7", "room.1"):
        await node.engine.subscribe(topic)
        await node.engine.subscribe(topic)
        await publisher.publish(topic, "a")
    await node.settle(publisher)
    assert sorted(node.got) == [("room.1", "a"), ("user.7", "a")]
    await node.engine.unsubscribe("user.7")
    await publisher.publish("user.7", "b")
    await node.settle(publisher)
    assert ("user.7", "b") not in node.got


async def test_subscribed_again_is_subscribed(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    for _ in range(2):
        await node.engine.subscribe("user.7")
        await node.engine.unsubscribe("user.7")
    await node.engine.subscribe("user.7")
    await publisher.publish("user.7", "a")
    await node.assert_delivered(("user.7", "a"))


async def test_unsubscribe_without_subscription_is_harmless(
    kind: Kind, start_node: StartNode
) -> None:
    node = await start_node(kind)
    await node.engine.unsubscribe("room.1")
    await node.engine.unsubscribe("user.7")


async def test_a_push_without_listeners_is_no_error(kind: Kind) -> None:
    await kind.build().publish("room.1", "a")


async def test_an_engine_publishes_before_it_is_started(kind: Kind, start_node: StartNode) -> None:
    node, publisher = await start_node(kind), kind.build()
    await node.engine.subscribe("room.1")
    await publisher.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))


async def test_every_subscribed_node_gets_a_push(kind: Kind, start_node: StartNode) -> None:
    one, two, idle = [await start_node(kind) for _ in range(3)]
    for node in (one, two):
        await node.engine.subscribe("user.7")
    await one.engine.publish("user.7", "a")
    await two.engine.publish("user.7", "b")
    for node in (one, two):
        await node.wait_for(2)
        assert sorted(node.got) == [("user.7", "a"), ("user.7", "b")]
    await idle.settle(one.engine)
    assert idle.got == []


async def test_one_node_stops_and_the_other_goes_on(kind: Kind, start_node: StartNode) -> None:
    one, two = Node(kind.build()), await start_node(kind)
    await one.engine.start(one.deliver)
    for node in (one, two):
        await node.engine.subscribe("user.7")
    await one.engine.stop()
    await two.engine.publish("user.7", "a")
    await two.assert_delivered(("user.7", "a"))
    assert one.got == []


async def test_stop_leaves_nothing_behind(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(kind.build())
    with caplog.at_level(logging.WARNING):
        await node.engine.start(node.deliver)
        for topic in ("room.1", "user.7", "user.8"):
            await node.engine.subscribe(topic)
        await node.engine.unsubscribe("user.8")
        await node.engine.stop()
    assert ours() == []
    # A busy machine lets asyncio complain of slow steps; that is not the engine's doing.
    assert [record for record in caplog.records if record.name != "asyncio"] == []


async def test_large_pushes_of_any_script_arrive_as_they_are(
    kind: Kind, start_node: StartNode
) -> None:
    node, publisher = await start_node(kind), kind.build()
    await node.engine.subscribe("room.1")
    text = json.dumps({"body": "\u0436\U0001f600\u0645" * 10_000}, ensure_ascii=False)
    await publisher.publish("room.1", text)
    await node.assert_delivered(("room.1", text))


async def test_a_push_whose_delivery_fails_does_not_make_a_node_deaf(
    kind: Kind, start_node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    node, publisher = await start_node(kind), kind.build()
    node.broken = {"bad"}
    for topic in ("room.1", "user.7"):
        await node.engine.subscribe(topic)
        await publisher.publish(topic, "bad")
        await publisher.publish(topic, "good")
    await node.settle(publisher)
    assert sorted(node.got) == [("room.1", "good"), ("user.7", "good")]
    assert "ValueError: This one cannot be delivered." in caplog.text


# -- channel layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["send_message", "send.message"])
async def test_an_event_of_the_seed_arrives_as_a_signal(
    layered: Kind, start_node: StartNode, type_: str
) -> None:
    assert layered.layer is not None
    node, layer = await start_node(layered), layered.layer()
    await node.engine.subscribe("user.7")
    await node.engine.subscribe("user.8")
    data = {"type": "note", "n": [1, None, {"x": "\u00e9"}]}
    await layer.group_send("user_7", {"type": type_, "data": data})
    await node.wait_for(1)
    ((topic, text),) = node.got
    assert topic == "user.7"
    assert json.loads(text) == {"push": "signal", "topic": "user.7", "data": data}


async def test_events_that_are_none_of_ours_are_ignored(
    layered: Kind, start_node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    assert layered.layer is not None
    node, layer = await start_node(layered), layered.layer()
    await node.engine.subscribe("user.7")
    for event in (
        {"type": "chat.message", "data": {}},
        {"type": "send_message"},
        {"type": "send_message", "data": [1]},
        {"type": "send_message", "data": {"x": b"bytes"}},
        {"type": "djwsbridge.push", "topic": "user.7", "text": "forged"},
    ):
        await layer.group_send("user_7", event)
    await layer.group_send("user_7", {"type": "send_message", "data": {"last": 1}})
    await node.wait_for(1)
    assert [json.loads(text)["data"] for _, text in node.got] == [{"last": 1}]
    warnings = [(record.name, record.levelno) for record in caplog.records]
    # None of them was taken for a failure of the layer: that would be a sixth.
    assert warnings.count(("djwsbridge.engine", logging.WARNING)) == 5


async def test_an_event_that_nobody_foresaw_does_not_make_a_node_deaf(
    layered: Kind, start_node: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    assert layered.layer is not None
    node, layer = await start_node(layered), layered.layer()
    await node.engine.subscribe("user.7")
    await layer.group_send("user_7", {"type": ["send_message"], "data": {}})
    await layer.group_send("user_7", {"type": "send_message", "data": {"last": 1}})
    await node.wait_for(1)
    assert [json.loads(text)["data"] for _, text in node.got] == [{"last": 1}]
    assert "unhashable" in caplog.text


async def test_a_node_that_fails_to_look_for_what_was_lost_goes_on(
    layered: Kind, quick_echo: None
) -> None:
    """The engine tells it to when its link has come back; it must not lose the link by that."""
    node, told = Node(layered.build()), []

    def on_back() -> None:
        told.append(None)
        raise ValueError("It cannot be found out.")

    await node.engine.start(node.deliver, on_back)
    await node.engine.subscribe("user.7")
    assert isinstance(node.engine, ChannelLayerEngine)
    await node.engine._after_failure(ConnectionError("as a layer that was restarted raises it"))
    assert told
    await node.engine.publish("user.7", "a")
    await node.assert_delivered(("user.7", "a"))
    await node.engine.stop()


async def test_a_user_without_a_connection_here_is_in_no_group_of_the_seed(
    layered: Kind, start_node: StartNode
) -> None:
    assert layered.layer is not None
    node, layer = await start_node(layered), layered.layer()
    await node.engine.subscribe("user.7")
    await node.engine.unsubscribe("user.7")
    await layer.group_send("user_7", {"type": "send_message", "data": {}})
    await node.settle(node.engine)
    assert node.got == []


async def test_a_node_is_in_a_group_once_however_many_connections_listen(
    layered: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert layered.layer is not None
    # With a log to stand in for it, an engine that is slow to answer is tried once more.
    monkeypatch.setattr(runtime, "installed_log", lambda: None)
    engine = layered.build()
    assert isinstance(engine, ChannelLayerEngine)
    joined: list[tuple[str, str]] = []
    layer = engine._layer
    add = layer.group_add

    async def group_add(group: str, channel: str) -> None:
        joined.append((group, channel))
        await add(group, channel)

    layer.group_add = group_add  # type: ignore[method-assign]
    node = runtime.Runtime(engine)
    await node.start()
    await asyncio.gather(*(node.subscribe("user.7", Reader()) for _ in range(100)))
    groups = [group for group, _ in joined]
    await node.stop()
    layer.group_add = add  # type: ignore[method-assign]
    assert groups.count("djwsbridge.user.7") == groups.count("user_7") == 1
    assert len({channel for group, channel in joined if not group.startswith("user_")}) == 1
    assert ours() == []


async def test_two_nodes_on_one_layer_do_not_take_each_others_pushes(
    layered: Kind, start_node: StartNode
) -> None:
    assert layered.layer is not None
    layer = layered.layer()
    shared = Kind(layered.name, lambda: ChannelLayerEngine(layer), lambda: layer)
    one, two = await start_node(shared), await start_node(shared)
    for node in (one, two):
        await node.engine.subscribe("user.7")
    for number in range(10):
        await one.engine.publish("user.7", str(number))
    for node in (one, two):
        await node.assert_delivered(*(("user.7", str(number)) for number in range(10)))


async def test_the_capacity_of_our_channels_is_raised_once_and_others_keep_theirs(
    layered: Kind,
) -> None:
    assert layered.layer is not None
    layer = layered.layer()
    for _ in range(3):
        raise_capacity(layer)
    if layered.name == "pubsub":
        return  # keeps every message
    assert layer.get_capacity("djwsbridge.inmemory!abc") == 100_000
    assert layer.get_capacity("specific.inmemory!abc") == 100
    assert len(layer.channel_capacity) == 1


# -- bursts from another process -------------------------------------------------------------------------------------

# Thirty times what a channel layer lets wait for one process, unless it is told otherwise.
BURST = 3_000
USERS = 100


@pytest.fixture
async def full_speed() -> None:
    """Leave asyncio's debug mode, which makes every step of thousands slow."""
    asyncio.get_running_loop().set_debug(False)


SETUP = """
import asyncio, django, json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "pusher_settings"
django.setup()
"""
PUSH = (
    SETUP
    + f"""
from djwsbridge.utils import send_ws_message
for number in range({BURST}):
    send_ws_message(7, {{"n": number}})
"""
)
RAW = (
    SETUP
    + f"""
from channels.layers import get_channel_layer
async def main():
    layer = get_channel_layer()
    for number in range({BURST // USERS}):
        await asyncio.gather(*(
            layer.group_send(f"user_{{user}}", {{"type": "send_message", "data": {{"n": number}}}})
            for user in range({USERS})
        ))
asyncio.run(main())
"""
)


def numbers(node: Node, topic: str) -> list[int]:
    return [json.loads(text)["data"]["n"] for text in node.texts(topic)]


def environment(kind: Kind) -> dict[str, str]:
    assert kind.redis is not None
    layer = {"LAYER": BACKENDS[kind.name]} if kind.name in BACKENDS else {}
    return {**layer, "REDIS": kind.redis.url}


@pytest.mark.usefixtures("full_speed")
async def test_a_burst_of_pushes_of_another_process_arrives_whole(
    networked: Kind, start_node: StartNode, pushing_project: Path
) -> None:
    node = await start_node(networked)
    await node.engine.subscribe("user.7")
    await run_python(PUSH, cwd=pushing_project, env=environment(networked))
    await node.wait_for(BURST)
    assert numbers(node, "user.7") == list(range(BURST))


@pytest.mark.usefixtures("full_speed")
async def test_a_burst_of_the_seeds_events_of_another_process_arrives_whole(
    layered_over_redis: Kind, start_node: StartNode, pushing_project: Path
) -> None:
    node = await start_node(layered_over_redis)
    for user in range(USERS):
        await node.engine.subscribe(f"user.{user}")
    await run_python(RAW, cwd=pushing_project, env=environment(layered_over_redis))
    await node.wait_for(BURST)
    for user in range(USERS):
        assert numbers(node, f"user.{user}") == list(range(BURST // USERS))


@pytest.mark.usefixtures("full_speed")
@pytest.mark.parametrize("name", ["memory", "inmemory"])
async def test_a_burst_of_another_thread_arrives_whole(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.contract.conftest import make_kind  # noqa: PLC0415

    reader = Reader()
    node = runtime.Runtime(make_kind(name, request).build())
    monkeypatch.setitem(runtime._runtimes, node.loop, node)
    await node.start()
    await node.subscribe("user.7", reader)

    def push() -> None:
        for number in range(BURST):
            send_ws_message(7, {"n": number})

    thread = threading.Thread(target=push)
    thread.start()
    await eventually(lambda: len(reader.got) >= BURST)
    thread.join()
    await node.stop()
    assert [json.loads(text)["data"]["n"] for text in reader.got] == list(range(BURST))


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine answer late; how long a sender waits for that is the business of another test."""
    monkeypatch.setattr("djwsbridge.engine.redis.COUNT_TIMEOUT", TIMEOUT)


@pytest.mark.usefixtures("_patient")
async def test_an_engine_that_counts_counts_over_all_nodes(kind: Kind) -> None:
    one, other = kind.build(), kind.build()
    counted = [await engine.count("sends:7", seconds=60.0) for engine in (one, other, one)]
    counts = kind.name in ("direct", "sentinel", "cluster")
    assert counted == ([1, 2, 3] if counts else [None, None, None])
    assert await one.count("sends:8", seconds=60.0) in (1, None)


@pytest.mark.usefixtures("_patient")
async def test_a_count_ends_with_its_window(request: pytest.FixtureRequest) -> None:
    from tests.contract.conftest import make_kind  # noqa: PLC0415

    engine = make_kind("direct", request).build()
    assert await engine.count("brief", seconds=1.0) == 1
    deadline = asyncio.get_running_loop().time() + 20.0
    while await engine.count("brief", seconds=1.0) != 1:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)


# -- when the server behind it fails ---------------------------------------------------------------------------------


async def resumed(node: Node, publisher: ChannelLayerEngine, topic: str) -> None:
    """Return when a push gets through again."""

    async def get_through() -> None:
        number = 0
        while not node.got:
            number += 1
            try:
                await publisher.publish(topic, str(number))
            except EngineUnavailable:
                continue
            finally:
                await asyncio.sleep(0.1)

    await asyncio.wait_for(get_through(), 20.0)


@pytest.mark.usefixtures("quick_echo")
async def test_after_a_restart_of_the_server_pushes_get_through_again(
    networked: Kind, start_node: StartNode
) -> None:
    assert networked.redis is not None
    node, publisher = await start_node(networked), networked.build()
    await node.engine.subscribe("user.7")
    await publisher.publish("user.7", "before")
    await node.wait_for(1)
    networked.redis.kill()
    node.got.clear()
    networked.redis.start()
    await resumed(node, publisher, "user.7")  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick_echo")
async def test_after_a_flush_of_the_server_pushes_get_through_again(
    layered_over_redis: Kind, start_node: StartNode
) -> None:
    assert layered_over_redis.layer is not None
    node, publisher = await start_node(layered_over_redis), layered_over_redis.build()
    layer = layered_over_redis.layer()
    await node.engine.subscribe("user.7")
    await flush(layered_over_redis)
    await resumed(node, publisher, "user.7")  # type: ignore[arg-type]
    node.got.clear()
    for _ in range(200):
        await layer.group_send("user_7", {"type": "send_message", "data": {"n": 1}})
        if any('"signal"' in text for text in node.texts("user.7")):
            break
        await asyncio.sleep(0.1)
    else:
        pytest.fail("the group of the seed was not joined again")


@pytest.mark.usefixtures("quick_echo")
async def test_a_node_whose_receiving_connection_was_killed_goes_on(
    networked: Kind, start_node: StartNode
) -> None:
    node, publisher = await start_node(networked), networked.build()
    await node.engine.subscribe("user.7")
    await command(networked, "CLIENT KILL TYPE pubsub SKIPME yes")
    await command(networked, "CLIENT KILL TYPE normal SKIPME yes")
    await resumed(node, publisher, "user.7")  # type: ignore[arg-type]


async def test_without_its_server_an_engine_says_so(networked: Kind, start_node: StartNode) -> None:
    assert networked.redis is not None
    node = await start_node(networked)
    await node.engine.subscribe("user.7")
    networked.redis.kill()
    try:
        with pytest.raises(EngineUnavailable):
            await networked.build().publish("user.7", "a")
        refused = await networked.build().publish_all([("user.7", "a"), ("user.8", "b")])
        assert [type(error) for error in refused] == [EngineUnavailable] * 2
        with pytest.raises(EngineUnavailable):
            await node.engine.subscribe("user.8")
        with pytest.raises(EngineUnavailable):
            await node.engine.unsubscribe("user.7")
        assert await node.engine.count("sends:7", seconds=60.0) is None
        await node.engine.stop()
        assert ours() == []
    finally:
        networked.redis.start()


async def flush(kind: Kind) -> None:
    await command(kind, "FLUSHALL")


async def command(kind: Kind, line: str) -> None:
    """Have the server do something."""
    assert kind.redis is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", kind.redis.port)
    writer.write(f"{line}\r\n".encode())
    await reader.readline()
    writer.close()
    await writer.wait_closed()
