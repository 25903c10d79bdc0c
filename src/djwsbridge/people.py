"""Users who were looked up a moment ago, so that who connects or is written to costs no query each time.

What is known is young, and forgotten as soon as a node hears that a user has changed. No I/O and no clock.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

__all__ = ["FRESH", "People"]

FRESH = 30.0  # seconds for which a user is believed; half of what a revocation may take when nobody tells of it
MAX_KNOWN = 10_000  # users; beyond it the oldest are forgotten

U = TypeVar("U")


class People(Generic[U]):
    """User by key: the text of the primary key."""

    def __init__(self) -> None:
        # Key → (when it was asked for, user), oldest first; times in seconds of the loop's clock.
        self._known: dict[str, tuple[float, U]] = {}
        # Key → when it changed: an answer to an older question is worthless.
        self._changed: dict[str, float] = {}
        self._all_changed = -math.inf

    def get(self, key: str, *, now: float) -> U | None:
        """Return a user who was looked up a moment ago."""
        asked_at, user = self._known.get(key, (-FRESH, None))
        return user if now - asked_at < FRESH else None

    def put(self, key: str, user: U, *, asked_at: float) -> None:
        """Remember a user; nothing is remembered that has changed since it was asked for."""
        if self._changed.get(key, self._all_changed) >= asked_at:
            return
        self._known.pop(key, None)
        self._known[key] = (asked_at, user)
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def has_changed(self, key: str, *, since: float) -> bool:
        """Say whether a user may have changed since a moment."""
        return self._changed.get(key, self._all_changed) >= since

    def forget(self, key: str, *, now: float) -> None:
        """Learn that a user has changed."""
        self._known.pop(key, None)
        self._changed.pop(key, None)
        self._changed[key] = now
        if len(self._changed) > MAX_KNOWN:
            self.forget_all(now=now)

    def forget_all(self, *, now: float) -> None:
        """Learn that any user may have changed."""
        self._known.clear()
        self._changed.clear()
        self._all_changed = now
