"""How fast a user may send over HTTP: as fast as over a socket, counted per process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.server import RateLimit, WindowCounter

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["count_send"]

MAX_COUNTERS = 100_000  # users that are remembered; beyond it the oldest are forgotten

# Requests are served in many threads.
_lock = threading.Lock()
_counters: dict[object, WindowCounter] = {}


def count_send(actor: AbstractBaseUser) -> None:
    """Count one message of a user.

    Raises:
        CommandError: `rate_limited`.
    """
    limit = RateLimit(*settings.SEND_RATE)
    with _lock:
        counter = _counters.get(actor.pk)
        if counter is None or counter.limit != limit:
            if len(_counters) >= MAX_COUNTERS:
                del _counters[next(iter(_counters))]
            counter = _counters[actor.pk] = WindowCounter(limit)
        wait = counter.add(time.monotonic())
    if wait:
        raise CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
