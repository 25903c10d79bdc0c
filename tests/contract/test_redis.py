"""What only the Redis engine promises."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from redis.asyncio import Redis

from djwsbridge import runtime
from djwsbridge.engine import redis_link
from djwsbridge.engine.factory import build_engine
from djwsbridge.engine.redis import RedisEngine
from djwsbridge.engine.sealed import SealedEngine
from djwsbridge.protocol.errors import EngineUnavailable
from tests.contract.conftest import CLUSTER, make_kind, tracked
from tests.contract.rig import Node, eventually
from tests.contract.test_engine import Reader
from tests.redis_rig import bring_back
from tests.servers import TIMEOUT, RedisServer, free_port


async def test_two_sites_on_one_redis_hear_and_count_apart(
    broken_redis: RedisServer, settings: Any
) -> None:
    def build(prefix: str) -> Node:
        settings.DJWSBRIDGE_ENGINE = "redis"
        settings.DJWSBRIDGE_REDIS_URL = broken_redis.url
        settings.DJWSBRIDGE_REDIS_PREFIX = prefix
        engine = build_engine()
        assert isinstance(engine, SealedEngine)
        tracked(engine.engine)
        return Node(engine)

    one, other, twin = build("one:"), build("other:"), build("one:")
    for node in (one, other, twin):
        await node.engine.start(node.deliver)
        await node.engine.subscribe("room.1")
    await one.engine.publish("room.1", '{"from":"one"}')
    await other.engine.publish("room.1", '{"from":"other"}')
    for node, site in ((one, "one"), (other, "other"), (twin, "one")):
        await node.assert_delivered(("room.1", f'{{"from":"{site}"}}'))
        await node.settle(node.engine)
    counted = [await node.engine.count("sends:7", seconds=60.0) for node in (one, other, twin)]
    assert counted == [1, 1, 2]


# -- a cluster that cannot be reached ----------------------------------------------------------------------------------


async def test_without_any_server_of_its_cluster_an_engine_says_so() -> None:
    engine = tracked(RedisEngine(f"redis+cluster://127.0.0.1:{free_port()}"))
    await engine.start(lambda _topic, _text: None)
    assert await engine.count("sends:7", seconds=60.0) is None
    with pytest.raises(EngineUnavailable):
        await engine.publish("room.1", "a")
    refused = await engine.publish_all([("room.1", "a"), ("room.2", "b")])
    assert [type(error) for error in refused] == [EngineUnavailable] * 2
    with pytest.raises(EngineUnavailable):
        await engine.subscribe("room.1")
    await engine.unsubscribe("room.1")


async def test_a_node_outlives_its_cluster(
    cluster: list[RedisServer], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be down when the node starts, and later; no restart of the node is needed."""
    monkeypatch.setattr(runtime, "installed_log", lambda: None)  # which would stand in for it
    node, reader = runtime.Runtime(make_kind(CLUSTER, request).build()), Reader()

    def kill_all() -> None:
        for server in cluster:
            server.kill()

    kill_all()
    try:
        with pytest.raises(EngineUnavailable):
            await node.start()
        assert not node.started
    finally:
        await asyncio.to_thread(bring_back, cluster)
    await node.start()
    await node.subscribe("room.1", reader)
    kill_all()
    try:
        node.hand_over("room.1", "lost")
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(node.publish("room.1", "refused"), TIMEOUT)
    finally:
        await asyncio.to_thread(bring_back, cluster)
    deadline = node.loop.time() + TIMEOUT
    while not reader.got:
        assert node.loop.time() < deadline, "nothing gets through"
        with contextlib.suppress(EngineUnavailable):
            await asyncio.wait_for(node.publish("room.1", "after"), TIMEOUT)
        await asyncio.sleep(0.1)
    await node.stop()
    assert set(reader.got) == {"after"}


# -- a link that breaks ------------------------------------------------------------------------------------------------


async def test_a_message_that_is_no_text_is_logged_and_skipped(
    broken_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tracked(RedisEngine(broken_redis.url)))
    await node.engine.start(node.deliver)
    await node.engine.subscribe("room.1")
    async with Redis(port=broken_redis.port) as client:
        await client.publish("djwsbridge:room.1", b"\xff\xfe")
    await node.engine.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))
    await node.engine.subscribe("room.2")
    assert "UnicodeDecodeError" in caplog.text
    assert "is down" not in caplog.text


async def test_a_link_that_breaks_as_nobody_foresaw_is_made_again(
    broken_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Here redis-py decodes, and raises what is no error of Redis and none of the network."""
    back = asyncio.Event()
    node = Node(tracked(RedisEngine(f"{broken_redis.url}?decode_responses=true")))
    await node.engine.start(node.deliver, back.set)
    await node.engine.subscribe("room.1")
    async with Redis(port=broken_redis.port) as client:
        await client.publish("djwsbridge:room.1", b"\xff\xfe")
    await asyncio.wait_for(back.wait(), TIMEOUT)
    await node.engine.subscribe("room.1")
    await node.engine.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))
    assert "UnicodeDecodeError" in caplog.text


async def test_a_node_that_fails_to_look_for_what_was_lost_keeps_its_link(
    broken_redis: RedisServer,
) -> None:
    told: list[None] = []

    def on_back() -> None:
        told.append(None)
        raise ValueError("It cannot be found out.")

    node = Node(tracked(RedisEngine(broken_redis.url)))
    await node.engine.start(node.deliver, on_back)
    await node.engine.subscribe("room.1")
    async with Redis(port=broken_redis.port) as client:
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: told)
    await node.engine.subscribe("room.1")
    await node.engine.publish("room.1", "a")
    await node.assert_delivered(("room.1", "a"))
    assert len(told) == 1


async def test_a_link_is_tried_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a thousand tries, a quarter of an hour, the pause between them must not have outgrown all numbers."""
    monkeypatch.setattr(redis_link, "RETRY_DELAYS", (0.0, 0.0))
    asyncio.get_running_loop().set_debug(False)  # which makes every try slow
    tries = 0

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = tracked(RedisEngine(f"redis://127.0.0.1:{port}"))
        await engine.start(lambda _topic, _text: None)
        with pytest.raises(EngineUnavailable):
            await engine.subscribe("room.1")
        await eventually(lambda: tries > 1_100)
        await engine.stop()
