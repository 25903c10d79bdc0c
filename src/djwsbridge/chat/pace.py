"""Tell what changes often no more often than somebody can follow. No I/O, no clock: they are told the time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Coalescer", "Throttle"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass
class _Slot(Generic[V]):
    """One key: what was passed on, until when nothing else is, and what waits."""

    sent: V
    until: float
    waiting: V | None = None


class Coalescer(Generic[K, V]):
    """Pass on the newest value of each key, at most once per interval; the last one always goes out.

    Holds what was passed on within the last interval, and nothing older.

    Args:
        interval: seconds.
        merge: what two values of a key make together, the older one first.
    """

    def __init__(self, interval: float, merge: Callable[[V, V], V]) -> None:
        self._interval = interval
        self._merge = merge
        # In the order of their `until`.
        self._slots: dict[K, _Slot[V]] = {}

    @property
    def deadline(self) -> float | None:
        """Return when `take_due` is worth asking; None while there is nothing."""
        return next(iter(self._slots.values())).until if self._slots else None

    def put(self, key: K, value: V, *, now: float) -> V | None:
        """Take a value; returns it if it is to be passed on now, None when it waits."""
        slot = self._slots.get(key)
        if slot is None:
            self._slots[key] = _Slot(value, now + self._interval)
            return value
        known = slot.sent if slot.waiting is None else slot.waiting
        slot.waiting = self._merge(known, value)
        return None

    def take_due(self, *, now: float) -> list[V]:
        """Return what has waited for its interval; what has said nothing new is forgotten."""
        due: list[V] = []
        while (deadline := self.deadline) is not None and deadline <= now:
            key = next(iter(self._slots))
            slot = self._slots.pop(key)
            if slot.waiting is not None and slot.waiting != slot.sent:
                due.append(slot.waiting)
                self._slots[key] = _Slot(slot.waiting, now + self._interval)
        return due


class Throttle(Generic[K]):
    """Admit each key once per interval.

    Args:
        interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        # Key → when it is admitted again, in that order.
        self._until: dict[K, float] = {}

    def admit(self, key: K, *, now: float) -> bool:
        """Say whether it is this key's turn."""
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        if key in self._until:
            return False
        self._until[key] = now + self._interval
        return True
