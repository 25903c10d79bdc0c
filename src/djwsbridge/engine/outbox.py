"""The pushes of one node on their way to its engine: in order, without making their producers wait."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from djwsbridge.crash import CrashPoint, crash_now, is_armed, is_due
from djwsbridge.engine.base import Engine, attempt
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.sequencer import seq_of

__all__ = ["AT_ONCE", "Outbox"]

logger = logging.getLogger("djwsbridge.outbox")

CAPACITY = 100_000  # pushes waiting for the engine; beyond it the newest are dropped and logged (they are hints)
AT_ONCE = 256  # pushes that the engine is given together; some 100 KB
CRASH = CrashPoint.AFTER_ACK_BEFORE_PUBLISH


class _Push(NamedTuple):
    topic: str
    text: str
    # What to tell when the engine has taken it.
    taken: asyncio.Future[None] | None


class Outbox:
    """A bounded queue in front of an engine. Who waits for a push to be taken is not bound by it.

    Args:
        engine: takes the pushes while `run` runs; those that it can take at once it gets at once.
        on_refused: called with every push that the engine did not take.
        capacity: how many may wait.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_refused: Callable[[str, str], None] = lambda _topic, _text: None,
        capacity: int = CAPACITY,
    ) -> None:
        self._engine = engine
        self._on_refused = on_refused
        self._capacity = capacity
        # Oldest first.
        self._waiting: deque[_Push] = deque()
        # Set while nothing waits and nothing is being given to the engine.
        self._idle = asyncio.Event()
        self._idle.set()
        # Set when something waits.
        self._filled = asyncio.Event()

    def put(self, topic: str, text: str) -> None:
        """Take a push and return at once; what becomes of it is only logged."""
        self.put_all([(topic, text)])

    def put_all(self, pushes: Sequence[tuple[str, str]]) -> None:
        """Take pushes (topic, text), in their order, and return at once."""
        may_offer = not is_armed(CRASH)
        for topic, text in pushes:
            if may_offer and self._idle.is_set() and self._engine.offer(topic, text):
                continue
            if len(self._waiting) < self._capacity:
                self._add(_Push(topic, text, None))
            else:
                logger.error("The engine is too slow or down: a push on %s was dropped.", topic)

    async def deliver(self, topic: str, text: str) -> None:
        """Take a push, behind all that wait, and return when the engine has taken it.

        Raises:
            EngineUnavailable: it was not taken.
        """
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(_Push(topic, text, taken))
        await taken

    def _add(self, push: _Push) -> None:
        self._waiting.append(push)
        self._idle.clear()
        self._filled.set()

    async def run(self) -> None:
        """Give everything to the engine, for ever: what waits at the same time together."""
        while True:
            await self._filled.wait()
            count = min(len(self._waiting), AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
            if not self._waiting:
                self._filled.clear()
            await self._crash_if_due(batch)
            self._settle(batch, await self._give(batch))
            if not self._waiting:
                self._idle.set()

    async def _give(self, batch: Sequence[_Push]) -> Sequence[EngineUnavailable | None]:
        """Have the engine take pushes; whatever goes wrong there refuses them, and those behind them get their turn."""
        try:
            return await self._engine.publish_all([push[:2] for push in batch])
        except Exception as error:
            logger.exception("The engine failed in a way that no engine should.")
            return [EngineUnavailable(f"The engine failed: {error!r}")] * len(batch)

    async def _crash_if_due(self, batch: Sequence[_Push]) -> None:
        if any(is_due(CRASH) and seq_of(push.text) is not None for push in batch):
            await asyncio.sleep(0.05)  # in which the acknowledgement leaves
            crash_now()

    def _settle(self, batch: Sequence[_Push], outcomes: Sequence[EngineUnavailable | None]) -> None:
        refused = []
        for push, error in zip(batch, outcomes, strict=True):
            if error is not None:
                attempt(self._on_refused, push.topic, push.text)
            if push.taken is None:
                refused += [(push.topic, error)] if error is not None else []
            elif push.taken.done():
                pass  # whoever waited has gone
            elif error is None:
                push.taken.set_result(None)
            else:
                push.taken.set_exception(error)
        if refused:
            text = "The engine did not take %d pushes, the first of them on %s: %s"
            logger.warning(text, len(refused), *refused[0])

    async def finish(self, timeout: float) -> None:
        """Return when everything was given to the engine, or after `timeout` seconds; `run` must be running."""
        idle = asyncio.ensure_future(self._idle.wait())
        await asyncio.wait({idle}, timeout=timeout)
        idle.cancel()
