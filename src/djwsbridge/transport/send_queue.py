"""The bounded queue of outgoing text of one connection, in front of ASGI's `send`."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from djwsbridge.transport.asgi import Send, is_servers_own
from djwsbridge.transport.proofs import Proofs

__all__ = ["SendQueue"]

ASKS = 16  # proofs that a client is asked for while it reads a full queue; see `Proofs`
LEAST_BYTES = 256  # between two of them: each is a frame itself
# Seconds after which a slow reader has stalled that never gave a proof: most probably it knows of none. It is closed,
# comes back and gets what it missed.
UNPROVED_TIMEOUT = 5.0


class SendQueue:
    """Write frames in order, without making their producer wait.

    When more than `limit` bytes wait, the reader is slow: from then on the queue takes no more pushes, until everything
    that waits is written. What answers a command is always taken; the connection carries out a command only while
    there is room (`has_room`), so that at most one answer is too many.

    A server whose `send` never waits buffers without bound. There a frame waits until the client has proved that it
    has read it (`Proofs`), and the reader is slow until half of the queue is free.

    Args:
        send: the ASGI server's `send`, which waits while the transport is full.
        limit: bytes that may wait.
        on_changed: called when the reader becomes slow, and when it is slow no more.
        on_failed: called when the server refuses to send; nothing more can be sent then.
        ask: called with a number that the client is to be sent, as a proof; None where `send` waits.
    """

    __slots__ = (
        "_ask",
        "_begin",
        "_closed",
        "_has_proved",
        "_is_writing",
        "_limit",
        "_loop",
        "_on_changed",
        "_on_failed",
        "_progress",
        "_proofs",
        "_room",
        "_send",
        "_size",
        "_task",
        "_waiting",
        "is_slow",
    )

    # It takes no ready frames; compare `WireQueue`.
    write = None

    def __init__(
        self,
        send: Send,
        *,
        limit: int,
        on_changed: Callable[[], None],
        on_failed: Callable[[Exception], None],
        ask: Callable[[str], None] | None = None,
    ) -> None:
        self._send = send
        self._limit = limit
        self._on_changed = on_changed
        self._on_failed = on_failed
        self._ask = ask
        # None where `send` waits.
        self._proofs = None if ask is None else Proofs(every=max(LEAST_BYTES, limit // ASKS))
        self._loop = asyncio.get_running_loop()
        # What is not handed to the server yet.
        self._waiting: deque[str] = deque()
        # The bytes of what waits: to be written, or to be proved.
        self._size = 0
        self._closed = False
        # Whether pushes are refused; and when the reader last showed that it reads, as far as that matters.
        self.is_slow = False
        self._progress = 0.0
        # Whether the reader has ever given a proof.
        self._has_proved = False
        # Set when there is room again; None while nobody waits for it.
        self._room: asyncio.Event | None = None
        # Whether something is being written; and the task that does it, once it had to wait, else None or done: an idle
        # connection has none.
        self._is_writing = False
        self._task: asyncio.Task[None] | None = None
        self._begin = _begin_at_once if is_servers_own(send) else self._loop.create_task

    def put(self, text: str) -> None:
        """Take a frame; after the queue is closed it is dropped."""
        if self._closed:
            return
        size = _size_of(text)
        self._waiting.append(text)
        self._size += size
        if not self._is_writing:
            self._is_writing = True
            self._task = self._begin(self._drain())
        if self._proofs is not None and self._ask is not None:
            number = self._proofs.count(size)
            if number is not None:
                self._ask(number)
        if self._size > self._limit and not self.is_slow:
            self.fill()

    def offer(self, text: str) -> bool:
        """Take a push if the reader keeps up; says whether it was taken."""
        if self.is_slow:
            return False
        if self._size + _size_of(text) > self._limit:
            self.fill()
            return False
        self.put(text)
        return True

    def fill(self) -> None:
        """Take no more pushes for now."""
        self.is_slow = True
        self._progress = self._loop.time()
        self._on_changed()

    def drain(self) -> None:
        """Take pushes again."""
        self.is_slow = False
        if not self._closed:
            self._on_changed()

    def confirm(self, text: str) -> bool:
        """Look whether a frame of the client proves that it reads; says whether it does."""
        read = 0 if self._proofs is None else self._proofs.take(text)
        if not read:
            return False
        self._has_proved = True
        self._make_room(read, enough=self._limit // 2)
        return True

    @property
    def has_room(self) -> bool:
        """Say whether an answer may be added."""
        return self._size <= self._limit

    def has_stalled(self, *, now: float, timeout: float) -> bool:
        """Say whether a slow reader has read nothing for `timeout` seconds."""
        if self._proofs is not None and not self._has_proved:
            timeout = min(timeout, UNPROVED_TIMEOUT)
        return self.is_slow and now - self._progress >= timeout

    async def wait_for_room(self) -> None:
        """Return when an answer may be added."""
        while not self.has_room:
            self._room = self._room or asyncio.Event()
            await self._room.wait()

    def clear(self) -> None:
        """Forget what waits, and that the reader is slow; what comes then is written as soon as it takes it."""
        self._waiting.clear()
        self._size = 0
        self.is_slow = False
        if self._room is not None:
            self._room.set()
            self._room = None

    def drop(self) -> None:
        """Take nothing more and forget what waits."""
        self._closed = True
        self.clear()

    def let_go(self) -> None:
        """Break the circle with the connection, which is over."""
        self._on_changed = _nothing
        self._on_failed = _ignore
        self._ask = None

    def seal(self) -> None:
        """Take nothing more; what waits is still written."""
        self._closed = True

    async def finish(self, timeout: float) -> None:
        """Take nothing more and return when everything is written, or after `timeout` seconds."""
        self.seal()
        if self._task is not None and not self._task.done():
            done, _ = await asyncio.wait({self._task}, timeout=timeout)
            if not done:
                self._task.cancel()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                text = self._waiting.popleft()
                await self._send({"type": "websocket.send", "text": text})
                if self._proofs is None:
                    self._make_room(_size_of(text), enough=0)
        except Exception as error:  # noqa: BLE001  each server has its own for a peer that is gone
            self.drop()
            self._on_failed(error)
        finally:
            self._is_writing = False

    def _make_room(self, size: int, *, enough: int) -> None:
        """Forget what waits no more.

        Args:
            size: how many bytes that is.
            enough: bytes up to which the reader is slow no more.
        """
        self._size = max(0, self._size - size)
        if self._room is not None and self.has_room:
            self._room.set()
            self._room = None
        if self.is_slow:
            self._progress = self._loop.time()
            if self._size <= enough:
                self.drain()


def _size_of(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _begin_at_once(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Carry a coroutine out now; returns the task that goes on when it has to wait, None if it has not.

    Nearly no `send` ever waits, and a task for each frame costs more than the frame.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration:
        return None
    return asyncio.get_running_loop().create_task(_finish(coroutine, waited))


async def _finish(coroutine: Coroutine[Any, Any, None], waited: Any) -> None:
    """Make a coroutine of `_go_on`: from Python 3.12 on a task takes no generator."""
    await _go_on(coroutine, waited)


@types.coroutine
def _go_on(coroutine: Coroutine[Any, Any, None], waited: Any) -> Generator[Any, None, None]:
    """Carry on with a coroutine that waits for a future, as its `await` would."""
    try:
        yield waited
    except BaseException as error:  # noqa: BLE001  `send` failed or was cancelled, and no server waits again then
        with contextlib.suppress(StopIteration):
            coroutine.throw(error)
    else:
        yield from coroutine


def _nothing() -> None:
    """Do nothing."""


def _ignore(error: Exception) -> None:
    """Do nothing about it."""
