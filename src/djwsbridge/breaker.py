"""Whether it makes sense to ask the database: after some failures in a row nobody does, but for one probe a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.db import OperationalError

__all__ = ["Breaker"]

FAILURES = 3  # in a row, until the database counts as down; one lost connection is no outage
PROBE_INTERVAL = 1.0  # seconds between two tries to reach a database that is down


class Breaker:
    """Says whether it makes sense to ask the database. Callable from every thread.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Failures since the last success.
        self._failures = 0
        # When the next probe may be made.
        self._probe_at = 0.0

    def enter(self) -> None:
        """Let somebody ask.

        Raises:
            OperationalError: the database is down, and it was tried less than a second ago.
        """
        with self._lock:
            if self._failures < FAILURES:
                return
            now = self._clock()
            if now < self._probe_at:
                raise OperationalError("The database is down.")
            self._probe_at = now + PROBE_INTERVAL

    def succeed(self) -> None:
        """Learn that the database answers."""
        self._failures = 0

    def fail(self) -> None:
        """Learn that it does not."""
        with self._lock:
            self._failures += 1
            self._probe_at = self._clock() + PROBE_INTERVAL
