"""Deadlines of very many things at the cost of one timer: a wheel of slots (Varghese and Lauck, 1987).

No I/O and no clock: whoever turns the wheel says what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["SLOT", "Wheel"]

SLOT = 0.5  # seconds; nothing is looked at earlier than asked for, and at most two slots later

T = TypeVar("T", bound=Hashable)


class Wheel(Generic[T]):
    """When to look at whom next."""

    def __init__(self) -> None:
        # Slot → whom to look at then; no empty slot is kept. And the other way round.
        self._slots: dict[int, dict[T, None]] = {}
        self._planned: dict[T, int] = {}

    def put(self, item: T, at: float) -> None:
        """Look at something at a time, in seconds; an earlier look that is planned stays."""
        slot, planned = math.ceil(at / SLOT), self._planned.get(item)
        if planned is not None:
            if planned <= slot:
                return
            self.discard(item)
        self._planned[item] = slot
        self._slots.setdefault(slot, {})[item] = None

    def discard(self, item: T) -> None:
        """Look at something no more."""
        slot = self._planned.pop(item, None)
        if slot is not None:
            items = self._slots[slot]
            del items[item]
            if not items:
                del self._slots[slot]

    def take(self, now: float) -> list[T]:
        """Return everything whose time has come; it is to be put again."""
        due: list[T] = []
        for slot in sorted(slot for slot in self._slots if slot * SLOT <= now):
            due.extend(self._slots.pop(slot))
        for item in due:
            del self._planned[item]
        return due
