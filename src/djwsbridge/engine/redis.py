"""The engine on Redis publish/subscribe, without a channel layer between.

One subscriber connection per node (per server of a cluster). Publishing has a short time of its own: a push is a hint,
nobody waits for Redis, and what it loses the log heals.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff

from djwsbridge.engine.base import Deliver, Engine, OnBack, attempt
from djwsbridge.engine.redis_errors import NoPrimaryError, explain, place_of
from djwsbridge.engine.redis_link import FAILURES, Link, let_go
from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["RedisEngine"]

PUBLISH_TIMEOUT = 0.25  # seconds
CONNECT_TIMEOUT = 1.0  # seconds
SENTINEL_TIMEOUT = (
    0.5  # seconds for each sentinel: three that are silent must not use up the time for a link
)
REFUSED = "did not take a push"
COUNT_TIMEOUT = 0.05  # seconds; a sender waits for this
COUNT_PAUSE = 1.0  # seconds after which Redis is asked again
MOVE_INTERVAL = 2.0  # seconds between two looks at where a cluster keeps its slots


class RedisEngine(Engine):
    """Carry pushes over Redis, Redis with Sentinel, or Redis Cluster (sharded publish/subscribe, Redis 7).

    Args:
        url: `redis://` or `rediss://` (TLS), with user, password and database as redis-py takes them;
            `redis+sentinel://host:port,host:port/<service>`; `redis+cluster://host:port`. `rediss+…` for TLS.
        prefix: of the names of all channels and keys; two sites on one Redis have two, or they hear each other.
        sentinel_kwargs: options of redis-py for the connections to the sentinels, such as `password` and `ssl`. Those
            to the servers have user and password from the URL, and further options from its query.
    """

    counts = True

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "djwsbridge:",
        sentinel_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._url = url
        self._sentinel_kwargs = sentinel_kwargs or {}
        self._prefix = prefix
        # Publishes only; every link has a client of its own.
        self._publisher = _connect(url, self._sentinel_kwargs)
        # Both are None until `start`.
        self._deliver: Deliver | None = None
        self._on_back: OnBack | None = None
        # Server (empty without a cluster) → link.
        self._links: dict[str, Link] = {}
        # Topic → the server whose link hears it.
        self._placed: dict[str, str] = {}
        # Until then (seconds of the loop's clock) nothing is counted: Redis did not answer, and no sender waits twice.
        self._no_count_before = 0.0
        # With a cluster only: finds out which servers it has; None before the first time.
        self._meeting: asyncio.Task[object] | None = None
        # Runs with a cluster only.
        self._following: asyncio.Task[None] | None = None

    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        self._deliver, self._on_back = deliver, on_back
        if isinstance(self._publisher, RedisCluster):
            self._following = asyncio.get_running_loop().create_task(
                self._follow_cluster(), name="djwsbridge redis cluster"
            )

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))
        self._links.clear()
        if self._meeting is not None:
            await asyncio.gather(self._meeting, return_exceptions=True)
        await let_go(self._publisher)

    async def subscribe(self, topic: str) -> None:
        server = await self._server_of(topic)
        self._placed[topic] = server
        try:
            await self._link(server).subscribe(topic)
        except FAILURES as error:
            raise self._failure("did not subscribe", error) from error

    async def unsubscribe(self, topic: str) -> None:
        server = self._placed.pop(topic, None)
        if server is None:
            return
        try:
            await self._link(server).unsubscribe(topic)
        except FAILURES as error:
            raise self._failure("did not unsubscribe", error) from error

    async def publish(self, topic: str, text: str) -> None:
        publisher = self._publisher
        send = publisher.spublish if isinstance(publisher, RedisCluster) else publisher.publish
        try:
            await self._meet(CONNECT_TIMEOUT)
            await asyncio.wait_for(send(self._prefix + topic, text), PUBLISH_TIMEOUT)
        except FAILURES as error:
            raise self._failure(REFUSED, error) from error

    async def publish_all(
        self, pushes: Sequence[tuple[str, str]]
    ) -> Sequence[EngineUnavailable | None]:
        if isinstance(self._publisher, RedisCluster) or len(pushes) == 1:
            return await super().publish_all(pushes)
        pipeline = self._publisher.pipeline(transaction=False)
        for topic, text in pushes:
            pipeline.publish(self._prefix + topic, text)
        try:
            answers = await asyncio.wait_for(
                pipeline.execute(raise_on_error=False), PUBLISH_TIMEOUT
            )
        except FAILURES as error:
            answers = [error] * len(pushes)
        return [
            self._failure(REFUSED, answer) if isinstance(answer, Exception) else None
            for answer in answers
        ]

    async def count(self, key: str, *, seconds: float) -> int | None:
        now = asyncio.get_running_loop().time()
        if now < self._no_count_before:
            return None
        name = f"{self._prefix}count:{key}"
        pipeline = self._publisher.pipeline(transaction=False)
        pipeline.incr(name)
        pipeline.expire(name, math.ceil(seconds), nx=True)
        try:
            await self._meet(COUNT_TIMEOUT)
            counted = await asyncio.wait_for(pipeline.execute(), COUNT_TIMEOUT)
        except FAILURES:
            self._no_count_before = now + COUNT_PAUSE
            return None
        return int(counted[0])

    async def _meet(self, timeout: float) -> None:
        """Return when it is known which servers a cluster has; at once without a cluster.

        It goes on behind whoever has waited too long: cut off halfway each time, it would never come to an end.

        Raises:
            one of FAILURES: no server answers, or not in time.
        """
        if isinstance(self._publisher, RedisCluster):
            if self._meeting is None or self._meeting.done():
                loop = asyncio.get_running_loop()
                self._meeting = loop.create_task(self._publisher.initialize())
            await asyncio.wait_for(asyncio.shield(self._meeting), timeout)

    async def _server_of(self, topic: str) -> str:
        """Return which server of the cluster a topic belongs to; empty without a cluster."""
        if not isinstance(self._publisher, RedisCluster):
            return ""
        try:
            await self._meet(CONNECT_TIMEOUT)
            node = self._publisher.get_node_from_key(self._prefix + topic)
        except FAILURES as error:
            raise self._failure("does not say where topics are", error) from error
        if node is None:
            raise EngineUnavailable("No server of the cluster has this topic.")
        return f"{node.host}:{node.port}"

    def _failure(self, what: str, error: Exception) -> EngineUnavailable:
        """Return what callers are told; where an error has no reason of its own, why the link is down."""
        reasons = [link.reason for link in self._links.values() if link.reason is not None]
        if isinstance(error, asyncio.TimeoutError | ConnectionError) and reasons:
            return EngineUnavailable(f"Redis {what}: {reasons[0]}")
        return EngineUnavailable(f"Redis {what}: {explain(error, place_of(self._url))}")

    def _link(self, server: str) -> Link:
        """Return the link to a server, made when it is first needed."""
        if self._deliver is None or self._on_back is None:
            raise EngineUnavailable("The engine was not started.")
        if server not in self._links:
            client = (
                _connect_to(self._url, server)
                if server
                else _connect(self._url, self._sentinel_kwargs)
            )
            if not isinstance(client, Redis):
                raise TypeError("A link is to one server.")
            self._links[server] = Link(
                client,
                prefix=self._prefix,
                sharded=bool(server),
                deliver=self._deliver,
                on_back=self._on_back,
                place=server or place_of(self._url),
            )
        return self._links[server]

    async def _follow_cluster(self) -> None:
        """Move subscriptions when the cluster has given their slots to other servers."""
        while True:
            await asyncio.sleep(MOVE_INTERVAL)
            moved = False
            for topic, before in list(self._placed.items()):
                with contextlib.suppress(EngineUnavailable, *FAILURES):
                    server = await self._server_of(topic)
                    if server != before and topic in self._placed:
                        moved = True
                        await self._link(before).unsubscribe(topic)
                        await self.subscribe(topic)
            if moved and self._on_back is not None:
                attempt(self._on_back)


def _connect(url: str, sentinel_kwargs: Mapping[str, Any]) -> Redis | RedisCluster:
    """Return a client for a URL; nothing is sent yet.

    Raises:
        ValueError: the URL is none of the known kinds.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    plain = scheme + url[len(parts.scheme) :]
    # Retries belong to the link and to the log: a client that waits and tries again would be late and quiet about it.
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
    }
    if kind == "cluster":
        return RedisCluster.from_url(plain, socket_connect_timeout=CONNECT_TIMEOUT)
    if kind == "sentinel":
        return _connect_by_sentinel(url, options, sentinel_kwargs)
    if kind:
        raise ValueError(f"{parts.scheme}:// is no kind of Redis that is known here.")
    client: Redis = Redis.from_url(plain, **options)
    return client


class _Sentinels(Sentinel):
    """redis-py's sentinels; where none of them names a primary, the error says why."""

    async def discover_master(self, service_name: str) -> Any:
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError:
            reasons = [await self._ask(sentinel, service_name) for sentinel in self.sentinels]
            raise NoPrimaryError("; ".join(reasons)) from None

    @staticmethod
    async def _ask(sentinel: Redis, service: str) -> str:
        """Return why a sentinel names no primary of a service."""
        options = sentinel.connection_pool.connection_kwargs
        place = f"sentinel {options['host']}:{options['port']}"
        try:
            await sentinel.ping()
        except FAILURES as error:
            return explain(error, place)
        return f"{place}: it knows no such service as {service}, or no primary of it that runs"


def _connect_by_sentinel(
    url: str, options: dict[str, Any], sentinel_kwargs: Mapping[str, Any]
) -> Redis:
    """Return a client for whichever server the sentinels call the primary of a service."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("A Redis URL with sentinels ends with the name of the service: …/mymaster")
    user, _, password = credentials.partition(":")
    sentinels = [host.rpartition(":") for host in hosts.split(",")]
    sentinel = _Sentinels(  # type: ignore[no-untyped-call]
        [(host or port, int(port) if host else 26379) for host, _, port in sentinels],
        # Without retries: what the sentinels answer would come too late to be told.
        sentinel_kwargs={
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            "socket_timeout": SENTINEL_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            **sentinel_kwargs,
        },
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        ssl=parts.scheme.startswith("rediss"),
        **{**parse_url(f"redis://?{parts.query}"), **options},
    )
    client: Redis = sentinel.master_for(service)
    return client


def _connect_to(url: str, server: str) -> Redis | RedisCluster:
    """Return a client for one server of a cluster, with the credentials of the cluster's URL."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    return _connect(urlunsplit((scheme, f"{credentials}{at}{server}", "", parts.query, "")), {})
