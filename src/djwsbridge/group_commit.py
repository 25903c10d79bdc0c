"""Group commit: what arrives while a transaction is under way goes into the next one, together.

One lock, one insert and one fsync then serve many senders (Helland et al., "Group Commit Timers and High Volume
Transaction Systems", 1987; here without a timer: nobody waits for company). A sender alone waits for nobody either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.threads import ServiceThread

__all__ = ["READS_REST", "GroupCommit"]

MAX_GROUP = 500  # items of one transaction: about 10 ms of database work, so that nobody waits long for the next
READS_REST = 30.0  # of a service that only reads: a busy process gives it a thirtieth of its time
MAX_REST = 0.5  # seconds
LOOK = 0.005  # seconds between two looks, during a rest, at how busy the process is
BUSY = 0.8  # of one core: a process with more to do than that gathers on
MAX_WAITING = 10_000  # items; beyond it the database is too slow for what comes in, and senders are told `busy`

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Carry out a service for groups of items.

    Belongs to the event loop in which it is made.

    Args:
        service: sync; takes items in the order of their arrival and returns for each its result, or the exception that
            is raised where the item was submitted. What it raises itself meets every item of the group.
        at_once: items of one group at most.
        rest: after a group, for how many times as long as it took items are gathered (0.5 s at most) while the process
            is busy. A service that is quicker than its items come would see groups of one or two, and each costs a
            thread. Who asks when nobody has asked lately never waits, nor anybody for long where there is time.
    """

    def __init__(
        self,
        service: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        at_once: int = MAX_GROUP,
        rest: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._at_once = at_once
        self._rest = rest
        # When the last group has left and when the next one may, in seconds of the loop's clock.
        self._left = self._next = 0.0
        self._thread = ServiceThread()
        # In order of arrival.
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        # Whether a group is under way, or about to leave.
        self._is_busy = False

    def submit(self, item: T) -> asyncio.Future[R]:
        """Return what will be the result of one item, when its transaction has committed.

        The future raises `CommandError` (`busy`) when too many are waiting; or what the service has for this item.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(CommandError(ErrorCode.BUSY))
            return future
        self._waiting.append((item, future))
        if not self._is_busy:
            self._is_busy = True
            self._leave_soon()
        return future

    def _leave_soon(self) -> None:
        """Let the next group leave with all that comes in this turn of the loop, or until it may."""
        if self._rest and self._loop.time() < self._next:
            self._rest_on()
        else:
            self._loop.call_soon(self._leave)

    def _rest_on(self) -> None:
        due = min(self._next, self._loop.time() + LOOK)
        self._loop.call_at(due, self._look, time.monotonic(), time.process_time())

    def _look(self, since: float, used: float) -> None:
        """Leave when the rest is over, or when the process has been idle: then a small group costs nobody anything."""
        is_idle = time.process_time() - used < BUSY * (time.monotonic() - since)
        if is_idle or self._loop.time() >= self._next:
            self._leave()
        else:
            self._rest_on()

    def _leave(self) -> None:
        """Carry out the next group."""
        self._left = self._loop.time()
        group, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
        items = [item for item, _ in group]
        self._thread.call(partial(self._service, items), partial(self._settle, group))

    def _settle(
        self,
        group: Sequence[tuple[T, asyncio.Future[R]]],
        outcome: Sequence[R | Exception] | Exception,
    ) -> None:
        """Tell everybody of a group, and let the next one leave."""
        if self._rest:
            now = self._loop.time()
            self._next = now + min(MAX_REST, self._rest * (now - self._left))
        if len(self._waiting) >= self._at_once or (self._waiting and not self._rest):
            self._leave()
        elif self._waiting:
            self._leave_soon()
        else:
            self._is_busy = False
        results = [outcome] * len(group) if isinstance(outcome, Exception) else outcome
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue  # whoever asked has gone; it is stored all the same
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
