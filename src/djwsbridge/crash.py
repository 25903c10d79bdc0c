"""Places where a test may kill this process: what is promised must hold at every one of them.

Nothing happens unless `DJWSBRIDGE_CRASH_POINT` names the place; then this process ends there, without a last word, with
the probability `DJWSBRIDGE_CRASH_RATE` (1 by default). For tests of one's own deployment, never for a public site.
"""

from __future__ import annotations

import enum
import functools
import os
import random
import signal

__all__ = ["CrashPoint", "crash", "crash_now", "is_armed", "is_due"]


class CrashPoint(str, enum.Enum):
    """Where."""

    BEFORE_COMMIT = "before_commit"  # numbered and stored, not committed
    AFTER_COMMIT = "after_commit"  # committed, neither acknowledged nor pushed
    AFTER_ACK_BEFORE_PUBLISH = "after_ack_before_publish"  # acknowledged, not pushed


@functools.cache
def _order() -> tuple[str | None, float]:
    """Return the place and the probability; read once, every push asks."""
    rate = float(os.environ.get("DJWSBRIDGE_CRASH_RATE", "1"))
    return os.environ.get("DJWSBRIDGE_CRASH_POINT"), rate


def is_armed(point: CrashPoint) -> bool:
    """Say whether this process may be told to end here."""
    return _order()[0] == point.value


def is_due(point: CrashPoint) -> bool:
    """Say whether this process is to end here and now."""
    return is_armed(point) and random.random() < _order()[1]  # noqa: S311


def crash(point: CrashPoint) -> None:
    """End this process if that is due."""
    if is_due(point):
        crash_now()


def crash_now() -> None:
    """End this process without a last word."""
    os.kill(os.getpid(), signal.SIGKILL)
