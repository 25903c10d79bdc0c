"""What only the Redis engine promises."""

from __future__ import annotations

from typing import Any

from djwsbridge import runtime
from djwsbridge.engine.redis import RedisEngine
from tests.contract.conftest import tracked
from tests.contract.rig import Node
from tests.servers import RedisServer


async def test_two_sites_on_one_redis_hear_and_count_apart(
    broken_redis: RedisServer, settings: Any
) -> None:
    def build(prefix: str) -> Node:
        settings.DJWSBRIDGE_ENGINE = "redis"
        settings.DJWSBRIDGE_REDIS_URL = broken_redis.url
        settings.DJWSBRIDGE_REDIS_PREFIX = prefix
        engine = runtime.build_engine()
        assert isinstance(engine, RedisEngine)
        return Node(tracked(engine))

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
