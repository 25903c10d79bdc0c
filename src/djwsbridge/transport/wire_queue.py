"""The send queue of a connection whose server takes ready frames: the transport's own buffer is the queue.

What the connection is told alone leaves at the end of a turn of the loop, together with what is pushed to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from djwsbridge.hub import Hub
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.wire import Wire, text_frame

__all__ = ["WireQueue"]

# Bytes of answers after which they do not wait for the end of the turn: the transport then says whether they are too
# many, and the commands that came together with theirs wait.
AT_ONCE = 262_144


class WireQueue:
    """Write frames in order, without making their producer wait; see `SendQueue` for what a slow reader is.

    Args:
        wire: of the connection.
        hub: of the node; writes at the end of a turn.
        on_changed: called when the reader becomes slow and when it is slow no more.
    """

    __slots__ = (
        "_closed",
        "_drained",
        "_hub",
        "_left",
        "_loop",
        "_on_changed",
        "_progress",
        "_unwritten",
        "_wire",
        "is_slow",
    )

    def __init__(self, wire: Wire, hub: Hub, *, on_changed: Callable[[], None]) -> None:
        self._wire = wire
        self._hub = hub
        self._on_changed = on_changed
        self._loop = asyncio.get_running_loop()
        self._closed = False
        # Whether pushes are refused; when the reader last took something, and how much was left then.
        self.is_slow = False
        self._progress = 0.0
        self._left = 0
        # Bytes of answers since `AT_ONCE` was last reached; most of them are written by now.
        self._unwritten = 0
        # Set when nothing waits any more; None while nobody waits for that.
        self._drained: asyncio.Event | None = None

    @property
    def write(self) -> Callable[[bytes], None] | None:
        """Return what takes ready frames; None when they are to be offered one by one, to be refused."""
        return None if self._closed or self.is_slow else self._wire.write

    def put(self, text: str) -> None:
        """Take a frame; after the queue is closed it is dropped."""
        if self._closed:
            return
        frame = text_frame(text)
        self._hub.write_soon(self._wire.write, frame)
        self._unwritten += len(frame)
        if self._unwritten > AT_ONCE:
            self._unwritten = 0
            self._hub.write_now(self._wire.write)

    def offer(self, text: str) -> bool:
        """Take a push if the reader keeps up; says whether it was taken."""
        if self.is_slow:
            return False
        self.put(text)
        return True

    def fill(self) -> None:
        """Learn that too much waits."""
        self.is_slow = True
        self._progress = self._loop.time()
        self._left = self._wire.waiting
        self._on_changed()

    def drain(self) -> None:
        """Learn that nothing waits any more."""
        self.is_slow = False
        if self._drained is not None:
            self._drained.set()
        self._on_changed()

    def has_stalled(self, *, now: float, timeout: float) -> bool:
        """Say whether a slow reader has read nothing for `timeout` seconds."""
        if not self.is_slow:
            return False
        left = self._wire.waiting
        if left < self._left:
            self._progress = now
        self._left = left
        return now - self._progress >= timeout

    @property
    def has_room(self) -> bool:
        """Say whether an answer may be added."""
        return not self.is_slow

    def clear(self) -> None:
        """Do nothing: what waits is the transport's, and dropped with it."""

    def let_go(self) -> None:
        """Break the circle with the connection, which is over."""
        self._on_changed = _nothing

    def seal(self) -> None:
        """Take nothing more; what waits is still written."""
        self._closed = True
        self._on_changed()  # with it comes what was pushed in this turn of the loop
        self._hub.write_now(self._wire.write)

    def drop(self) -> None:
        """Take nothing more and write nothing more: the peer is gone."""
        self._closed = True
        self.is_slow = False
        self._hub.forget(self._wire.write)
        self._on_changed()

    async def close(self, reason: CloseConnection) -> None:
        """Close the connection."""
        self._wire.close(int(reason.close_code), reason.error.code.value)

    async def finish(self, timeout: float) -> None:
        """Take nothing more and return when nothing waits, or after `timeout` seconds."""
        self.seal()
        if self.is_slow:
            self._drained = asyncio.Event()
            waiting = asyncio.ensure_future(self._drained.wait())
            await asyncio.wait({waiting}, timeout=timeout)
            waiting.cancel()


def _nothing() -> None:
    """Do nothing."""
