"""The bounded queue of outgoing text of one connection, in front of ASGI's `send`."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from djwsbridge.transport.asgi import Send, is_servers_own

__all__ = ["SendQueue"]


class SendQueue:
    """Write frames in order, without making their producer wait.

    When more than `limit` bytes wait, the reader is slow: from then on the queue takes no more pushes, until everything
    that waits is written. What answers a command is always taken; whoever carries commands out asks `wait_for_room`
    first, so that there is at most one answer too many.

    A server that buffers without bound writes at once, and nothing ever waits. There only the client's own frames show
    that it reads: `unconfirmed` is what may be on its way since the last one.

    Args:
        send: the ASGI server's `send`, which waits while the transport is full.
        limit: bytes that may wait (counted as characters, which is what they are for most frames).
        on_changed: called when the reader becomes slow, and when it is slow no more.
        on_failed: called when the server refuses to send; nothing more can be sent then.
        unconfirmed: see above; None where `send` waits.
    """

    __slots__ = (
        "_begin",
        "_closed",
        "_is_writing",
        "_limit",
        "_loop",
        "_on_changed",
        "_on_failed",
        "_progress",
        "_room",
        "_send",
        "_sent",
        "_size",
        "_task",
        "_unconfirmed",
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
        unconfirmed: int | None = None,
    ) -> None:
        self._send = send
        self._limit = limit
        self._on_changed = on_changed
        self._on_failed = on_failed
        self._unconfirmed = unconfirmed
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        # The sum of the lengths of what waits, and of what was taken since the client's last frame.
        self._size = 0
        self._sent = 0
        self._closed = False
        # Whether pushes are refused; and when the reader last showed that it reads, as far as that matters.
        self.is_slow = False
        self._progress = 0.0
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
        self._waiting.append(text)
        self._size += len(text)
        self._sent += len(text)
        if not self._is_writing:
            self._is_writing = True
            self._task = self._begin(self._drain())

    def offer(self, text: str) -> bool:
        """Take a push if the reader keeps up; says whether it was taken."""
        if self.is_slow:
            return False
        if self._unconfirmed is None:
            is_full = self._size + len(text) > self._limit
        else:
            is_full = self._sent + len(text) > self._unconfirmed
        if is_full:
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

    def confirm(self) -> None:
        """Learn that the client has sent something, so that it is alive and most probably reads."""
        self._sent = 0
        if self._unconfirmed is not None and self.is_slow:
            self.drain()

    def stalled(self, *, now: float) -> float:
        """Return for how many seconds a slow reader has read nothing; 0.0 for one that is not slow."""
        return now - self._progress if self.is_slow else 0.0

    async def wait_for_room(self) -> None:
        """Return when an answer may be added."""
        while self._size > self._limit:
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
                self._note_written(len(text))
        except Exception as error:  # noqa: BLE001  each server has its own for a peer that is gone
            self.drop()
            self._on_failed(error)
        finally:
            self._is_writing = False

    def _note_written(self, length: int) -> None:
        self._size = max(0, self._size - length)
        if self._room is not None and self._size <= self._limit:
            self._room.set()
            self._room = None
        if self.is_slow and self._unconfirmed is None:
            self._progress = self._loop.time()
            if not self._waiting:
                self.drain()


def _begin_at_once(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Carry a coroutine out now; returns the task that goes on when it has to wait, None if it has not.

    Nearly no `send` ever waits, and a task for each frame costs more than the frame.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration:
        return None
    return asyncio.get_running_loop().create_task(_go_on(coroutine, waited))


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
