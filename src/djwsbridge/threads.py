"""The crossing from async to sync: services talk to the database in a bounded pool of threads.

The pool outlives a database that does not. A statement without an answer is cut off after `STUCK_AFTER`, so no thread
waits for ever; and after `FAILURES` in a row nobody is let in any more, but for one probe a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from djwsbridge.conf import settings

__all__ = [
    "Breaker",
    "OutcomeUnknown",
    "PoolBusy",
    "is_outcome_unknown",
    "run_service",
    "sqlstate_of",
]

P = ParamSpec("P")
T = TypeVar("T")

STUCK_AFTER = 2.5  # seconds without an answer to one statement; a client hears of it within three
CUT_PATIENCE = 0.3  # seconds in which a thread whose link was cut must have noticed
QUEUE_PATIENCE = 5.0  # seconds to wait for a thread
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


_breaker = Breaker()


class OutcomeUnknown(OperationalError):
    """The database did not answer, and nobody knows what it has done."""


class PoolBusy(OperationalError):
    """No thread became free in time; nothing was done."""


class _Job:
    """One service on its way through a thread, watched from the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # False while it waits for a thread.
        self.started = False
        # When something last happened: it came, gave the database something to do, got an answer.
        self._since = time.monotonic()
        # The connection that was used last, None before and after; and whether it has a statement to answer.
        self._database: BaseDatabaseWrapper | None = None
        self._asking = False
        # Why the caller does not wait any more; None while it does.
        self.given_up: OperationalError | None = None

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Note what happens on this thread's connections while the block runs."""
        self.started = True
        with contextlib.ExitStack() as stack:
            for alias in connections:
                stack.enter_context(connections[alias].execute_wrapper(self._execute))
            try:
                yield
            finally:
                with self._lock:
                    self._database = None

    def _execute(self, execute: Callable[..., T], *arguments: Any) -> T:
        """See Django's "database instrumentation"; the last argument is the context."""
        self._database, self._since = arguments[-1]["connection"], time.monotonic()
        self._asking = True
        try:
            return execute(*arguments)
        except (OperationalError, InterfaceError) as error:
            if sqlstate_of(error) is None:
                _drop_idle_connections(self._database)
            raise
        finally:
            self._asking, self._since = False, time.monotonic()

    def waits(self) -> float:
        """Return the seconds for which it has waited: for a thread, for a statement, for a commit."""
        database = self._database
        if self.started and not self._asking and (database is None or not _commits(database)):
            return 0.0
        return time.monotonic() - self._since

    def cut(self) -> None:
        """End the link that nothing comes through, so that the thread gets an error and is free again."""
        with self._lock, contextlib.suppress(Exception):
            database = self._database
            if database is not None and database.vendor == "postgresql":
                with socket.socket(fileno=os.dup(database.connection.fileno())) as link:
                    link.shutdown(socket.SHUT_RDWR)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.SERVICE_THREADS, thread_name_prefix="djwsbridge service")


async def run_service(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync service in a thread and return what it returns; what it raises is raised here.

    At most DJWSBRIDGE_SERVICE_THREADS run at once in a process; more callers wait their turn. Each thread keeps its
    database connection within Django's own rules (CONN_MAX_AGE, health checks).

    Where sync code waits for the caller (`async_to_sync`), its thread carries out the service, and so on its database
    connection and in its transaction: that is how the tests of Django's `TestCase` see what services do.

    Raises:
        OperationalError: also without asking, while the database is down; and when it does not answer.
    """
    service = functools.partial(function, *args, **kwargs)
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return await sync_to_async(service, thread_sensitive=True)()
    _breaker.enter()
    job = _Job()
    call = functools.partial(_call, job, service)
    running = asyncio.ensure_future(sync_to_async(call, thread_sensitive=False, executor=_pool())())
    with _watched(job, running):
        try:
            return await running
        except asyncio.CancelledError:
            if job.given_up is not None:
                raise job.given_up from None
            raise


def _call(job: _Job, function: Callable[[], T]) -> T:
    try:
        with job.watch():
            close_old_connections()
            try:
                result = function()
            finally:
                close_old_connections()
    except (OperationalError, InterfaceError) as error:
        if sqlstate_of(error) is None and "locked" not in str(error):
            _breaker.fail()
        raise
    _breaker.succeed()
    return result


@contextlib.contextmanager
def _watched(job: _Job, running: asyncio.Future[Any]) -> Iterator[None]:
    """Look at a job until the block ends; cut what is stuck, and give up what that does not help."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        patience, waited = STUCK_AFTER if job.started else QUEUE_PATIENCE, job.waits()
        if waited < patience:
            timer = loop.call_later(patience - waited, look)
        elif not job.started:
            job.given_up = PoolBusy("No thread became free.")
            running.cancel()
        else:
            job.cut()
            timer = loop.call_later(CUT_PATIENCE, give_up)

    def give_up() -> None:
        _breaker.fail()
        job.given_up = OutcomeUnknown("The database does not answer.")
        running.cancel()

    timer = loop.call_later(min(STUCK_AFTER, QUEUE_PATIENCE), look)
    try:
        yield
    finally:
        timer.cancel()


def _commits(database: BaseDatabaseWrapper) -> bool:
    """Say whether a transaction is being committed: `atomic` has ended and autocommit is not back."""
    return not database.in_atomic_block and not database.autocommit


def _drop_idle_connections(database: BaseDatabaseWrapper) -> None:
    """Forget a pool's other connections when one is lost: a database that was restarted has lost them all."""
    with contextlib.suppress(Exception):
        drain = getattr(getattr(database, "pool", None), "drain", None)
        if drain is not None:
            drain()


def sqlstate_of(error: Exception) -> str | None:
    """Return the code with which PostgreSQL has refused something; None when it has not said anything."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state if isinstance(state, str) else None


def is_outcome_unknown(error: Exception) -> bool:
    """Say whether nobody knows what became of a transaction: its commit failed, or was never answered."""
    if isinstance(error, OutcomeUnknown):
        return True
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is _COMMIT:
            return True
        traceback = traceback.tb_next
    return False


_COMMIT = BaseDatabaseWrapper._commit.__code__  # type: ignore[attr-defined]  # noqa: SLF001
