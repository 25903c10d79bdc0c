"""The engine of one process: for tests and small sites."""

from __future__ import annotations

import asyncio
import threading

from djwsbridge.engine.base import Deliver, Engine, OnBack

__all__ = ["MemoryBus", "MemoryEngine"]


class MemoryBus:
    """What the memory engines of one process share; usable from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # topic → engines that want it; a tuple is replaced, never changed, so that readers need no lock
        self._engines: dict[str, tuple[MemoryEngine, ...]] = {}

    def add(self, topic: str, engine: MemoryEngine) -> None:
        with self._lock:
            if engine not in self.engines(topic):
                self._engines[topic] = (*self.engines(topic), engine)

    def remove(self, topic: str, engine: MemoryEngine) -> None:
        with self._lock:
            others = tuple(other for other in self.engines(topic) if other is not engine)
            if others:
                self._engines[topic] = others
            else:
                self._engines.pop(topic, None)

    def remove_all(self, engine: MemoryEngine) -> None:
        with self._lock:
            topics = list(self._engines)
        for topic in topics:
            self.remove(topic, engine)

    def engines(self, topic: str) -> tuple[MemoryEngine, ...]:
        return self._engines.get(topic, ())


class MemoryEngine(Engine):
    """Carry pushes between the event loops of one process.

    Args:
        bus: shared by all engines that are to hear each other.
    """

    waits = False

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        # Both are None until `start`.
        self._deliver: Deliver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        self._bus.remove_all(self)
        self._deliver = self._loop = None

    async def subscribe(self, topic: str) -> None:
        self._bus.add(topic, self)

    async def unsubscribe(self, topic: str) -> None:
        self._bus.remove(topic, self)

    async def publish(self, topic: str, text: str) -> None:
        self.offer(topic, text)

    def offer(self, topic: str, text: str) -> bool:
        for engine in self._bus.engines(topic):
            engine.receive(topic, text, sender=self)
        return True

    def receive(self, topic: str, text: str, *, sender: MemoryEngine) -> None:
        """Take a push of any engine of the process, in the thread of that engine's loop."""
        loop, deliver = self._loop, self._deliver
        if loop is None or deliver is None or loop.is_closed():
            return
        # Never inside the publisher's own call: a delivery is a turn of the loop of its own, as with every engine.
        if sender._loop is loop:
            loop.call_soon(deliver, topic, text)
        else:
            loop.call_soon_threadsafe(deliver, topic, text)
