"""Keep the engine's view of the topics of this node equal to the hub's, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from djwsbridge.engine.base import Engine
from djwsbridge.hub import Hub, Subscriber
from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["Subscriptions"]

logger = logging.getLogger("djwsbridge.subscriptions")

PATIENCE = 1.0  # seconds for an engine that hangs, when there is a log to stand in for it
JOIN_INTERVAL = 1.0  # seconds between two tries to reach an engine that is down


class _Link:
    """The state of this node's subscription to one topic at the engine."""

    __slots__ = ("joined", "lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.joined = False
        # How many are inside `_settle` with it; the last one throws away a link that joins nothing.
        self.users = 0


class Subscriptions:
    """The subscriptions of one node, at the hub and at the engine.

    Args:
        engine: is told which topics this node wants.
        hub: is told who wants them.
        needs_engine: whether nobody can do without the engine. With a log, readers of durable topics can.
        on_joined: called when this node has begun to hear a topic, before its first subscriber is told so.
        on_forgotten: called when nobody here listens to a topic any more.
        on_back: called when the engine has been reached again.
    """

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        *,
        needs_engine: bool,
        on_joined: Callable[[str], Awaitable[None]],
        on_forgotten: Callable[[str], None],
        on_back: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._needs_engine = needs_engine
        self._on_joined = on_joined
        self._on_forgotten = on_forgotten
        self._on_back = on_back
        self._links: dict[str, _Link] = {}
        # Topics that are wanted whether or not a subscriber listens.
        self._kept: set[str] = set()
        # Topics that the engine does not know of, because it could not be reached.
        self._without_engine: set[str] = set()

    async def keep(self, topic: str) -> None:
        """Want a topic for the node itself.

        Raises:
            EngineUnavailable: see `add`.
        """
        self._kept.add(topic)
        await self._join(topic)

    async def add(self, topic: str, subscriber: Subscriber) -> None:
        """Return when a subscriber gets every later push on a topic.

        Raises:
            EngineUnavailable: the engine could not be told, and there is no log to stand in for it.
        """
        self._hub.add(topic, subscriber)
        link = self._links.get(topic)
        if link is not None and link.joined and not link.lock.locked():
            return  # the node hears this topic already
        try:
            await self._settle(topic)
        except BaseException:
            self._hub.remove(topic, subscriber)
            raise

    async def add_all(self, topics: Iterable[str], subscriber: Subscriber) -> None:
        """Add many subscriptions at once, or none when that fails; see `add`."""
        topics = list(topics)
        try:
            if len(topics) == 1:
                await self.add(topics[0], subscriber)
            else:
                await asyncio.gather(*(self.add(topic, subscriber) for topic in topics))
        except BaseException:
            for topic in topics:
                task = asyncio.get_running_loop().create_task(self.remove(topic, subscriber))
                task.add_done_callback(_log_failure)
            raise

    async def remove(self, topic: str, subscriber: Subscriber) -> None:
        """End a subscription; nothing is delivered to it from this moment on."""
        self._hub.remove(topic, subscriber)
        if topic not in self._hub:
            with contextlib.suppress(EngineUnavailable):
                await self._settle(topic)

    async def run(self) -> None:
        """Make the subscriptions that the engine could not make when they were asked for, for ever."""
        while True:
            await asyncio.sleep(JOIN_INTERVAL)
            try:
                await self._join_late()
            except EngineUnavailable:
                pass
            except Exception:
                logger.exception("The engine failed in a way that no engine should.")

    async def _join_late(self) -> None:
        for topic in list(self._without_engine):
            if topic in self._hub or topic in self._kept:
                await self._engine.subscribe(topic)
            self._without_engine.discard(topic)
            if not self._without_engine:
                self._on_back()

    async def _settle(self, topic: str) -> None:
        link = self._links.setdefault(topic, _Link())
        link.users += 1
        try:
            async with link.lock:
                wanted = topic in self._hub
                if wanted and not link.joined:
                    await self._join(topic)
                    link.joined = True
                    await self._on_joined(topic)
                elif not wanted and link.joined:
                    link.joined = False
                    await self._engine.unsubscribe(topic)
        finally:
            link.users -= 1
            if not link.users and not link.joined:
                del self._links[topic]
                self._on_forgotten(topic)

    async def _join(self, topic: str) -> None:
        if self._needs_engine or not self._engine.waits:
            await self._engine.subscribe(topic)
        elif self._without_engine or not await self._is_joined_soon(topic):
            # It is down: nobody else waits for it, `run` keeps trying.
            self._without_engine.add(topic)

    async def _is_joined_soon(self, topic: str) -> bool:
        """Say whether the engine has taken a subscription before a person would notice the wait."""
        joining = asyncio.ensure_future(self._engine.subscribe(topic))
        try:
            done, _ = await asyncio.wait({joining}, timeout=PATIENCE)
            if done:
                await joining
                return True
            error = EngineUnavailable("It does not answer.")
        except EngineUnavailable as failure:
            error = failure
        finally:
            joining.cancel()
        logger.warning("The engine cannot be reached, the log stands in: %s", error)
        return False


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("A subscription could not be ended.", exc_info=task.exception())
