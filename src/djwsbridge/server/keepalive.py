"""Pings for all open sockets of an event loop: one timer, not two per connection."""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

__all__ = ["Keepalive", "keepalive_of"]

PATIENCE = 2  # pings without any sign of life; with the next one due the peer counts as gone


class Pinged(Protocol):
    """What the keepalive needs of a socket."""

    # Pings since the peer was last heard; the socket sets it to 0 whenever something comes in.
    silence: int

    def keep_alive(self) -> None:
        """Send a ping."""

    def abort(self) -> None:
        """End the connection now."""


class Keepalive:
    """Ping each socket once in an interval, in slots of a second, and end those that do not answer.

    Args:
        loop: whose timer is used.
        interval: seconds between two pings of a socket, at least one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self._loop = loop
        self._slots: list[dict[Pinged, None]] = [{} for _ in range(max(1, round(interval)))]
        # The slot whose turn it is next; new sockets join the one before, so that a whole interval passes first.
        self._turn = 0
        # None while there is nobody to ping.
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: Pinged) -> int:
        """Ping a socket from now on; returns its slot, to be given to `discard`."""
        slot = (self._turn - 1) % len(self._slots)
        self._slots[slot][socket] = None
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self._tick)
        return slot

    def discard(self, socket: Pinged, slot: int) -> None:
        """Ping a socket no more."""
        self._slots[slot].pop(socket, None)

    def _tick(self) -> None:
        due = list(self._slots[self._turn])
        self._turn = (self._turn + 1) % len(self._slots)
        is_needed = any(self._slots)
        self._timer = self._loop.call_later(1.0, self._tick) if is_needed else None
        for socket in due:
            if socket.silence > PATIENCE - 1:
                socket.abort()
            else:
                socket.silence += 1
                socket.keep_alive()


_keepalives: WeakKeyDictionary[asyncio.AbstractEventLoop, Keepalive] = WeakKeyDictionary()


def keepalive_of(loop: asyncio.AbstractEventLoop, interval: float) -> Keepalive:
    """Return the keepalive of an event loop; the first interval that is asked for decides."""
    if loop not in _keepalives:
        _keepalives[loop] = Keepalive(loop, interval)
    return _keepalives[loop]
