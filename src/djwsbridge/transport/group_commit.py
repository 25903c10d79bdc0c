"""Group commit: what arrives while a transaction is under way goes into the next one, together.

One lock, one insert and one fsync then serve many senders (Helland et al., "Group Commit Timers and High Volume
Transaction Systems", 1987; here without a timer: nobody waits for company). A sender alone waits for nobody either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.threads import run_service

__all__ = ["GroupCommit"]

MAX_GROUP = 500  # items of one transaction: about 10 ms of database work, so that nobody waits long for the next
MAX_WAITING = 10_000  # items; beyond it the database is too slow for what comes in, and senders are told `busy`

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Carry out a service for groups of items.

    Belongs to the event loop in which it is used.

    Args:
        service: sync; takes items in the order of their arrival and returns for each its result, or the exception that
            is raised where the item was submitted. What it raises itself meets every item of the group.
    """

    def __init__(self, service: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._service = service
        # In order of arrival.
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        # Runs while anything waits, else None.
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Return the result of one item, when its transaction has committed.

        Raises:
            CommandError: `busy`, too many are waiting; or what the service has for this item.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise CommandError(ErrorCode.BUSY)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                for (_, future), result in zip(group, await self._carry_out(group), strict=True):
                    if future.done():
                        continue  # whoever asked has gone; it is stored all the same
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._task = None

    async def _carry_out(
        self, group: Sequence[tuple[T, asyncio.Future[R]]]
    ) -> Sequence[R | Exception]:
        try:
            return await run_service(self._service, [item for item, _ in group])
        except Exception as error:  # noqa: BLE001  it is raised again, for every item
            return [error] * len(group)
