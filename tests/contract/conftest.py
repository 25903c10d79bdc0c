"""The engines under test, each with what makes another node of the same site."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from djwsbridge.engine import channel_layer as module
from djwsbridge.engine import redis as redis_engine
from djwsbridge.engine.base import Engine
from djwsbridge.engine.channel_layer import ChannelLayerEngine
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.engine.redis import RedisEngine
from tests.contract.rig import Node
from tests.redis_rig import SentinelSite, redis_cluster, redis_with_sentinel
from tests.servers import TIMEOUT, RedisServer, redis_server

MEMORY = ("memory", "inmemory")
REDIS = ("redis", "pubsub")
DIRECT = "direct"
SENTINEL = "sentinel"
CLUSTER = "cluster"
BACKENDS = {
    "redis": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}


@dataclass(frozen=True)
class Kind:
    """One implementation, with its own place to meet.

    Attributes:
        name: one of `MEMORY` and `REDIS`, `DIRECT`, `SENTINEL` or `CLUSTER`.
        build: makes an engine as another process of the same site would.
        layer: makes a bare channel layer of the same site; None for an engine without one.
        redis: the server behind it, if any.
    """

    name: str
    build: Callable[[], Engine]
    layer: Callable[[], Any] | None = None
    redis: RedisServer | None = None


@pytest.fixture(scope="module")
def broken_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a private Redis that a module may break."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def sentinel_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSite]:
    """Run a private Redis with a replica and a sentinel that a module may fail over."""
    with redis_with_sentinel(tmp_path_factory.mktemp("sentinel")) as site:
        yield site


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """Run a private cluster of three that a module may break."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(params=[*MEMORY, *REDIS, DIRECT, SENTINEL, CLUSTER])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each engine in turn."""
    return make_kind(request.param, request)


@pytest.fixture(params=["inmemory", *REDIS])
def layered(request: pytest.FixtureRequest) -> Kind:
    """Return each engine on a channel layer in turn."""
    return make_kind(request.param, request)


@pytest.fixture(params=REDIS)
def layered_over_redis(request: pytest.FixtureRequest) -> Kind:
    """Return each engine on a channel layer with a server behind it in turn."""
    return make_kind(request.param, request)


@pytest.fixture(params=[*REDIS, DIRECT])
def networked(request: pytest.FixtureRequest) -> Kind:
    """Return each engine with a server behind it in turn."""
    return make_kind(request.param, request)


_tracked: list[RedisEngine] = []


def tracked(engine: RedisEngine) -> RedisEngine:
    """Remember an engine that has connections even when it was not started."""
    _tracked.append(engine)
    return engine


@pytest.fixture(autouse=True)
async def stop_tracked() -> AsyncIterator[None]:
    """Let go of every connection that a test has made."""
    yield
    while _tracked:
        await _tracked.pop().stop()


def make_kind(name: str, request: pytest.FixtureRequest) -> Kind:
    if name == DIRECT:
        direct: RedisServer = request.getfixturevalue("broken_redis")
        return Kind(name, lambda: tracked(RedisEngine(direct.url)), redis=direct)
    if name in (SENTINEL, CLUSTER):
        # Their clients ask their way before they publish, and a busy machine takes its time.
        patience: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for timeout in ("PUBLISH_TIMEOUT", "CONNECT_TIMEOUT"):
            patience.setattr(redis_engine, timeout, TIMEOUT)
    if name == SENTINEL:
        site: SentinelSite = request.getfixturevalue("sentinel_site")
        return Kind(name, lambda: tracked(RedisEngine(site.url)))
    if name == CLUSTER:
        port = request.getfixturevalue("cluster")[0].port
        url = f"redis+cluster://127.0.0.1:{port}"
        return Kind(name, lambda: tracked(RedisEngine(url)))
    if name == "memory":
        bus = MemoryBus()
        return Kind(name, lambda: MemoryEngine(bus))
    if name == "inmemory":
        layer = InMemoryChannelLayer()
        return Kind(name, lambda: ChannelLayerEngine(layer), lambda: layer)
    server: RedisServer = request.getfixturevalue("broken_redis")
    hosts = [{"address": server.url, "socket_timeout": None}]
    make = {"redis": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[name]

    def build_layer() -> Any:
        return make(hosts=hosts)

    return Kind(name, lambda: ChannelLayerEngine(build_layer()), build_layer, server)


@pytest.fixture
async def start_node() -> AsyncIterator[Callable[[Kind], Any]]:
    """Return a function that starts one more node; all stop when the test ends."""
    nodes: list[Node] = []

    async def start(kind: Kind) -> Node:
        node = Node(kind.build())
        await node.engine.start(node.deliver)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        await node.engine.stop()


@pytest.fixture
def quick_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node notice at once that it is not reached."""
    monkeypatch.setattr(module, "ECHO_INTERVAL", 0.2)
    monkeypatch.setattr(module, "RETRY_DELAY", 0.1)


@pytest.fixture
def pushing_project(tmp_path: Path) -> Path:
    """Return a directory with a project that only pushes: no database, no URLs."""
    (tmp_path / "pusher_settings.py").write_text(
        """
import os
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "channels", "djwsbridge"]
DATABASES = {}
USE_TZ = True
if "LAYER" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": os.environ["LAYER"],
            "CONFIG": {"hosts": [{"address": os.environ["REDIS"], "socket_timeout": None}]},
        }
    }
else:
    DJWSBRIDGE_ENGINE = "redis"
    DJWSBRIDGE_REDIS_URL = os.environ["REDIS"]
"""
    )
    return tmp_path
