"""Delays between attempts."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]

BASE = 0.5  # seconds; the first retry comes within this, so a lost packet is hardly noticed
CAP = 8.0  # seconds; nobody waits longer than this for a server that is back
REFUSED_CAP = 20.0  # seconds; a server that is there and refuses has too much to do already


class Backoff:
    """Give delays with full jitter, so that clients cut off together do not come back together.

    Args:
        random: returns a number from 0 up to, not including, 1.
        base: seconds; the bound of the first delay.
        cap: seconds; no delay is longer, but after a refusal.
    """

    def __init__(
        self, random: Callable[[], float], *, base: float = BASE, cap: float = CAP
    ) -> None:
        self._random = random
        self._cap = cap
        self._base = base
        # The bound of the next delay, before it is cut to a cap; doubles until it is past both.
        self._bound = base

    def next_delay(self, *, refused: bool = False) -> float:
        """Return the seconds to wait before the next attempt: a random part of a bound that doubles each time.

        Args:
            refused: the server was there and said no; then the bound may grow further.
        """
        bound = min(REFUSED_CAP if refused else self._cap, self._bound)
        self._bound = min(REFUSED_CAP, self._bound * 2)
        return self._random() * bound

    def reset(self) -> None:
        """Begin anew: something has succeeded."""
        self._bound = self._base
