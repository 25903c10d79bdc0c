"""The crossing from async to sync: services talk to the database in a bounded pool of threads.

The pool outlives a database that does not. A statement without an answer is cut off after `STUCK_AFTER`, so no thread
waits for ever; and while it is down, nobody is let in but for one probe a second (`breaker`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.db import (
    InterfaceError,
    OperationalError,
    ProgrammingError,
    close_old_connections,
    connections,
)
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from djwsbridge.breaker import Breaker
from djwsbridge.conf import settings
from djwsbridge.tenancy import check_tenant
from djwsbridge.thread_pool import NoThread, ThreadPool, end_threads

__all__ = [
    "OutcomeUnknown",
    "PoolBusy",
    "ServiceThread",
    "is_outcome_unknown",
    "lacks_table",
    "run_service",
    "sqlstate_of",
]

P = ParamSpec("P")
T = TypeVar("T")

STUCK_AFTER = 2.5  # seconds without an answer to one statement; a client hears of it within three
CUT_PATIENCE = 0.3  # seconds in which a thread whose link was cut must have noticed
QUEUE_PATIENCE = 5.0  # seconds to wait for a thread
LINGER = 60.0  # seconds for which a thread lives, with its connection, when nothing comes
SERVICE_THREAD_LINGER = 1.0  # the same, of a service thread
STUCK_THREADS = 4  # of one service thread that never came back; then it begins no further one


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
            with self._lock:
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
            if database is not None and database.vendor == "postgresql" and self.waits():
                # If the answer comes right now, no statement fails. Then Django has to test the connection.
                database.errors_occurred = True
                with socket.socket(fileno=os.dup(database.connection.fileno())) as link:
                    link.shutdown(socket.SHUT_RDWR)


@functools.cache
def _pool() -> ThreadPool:
    return ThreadPool(settings.SERVICE_THREADS, "djwsbridge service", linger=LINGER)


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
    if _sync_code_waits():
        return await sync_to_async(service, thread_sensitive=True)()
    _breaker.enter()
    job = _Job()
    running = asyncio.ensure_future(_pool().run(_call, job, service))
    with _watched(job, running):
        try:
            return await running
        except NoThread as error:
            raise PoolBusy("No thread can be begun.") from error
        except asyncio.CancelledError:
            if job.given_up is not None:
                raise job.given_up from None
            raise


def _sync_code_waits() -> bool:
    """Say whether `async_to_sync` waits for the caller, or for a task that began in a context of its own.

    The second is how the testing tools of asgiref and Channels run an application.
    """
    if getattr(AsyncToSync.executors, "current", None) is not None:
        return True
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


def _call(
    job: _Job, function: Callable[[], T], *, tidy: Callable[[], None] = close_old_connections
) -> T:
    try:
        with job.watch():
            tidy()
            try:
                result = function()
            finally:
                tidy()
    except (OperationalError, InterfaceError) as error:
        if sqlstate_of(error) is None and "locked" not in str(error) and not lacks_table(error):
            _breaker.fail()
        raise
    _breaker.succeed()
    return result


@contextlib.contextmanager
def _watched(job: _Job, running: asyncio.Future[Any]) -> Iterator[None]:
    """Look at a job until the block ends; cut what is stuck, and give up what that does not help."""
    watch = _Watch(job, running.cancel)
    try:
        yield
    finally:
        watch.end()


class _Watch:
    """Look at a job until the end; cut what is stuck, and give up what that does not help.

    Args:
        job: what is looked at.
        on_given_up: called when nobody waits for the job any more; `job.given_up` says why.
    """

    def __init__(self, job: _Job, on_given_up: Callable[[], object]) -> None:
        self._job = job
        self._on_given_up = on_given_up
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(min(STUCK_AFTER, QUEUE_PATIENCE), self._look)

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        job = self._job
        patience, waited = STUCK_AFTER if job.started else QUEUE_PATIENCE, job.waits()
        if waited < patience:
            self._timer = self._loop.call_later(patience - waited, self._look)
        elif not job.started:
            self._give_up(PoolBusy("No thread became free."))
        else:
            job.cut()
            self._timer = self._loop.call_later(CUT_PATIENCE, self._give_up_stuck)

    def _give_up_stuck(self) -> None:
        _breaker.fail()
        self._give_up(OutcomeUnknown("The database does not answer."))

    def _give_up(self, error: OperationalError) -> None:
        self._job.given_up = error
        self._on_given_up()


class ServiceThread:
    """A thread of its own for calls that follow each other closely, one after the other.

    What `run_service` promises, at a fifth of its cost: no context of the caller comes along, and the thread keeps its
    database connection from one call to the next, also where CONN_MAX_AGE is 0 (not one of a pool: others may wait for
    it). Without calls the thread ends, and its connection with it.

    Belongs to the event loop in which it is used.
    """

    def __init__(self) -> None:
        self._pool = self._new_pool()
        # Whose threads have a call that was given up.
        self._stuck: set[ThreadPool] = set()

    def call(self, function: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        """Run a sync function in the thread, then tell the loop what it returned or raised.

        Args:
            function: see `run_service`.
            then: called in the event loop, once, with the value or the exception.
        """
        if _sync_code_waits():
            task = asyncio.ensure_future(run_service(function))
            task.add_done_callback(lambda done: then(_try(done.result)))
            return
        loop, job = asyncio.get_running_loop(), _Job()
        try:
            _breaker.enter()
            pool = self._free_pool()
        except OperationalError as error:
            loop.call_soon(then, error)
            return

        def settle(outcome: T | Exception) -> None:
            if job.given_up is None:
                watch.end()
                then(outcome)

        def give_up() -> None:
            if job.started:
                self._stuck.add(pool)
            then(job.given_up or OutcomeUnknown())

        watch = _Watch(job, give_up)
        try:
            pool.submit(_carry_out, job, function, functools.partial(_tell, loop, settle))
        except NoThread:
            loop.call_soon(settle, PoolBusy("No thread can be begun."))

    def _free_pool(self) -> ThreadPool:
        """Return the pool, another one when its thread is stuck."""
        if self._pool in self._stuck:
            self._stuck = {pool for pool in self._stuck if pool.is_alive}
            if len(self._stuck) >= STUCK_THREADS:
                raise PoolBusy("The threads do not come back.")
            self._pool = self._new_pool()
        return self._pool

    def _new_pool(self) -> ThreadPool:
        return ThreadPool(1, "djwsbridge service thread", linger=SERVICE_THREAD_LINGER)


def _carry_out(job: _Job, function: Callable[[], Any], tell: Callable[[Any], None]) -> None:
    if job.given_up is None:
        # In a new context: Django keeps the time zone and the language of the current request in it.
        tell(_try(functools.partial(contextvars.Context().run, _call_of_own_tenant, job, function)))


def _call_of_own_tenant(job: _Job, function: Callable[[], T]) -> T:
    """Make a call, unless DATABASE_ROUTERS want a context that this thread does not have."""
    check_tenant()
    return _call(job, function, tidy=_keep_connections)


def _try(function: Callable[[], T]) -> T | Exception:
    try:
        return function()
    except BaseException as error:  # noqa: BLE001  it is raised where it was asked for, and the thread goes on
        return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _tell(
    loop: asyncio.AbstractEventLoop, settle: Callable[[T | Exception], None], outcome: T | Exception
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(settle, outcome)


def _keep_connections() -> None:
    """Close connections by Django's rules, but not those whose rule is to end with their request: it goes on."""
    for connection in connections.all(initialized_only=True):
        ends_with_request = connection.settings_dict["CONN_MAX_AGE"] == 0
        is_pooled = getattr(connection, "pool", None) is not None
        if is_pooled or connection.errors_occurred or not ends_with_request:
            connection.close_if_unusable_or_obsolete()


def _commits(database: BaseDatabaseWrapper) -> bool:
    """Say whether a transaction is being committed: `atomic` has ended and autocommit is not back."""
    return not database.in_atomic_block and not database.autocommit


def drop_broken_connections() -> None:
    """Let Django's async ORM connect again after the database was lost.

    Outside of HTTP requests, asgiref runs every `await Model.objects.aget()` of a process in one thread. No request
    ends there, so Django never looks at the connection of this thread.
    """
    executor = SyncToAsync.single_thread_executor
    if executor._threads:  # noqa: SLF001  beginning the thread could stop the event loop, see `ThreadPool`
        executor.submit(close_old_connections)


def let_go_of_database(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Close the connections of idle threads before Django drops a test database: PostgreSQL drops none that is in use.

    A receiver of `connection_created`. Django creates, copies and drops databases over a connection to no database,
    and makes such a connection for nothing else.
    """
    if connection.alias != NO_DB_ALIAS:
        return
    end_threads(STUCK_AFTER)
    executor = SyncToAsync.single_thread_executor
    if executor._threads and threading.current_thread() not in executor._threads:  # noqa: SLF001  as above
        with contextlib.suppress(concurrent.futures.TimeoutError):
            executor.submit(connections.close_all).result(STUCK_AFTER)


connection_created.connect(let_go_of_database, dispatch_uid="djwsbridge.threads")


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


def lacks_table(error: BaseException) -> bool:
    """Say whether a table or a column is not there; of SQLite it looks like a database that is down."""
    if isinstance(error, OperationalError):
        return str(error).startswith(("no such table", "no such column"))
    return isinstance(error, ProgrammingError) and sqlstate_of(error) in {"42P01", "42703"}


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
