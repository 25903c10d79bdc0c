"""Queries of connections that come together: what is asked while one is under way goes into the next, as one.

After a restart everybody comes back at once. A thread and a query for each of them would be most of what that costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError

from djwsbridge.group_commit import READS_REST, GroupCommit
from djwsbridge.runtime import Runtime

__all__ = ["Together"]

AT_ONCE = 500  # items of one query: enough to pay for the thread, and the next one is near

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """A sync query that answers many, one group at a time on each node.

    Args:
        query: takes items and returns for each its result, or the exception that is raised where it was asked for. When
            it raises something itself that is not the database's, each item is tried alone: one that is no good spoils
            nothing for the others.
    """

    def __init__(self, query: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._query = query
        self._groups: WeakKeyDictionary[Runtime, GroupCommit[T, R]] = WeakKeyDictionary()

    def ask(self, node: Runtime, item: T) -> asyncio.Future[R]:
        """Return what will be the answer to one item; see `GroupCommit.submit`. Call it in the loop of the node."""
        group = self._groups.get(node)
        if group is None:
            group = self._groups[node] = GroupCommit(self._answer, at_once=AT_ONCE, rest=READS_REST)
        return group.submit(item)

    def _answer(self, items: Sequence[T]) -> Sequence[R | Exception]:
        try:
            return self._query(items)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  raised where it was asked for
            return [error] if len(items) == 1 else [self._answer([item])[0] for item in items]
