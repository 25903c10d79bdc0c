"""A client that takes nothing of what was written to it: a closed transport waits for it, for ever."""

from __future__ import annotations

import asyncio

__all__ = ["Unread"]

UNREAD_TIMEOUT = (
    60.0  # seconds in which a client has to take something; nginx gives as many (`send_timeout`)
)


class Unread:
    """End a connection whose client does not read.

    Args:
        transport: of the connection, which may be closing.
        loop: whose timer is used.
    """

    __slots__ = ("_loop", "_size", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        # None while all is read, or the client reads.
        self._timer: asyncio.TimerHandle | None = None
        # Bytes that waited for the client when it was last looked at.
        self._size = 0

    def watch(self) -> None:
        """Give the client a whole UNREAD_TIMEOUT from now on. Nothing more may be written before it reads."""
        self.stop()
        self._size = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(UNREAD_TIMEOUT, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        size = self._transport.get_write_buffer_size()
        self._timer = None
        if size and size >= self._size:
            self._transport.abort()
        elif size:
            self.watch()
