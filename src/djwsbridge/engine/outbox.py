"""The pushes of one node on their way to its engine: in order, without making their producers wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from djwsbridge.crash import CrashPoint, crash_now, is_due
from djwsbridge.engine.base import Engine
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.sequencer import seq_of

__all__ = ["Outbox"]

logger = logging.getLogger("djwsbridge.outbox")

CAPACITY = 100_000  # pushes waiting for the engine; beyond it the newest are dropped and logged (they are hints)


class Outbox:
    """A bounded queue in front of an engine.

    Args:
        engine: takes the pushes while `run` runs.
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
        # (topic, text, what to tell when the engine has taken it), oldest first.
        self._waiting: asyncio.Queue[tuple[str, str, asyncio.Future[None] | None]]
        self._waiting = asyncio.Queue(capacity)

    def put(self, topic: str, text: str) -> None:
        """Take a push and return at once; what becomes of it is only logged."""
        if self._waiting.full():
            logger.error("The engine is too slow or down: a push on %s was dropped.", topic)
        else:
            self._waiting.put_nowait((topic, text, None))

    async def deliver(self, topic: str, text: str) -> None:
        """Take a push, behind all that wait, and return when the engine has taken it.

        Raises:
            EngineUnavailable: it was not taken.
        """
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._waiting.put((topic, text, taken))
        await taken

    async def run(self) -> None:
        """Give everything to the engine, for ever."""
        while True:
            topic, text, taken = await self._waiting.get()
            if is_due(CrashPoint.AFTER_ACK_BEFORE_PUBLISH) and seq_of(text) is not None:
                await asyncio.sleep(0.05)  # in which the acknowledgement leaves
                crash_now()
            try:
                await self._engine.publish(topic, text)
            except EngineUnavailable as error:
                self._on_refused(topic, text)
                if taken is None:
                    logger.warning("The engine did not take a push on %s: %s", topic, error)
                elif not taken.done():
                    taken.set_exception(error)
            else:
                if taken is not None and not taken.done():
                    taken.set_result(None)
            finally:
                self._waiting.task_done()

    async def finish(self, timeout: float) -> None:
        """Return when everything was given to the engine, or after `timeout` seconds; `run` must be running."""
        joined = asyncio.ensure_future(self._waiting.join())
        await asyncio.wait({joined}, timeout=timeout)
        joined.cancel()
