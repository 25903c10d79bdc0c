"""A TCP proxy that makes network trouble: between clients and workers, workers and Redis, workers and the database.

It runs in a thread of its own, so that trouble has its own clock; every method may be called from any thread. What it
does by chance follows from the seed and the order of the connections.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["BLACK", "PASS", "Link", "Proxy", "Trouble", "fault_proxy"]

CHUNK = 65_536  # bytes read at once
HELD = 1_048_576  # bytes that one direction keeps back; beyond it the sender's own buffers fill
CALL_TIMEOUT = 10.0  # seconds for the proxy's thread to do what it is told

Value = TypeVar("Value")


@dataclass(frozen=True)
class Trouble:
    """What happens to the bytes of one direction.

    Args:
        latency: seconds by which they are late.
        jitter: seconds more or less, by chance; the order of bytes is kept.
        rate: bytes a second; None for no limit.
        black: nothing arrives, and nobody is told; what was sent meanwhile arrives afterwards.
        slice: bytes that are written at once; None for as they come.
        cut_after: bytes after which the connection is reset; None for never.
    """

    latency: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    black: bool = False
    slice: int | None = None
    cut_after: int | None = None


PASS = Trouble()
BLACK = Trouble(black=True)


class _Direction:
    """The bytes from one side of a connection to the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        trouble: Callable[[], Trouble],
        changed: Callable[[], asyncio.Event],
        chance: random.Random,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._trouble = trouble
        self._changed = changed
        self._chance = chance
        # (when it is due, bytes; empty at the end of the stream)
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD // CHUNK)
        self._due = 0.0
        self.carried = 0

    async def run(self) -> None:
        """Carry everything to the end of the stream."""
        reading = asyncio.ensure_future(self._read())
        try:
            await self._write()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        data = b"?"
        while data:
            try:
                data = await self._reader.read(CHUNK)
            except OSError:
                data = b""  # a reset is an end as well
            trouble = self._trouble()
            late = trouble.latency + trouble.jitter * self._chance.uniform(-1.0, 1.0)
            self._due = max(self._due, loop.time() + max(0.0, late))
            await self._waiting.put((self._due, data))

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._waiting.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self._light()
            if not data:
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            await self._carry(data)

    async def _light(self) -> None:
        """Wait for the end of a black hole."""
        while self._trouble().black:
            await self._changed().wait()

    async def _carry(self, data: bytes) -> None:
        while data:
            trouble = self._trouble()
            size = trouble.slice or len(data)
            if trouble.cut_after is not None:
                left = trouble.cut_after - self.carried
                if left <= 0:
                    raise ConnectionResetError
                size = min(size, left)
            piece, data = data[:size], data[size:]
            self._writer.write(piece)
            await self._writer.drain()
            self.carried += len(piece)
            if trouble.rate is not None:
                await asyncio.sleep(len(piece) / trouble.rate)
            if data:
                await asyncio.sleep(0)  # let each slice leave alone
                await self._light()


class Link:
    """One way through the proxy: a port of ours, and whom it leads to.

    Several targets take turns, and whoever refuses is passed over, as a load balancer would.
    """

    def __init__(self, proxy: Proxy, name: str, targets: Sequence[int]) -> None:
        self.name = name
        # Ports of this machine.
        self.targets = targets
        # Where to connect instead of the target; known once the link is open.
        self.port = 0
        self._proxy = proxy
        self._up = PASS
        self._down = PASS
        self._refusing = False
        self._changed = asyncio.Event()
        self._count = 0
        self._server: asyncio.Server | None = None
        # The tasks of all connections, and the two ends of those that go through.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open: dict[asyncio.Task[Any], tuple[asyncio.StreamWriter, ...]] = {}
        # Those of them whose clients are gone without a word.
        self._stranded: set[asyncio.Task[Any]] = set()

    @property
    def connections(self) -> int:
        """Return how many connections go through at present."""
        return len(self._open)

    def set(self, *, up: Trouble | None = None, down: Trouble | None = None) -> None:
        """Make trouble for what clients send (up), what they are sent (down), or both; None leaves it as it is."""
        self._proxy.call(lambda: self._set(up, down))

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset new connections at once, or stop doing so."""
        self._proxy.call(lambda: setattr(self, "_refusing", refusing))

    def heal(self) -> None:
        """End all trouble."""
        self._proxy.call(self._heal)

    def cut(self, *, reset: bool, share: float = 1.0) -> int:
        """End open connections, with RST or with FIN; returns how many.

        Args:
            reset: RST; otherwise both ends see a FIN.
            share: of the connections, by chance.
        """
        return self._proxy.call(lambda: self._cut(reset=reset, share=share))

    def strand(self) -> int:
        """Carry nothing more on the open connections, and keep both sides open: the clients have another network now.

        New connections go through. Returns how many are stranded.
        """
        return self._proxy.call(self._strand)

    # -- in the proxy's thread ---------------------------------------------------------------------------------------

    def _set(self, up: Trouble | None, down: Trouble | None) -> None:
        self._up, self._down = up or self._up, down or self._down
        self._changed.set()
        self._changed = asyncio.Event()

    def _strand(self) -> int:
        self._stranded = set(self._open)
        self._set(None, None)
        return len(self._stranded)

    def _heal(self) -> None:
        self._refusing = False
        self._stranded = set()
        self._set(PASS, PASS)

    def _cut(self, *, reset: bool, share: float) -> int:
        chosen = [one for one in self._open if self._proxy.chance.random() < share]
        for task in chosen:
            for writer in self._open.pop(task):
                _end(writer, reset=reset)
            task.cancel()
        return len(chosen)

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for _ in range(3):
            await asyncio.sleep(
                0
            )  # what was accepted a moment ago becomes a task, which can be ended
        self._cut(reset=True, share=1.0)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._count += 1
        chance = random.Random(f"{self._proxy.seed} {self.name} {self._count}")
        self._tasks.add(task)
        ends = [writer]
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await self._connect()
            ends.append(far_writer)
            self._open[task] = tuple(ends)

            def up() -> Trouble:
                return BLACK if task in self._stranded else self._up

            def down() -> Trouble:
                return BLACK if task in self._stranded else self._down

            await self._pump(
                _Direction(reader, far_writer, up, lambda: self._changed, chance),
                _Direction(far_reader, writer, down, lambda: self._changed, chance),
            )
        except OSError:
            for one in ends:
                _end(one, reset=True)
        except asyncio.CancelledError:
            pass  # cut: both ends know
        finally:
            self._tasks.discard(task)
            self._open.pop(task, None)
            for one in ends:
                one.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        first = self._count  # others come while this one tries
        for turn in range(len(self.targets)):
            target = self.targets[(first + turn) % len(self.targets)]
            try:
                return await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                continue
        raise ConnectionRefusedError

    @staticmethod
    async def _pump(*directions: _Direction) -> None:
        """Carry both directions until both have ended, or one has failed."""
        tasks = [asyncio.ensure_future(direction.run()) for direction in directions]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """All links of a run.

    Args:
        seed: decides what happens by chance.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.chance = random.Random(f"{seed} proxy")
        self.links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")

    def start(self) -> None:
        """Start the proxy's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close every link and end the thread."""
        for link in self.links.values():
            self._run(link.close())
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str, *ports: int) -> Link:
        """Open a way to a port of this machine, or to several that take turns."""
        link = self.links[name] = Link(self, name, ports)
        self._run(link.open())
        return link

    def heal(self) -> None:
        """End all trouble on every link."""
        for link in self.links.values():
            link.heal()

    def call(self, function: Callable[[], Value]) -> Value:
        """Run something in the proxy's thread and return what it returns."""

        async def run() -> Value:
            return function()

        return self._run(run())

    def _run(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT)


@contextmanager
def fault_proxy(seed: int) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    proxy = Proxy(seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        end = writer.get_extra_info("socket")
        if end is not None and end.fileno() >= 0:
            # Linger of zero seconds: close() sends RST instead of FIN.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
