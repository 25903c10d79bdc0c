"""One subscriber connection to one Redis server: made again whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisClusterException, RedisError

from djwsbridge.engine.base import Deliver, OnBack, attempt
from djwsbridge.engine.redis_errors import explain

__all__ = ["FAILURES", "Link", "let_go"]

logger = logging.getLogger("djwsbridge.engine")

PING_INTERVAL = 2.0  # seconds of silence after which the link is asked whether it lives; as long again to answer
SUBSCRIBE_TIMEOUT = 2.0  # seconds
RETRY_DELAYS = (0.1, 1.0)  # seconds before a link is made again: the first time, and at most

#: What a Redis that is down, hangs, fails over or is full can raise; what fails as a cluster is no `RedisError`.
FAILURES = (RedisError, RedisClusterException, OSError, asyncio.TimeoutError)


class Link:
    """Hear what is published on a set of topics, for as long as it takes.

    Args:
        client: of the server; its connections are used for nothing else.
        prefix: of the names of its Redis channels, before the topic.
        sharded: whether to use the sharded commands of Redis Cluster.
        deliver: called for every push.
        on_back: called when the link has come back.
        place: where the server is, in words without a password.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str,
        sharded: bool,
        deliver: Deliver,
        on_back: OnBack,
        place: str,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._verb = "s" if sharded else ""
        self._deliver = deliver
        self._on_back = on_back
        self._place = place
        # Why there is no link, in words; None while there is one, and before the first try has failed.
        self.reason: str | None = None
        # What is wanted; subscribed again whenever the link is made.
        self._topics: set[str] = set()
        # redis-py's PubSub; None while there is no link.
        self._pubsub: Any = None
        self._closed = False
        # Set once the first try to make the link has ended, whatever came of it.
        self._tried = asyncio.Event()
        # Whether the last try to make the link failed, or the link broke: who asks is told at once then.
        self._failed = False
        # Whether anything has come in since the last look.
        self._heard = False
        # Topic → set when Redis has confirmed its subscription.
        self._confirmed: dict[str, asyncio.Event] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(), name="djwsbridge redis")

    async def close(self) -> None:
        """Let go of the server; the link is not used again."""
        self._closed = True  # before Python 3.12 `wait_for` can swallow a cancellation
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await let_go(self._client)

    async def subscribe(self, topic: str) -> None:
        """Return when every later push will be heard.

        Raises:
            one of FAILURES: Redis did not confirm; the topic is subscribed to with the next link.
        """
        self._topics.add(topic)
        if not self._failed:
            await asyncio.wait_for(self._tried.wait(), SUBSCRIBE_TIMEOUT)
        if self._pubsub is None:
            raise ConnectionError("There is no link to Redis.")
        confirmed = self._confirmed.setdefault(topic, asyncio.Event())
        await self._send("subscribe", topic)
        await asyncio.wait_for(confirmed.wait(), SUBSCRIBE_TIMEOUT)

    async def unsubscribe(self, topic: str) -> None:
        """Hear no more of a topic.

        Raises:
            one of FAILURES: Redis could not be told; the next link will not hear it.
        """
        self._topics.discard(topic)
        self._confirmed.pop(topic, None)
        if self._pubsub is None:
            raise ConnectionError("There is no link to Redis.")
        await self._send("unsubscribe", topic)

    async def _send(self, command: str, *topics: str) -> None:
        call = getattr(self._pubsub, self._verb + command)
        await asyncio.wait_for(call(*(self._prefix + topic for topic in topics)), SUBSCRIBE_TIMEOUT)

    async def _run(self) -> None:
        """Make the link, read it until it breaks, and again, whatever broke it: who asks for it waits for this task."""
        delay = RETRY_DELAYS[0]
        while not self._closed:
            pubsub = self._client.pubsub()
            try:
                await asyncio.wait_for(pubsub.connect(), SUBSCRIBE_TIMEOUT)  # type: ignore[no-untyped-call]
                self._pubsub = pubsub
                if self._topics:
                    await self._send("subscribe", *self._topics)
                self._tried.set()
                if self._failed:
                    logger.warning("The link to Redis is back.")
                    attempt(self._on_back)
                delay, self._failed, self.reason = RETRY_DELAYS[0], False, None
                await self._read(pubsub)
            except Exception as error:
                reason = explain(error, self._place)
                if not isinstance(error, FAILURES):
                    logger.exception("The link to Redis broke in a way that was not foreseen.")
                elif reason != self.reason:
                    logger.warning("The link to Redis is down: %s", reason)
                self._failed, self.reason = True, reason
            finally:
                self._pubsub = None
                self._tried.set()
                self._confirmed.clear()
                with contextlib.suppress(Exception):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(delay * 2, RETRY_DELAYS[1])

    async def _read(self, pubsub: Any) -> None:
        """Deliver until the link breaks; one that stays silent when it is asked is broken, too (a hung server)."""
        # In a task that waits without a timeout: redis-py's own doubles the price of a push.
        reading = asyncio.get_running_loop().create_task(self._deliver_all(pubsub))
        asked = False
        try:
            while not self._closed:
                self._heard = False
                await asyncio.wait({reading}, timeout=PING_INTERVAL)
                if reading.done():
                    return reading.result()
                if self._heard:
                    asked = False
                elif asked:
                    raise asyncio.TimeoutError("Redis does not answer.")
                else:
                    asked = True
                    await asyncio.wait_for(pubsub.ping(), SUBSCRIBE_TIMEOUT)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _deliver_all(self, pubsub: Any) -> None:
        while not self._closed:
            message = await pubsub.get_message(timeout=None)
            self._heard = True
            if message is not None:
                attempt(self._handle, message)

    def _handle(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind in ("message", "smessage"):
            topic = _text(message["channel"]).removeprefix(self._prefix)
            self._deliver(topic, _text(message["data"]))
        elif kind in ("subscribe", "ssubscribe"):
            topic = _text(message["channel"]).removeprefix(self._prefix)
            self._confirmed.setdefault(topic, asyncio.Event()).set()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def let_go(client: Redis | RedisCluster) -> None:
    """Close every connection of a client, those to the sentinels as well."""
    with contextlib.suppress(*FAILURES):
        await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            with contextlib.suppress(*FAILURES):
                await sentinel.aclose()
