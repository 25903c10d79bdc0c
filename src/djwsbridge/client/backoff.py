"""Delays between attempts."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]

BASE = 0.5  # seconds; the first retry comes within this, so a lost packet is hardly noticed
CAP = 20.0  # seconds; nobody waits longer than this for a server that is back


class Backoff:
    """Give delays with full jitter, so that clients cut off together do not come back together.

    Args:
        random: returns a number from 0 up to, not including, 1.
        base: seconds; the bound of the first delay.
        cap: seconds; no delay is longer.
    """

    def __init__(
        self, random: Callable[[], float], *, base: float = BASE, cap: float = CAP
    ) -> None:
        self._random = random
        self._cap = cap
        self._base = base
        # The bound of the next delay; doubles until it is the cap.
        self._bound = base

    def next_delay(self) -> float:
        """Return the seconds to wait before the next attempt: a random part of a bound that doubles each time."""
        bound = min(self._cap, self._bound)
        self._bound = min(self._cap, bound * 2)
        return self._random() * bound

    def reset(self) -> None:
        """Begin anew: something has succeeded."""
        self._bound = self._base
