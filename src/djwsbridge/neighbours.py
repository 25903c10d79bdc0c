"""Notice another server process of the same site that this one cannot hear, because its engine is for itself alone.

Pushes of one such process never reach the clients of the other, or seconds late where they are durable. Nothing else
would say so: every process works. Only processes that serve take part; commands and task workers come and go.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings as django_settings
from django.db import connections

from djwsbridge.durable import DurableLog, installed_log

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["watch"]

logger = logging.getLogger("djwsbridge.node")

INTERVAL = (
    30.0  # seconds between two looks; longer than a process that is being replaced takes to end
)
REMINDER = 3_600.0  # seconds between two errors

# The process whose thread is watching; a child of it has none.
_watching_pid = 0


def watch() -> None:
    """Look for other server processes from now on, in a thread of its own; does nothing when called again."""
    global _watching_pid  # noqa: PLW0603
    if _watching_pid != os.getpid():
        _watching_pid = os.getpid()
        threading.Thread(target=_run, name="djwsbridge neighbours", daemon=True).start()


def _run() -> None:
    log = installed_log()
    neighbours = _Lock() if log is None else _Beats(log)
    next_error = 0.0
    while True:
        time.sleep(INTERVAL)
        try:
            is_alone = not neighbours.look()
        except Exception as error:  # noqa: BLE001  the database may be down; the next look comes
            logger.debug("Other server processes could not be looked for: %r", error)
            continue
        if not is_alone and time.monotonic() >= next_error:
            next_error = time.monotonic() + REMINDER
            _report()


def _report() -> None:
    logger.error(
        "Another server process of this site runs, and this one cannot hear it: the engine of each is for itself "
        "alone. Pushes of one never reach the clients of the other, or seconds late if they are durable. Set "
        'DJWSBRIDGE_ENGINE to "redis" and DJWSBRIDGE_REDIS_URL, or name a channel layer on Redis, or serve with one '
        "process."
    )


class _Beats:
    """Server processes by what each of them notes down in the log, on a topic that no client can listen to."""

    def __init__(self, log: DurableLog) -> None:
        self._log = log
        self._server = uuid.uuid4().hex
        # The newest number of each other process at the last look. One that is older was noted by a process that has
        # ended since: it proves nothing.
        self._others: Mapping[str, int] = {}

    def look(self) -> bool:
        """Note that this process lives; say whether another one has lived since the look before."""
        before = self._others
        try:
            self._others = self._log.meet(self._server, seconds=3 * INTERVAL)
        finally:
            connections[self._log.using()].close()
        return any(before.get(other, seq) != seq for other, seq in self._others.items())


class _Lock:
    """Server processes of one machine, where there is no log: one of them holds a lock on a file."""

    def __init__(self) -> None:
        places = [
            [alias, *(str(one.get(key)) for key in ("NAME", "HOST", "PORT"))]
            for alias, one in sorted(django_settings.DATABASES.items())
        ]
        site = hashlib.sha256(repr((django_settings.SECRET_KEY, places)).encode()).hexdigest()
        self._path = Path(tempfile.gettempdir()) / f"djwsbridge-{site[:32]}.lock"
        # Open while this process holds the lock; None otherwise.
        self._held: int | None = None
        # How many looks running have found another process that holds it.
        self._found = 0

    def look(self) -> bool:
        """Take the lock; say whether another process has held it for two looks."""
        self._found = 0 if self._is_taken() else self._found + 1
        return self._found > 1

    def _is_taken(self) -> bool:
        """Say whether this process holds the lock, which it may just have taken."""
        if self._held is not None or fcntl is None:
            return True
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = file
            return True
        os.close(file)
        return False
