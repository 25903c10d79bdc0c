"""The deadlines of the connections of one node: a look at each when there may be something to see, with one timer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Hashable
from typing import Protocol

from djwsbridge.wheel import SLOT, Wheel

__all__ = ["Deadlines"]

logger = logging.getLogger("djwsbridge.deadlines")


class Watched(Hashable, Protocol):
    """What this needs of a connection."""

    def check(self, *, now: float) -> float:
        """Look at the deadlines; returns the seconds after which to look again."""


class Deadlines:
    """When to look at which connection.

    Args:
        members: the connections; what is none any more is not looked at again.
    """

    def __init__(self, members: Collection[Watched]) -> None:
        self._members = members
        self._loop = asyncio.get_running_loop()
        self._wheel: Wheel[Watched] = Wheel()

    def plan(self, member: Watched, *, within: float) -> None:
        """Look at a connection in so many seconds, or earlier."""
        self._wheel.put(member, self._loop.time() + within)

    def forget(self, member: Watched) -> None:
        """Look at a connection no more."""
        self._wheel.discard(member)

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(SLOT)
            now = self._loop.time()
            for member in self._wheel.take(now):
                try:
                    wait = member.check(now=now)
                except Exception:
                    logger.exception("The deadlines of a connection cannot be checked.")
                    wait = 1.0
                if member in self._members:
                    self._wheel.put(member, now + wait)
