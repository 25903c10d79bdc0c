"""Lines of the log about what clients cause: however often it happens, one line a minute for each reason."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["SHOWN", "Notices", "show"]

INTERVAL = 60.0  # seconds
SHOWN = 200  # characters of what a client has sent


def show(text: str) -> str:
    """Write what a client has sent on one line, in ASCII, and not all of it if it is long."""
    return ascii(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


class Notices:
    """Write to a logger once a minute for each reason; of what is left out, the next line tells how often.

    Args:
        logger: where to write.
        clock: returns seconds that never go back.
    """

    def __init__(
        self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock = clock
        # Several event loops and threads may serve in one process.
        self._lock = threading.Lock()
        # Reason → when it may be told again, and how often it was left out since the last line. Reasons are words of
        # ours, so there are few.
        self._told: dict[str, tuple[float, int]] = {}

    def write(self, reason: str, text: str, *, level: int = logging.WARNING) -> None:
        """Write a line, unless there was one for this reason within the last minute.

        Args:
            reason: a word of the code, never of a client.
            text: one line without secrets; what a client has sent is in it as `show` writes it.
            level: of the line.
        """
        if not self._logger.isEnabledFor(level):
            return
        now = self._clock()
        with self._lock:
            due, left_out = self._told.get(reason, (now, 0))
            if now < due:
                self._told[reason] = (due, left_out + 1)
                return
            self._told[reason] = (now + INTERVAL, 0)
        more = f" ({left_out} more like this since the last line.)" if left_out else ""
        self._logger.log(level, "%s%s", text, more)
