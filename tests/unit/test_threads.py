"""The crossing to the database's threads: what callers hear when the database is slow, gone or silent."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import functools
import threading
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase

from djwsbridge import threads
from djwsbridge.breaker import Breaker
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.threads import (
    OutcomeUnknown,
    PoolBusy,
    ServiceThread,
    is_outcome_unknown,
    run_service,
)
from djwsbridge.transport.failures import failure_of
from tests.servers import TIMEOUT


@pytest.fixture(autouse=True)
def breaker(monkeypatch: pytest.MonkeyPatch) -> Breaker:
    """Give every test a database that nobody has complained about."""
    fresh = Breaker()
    monkeypatch.setattr(threads, "_breaker", fresh)
    return fresh


def lost() -> None:
    raise OperationalError("server closed the connection unexpectedly")


# -- the breaker ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_lost_connection_is_no_outage() -> None:
    breaker = Breaker(Clock())
    for _ in range(10):
        breaker.fail()
        breaker.fail()
        breaker.succeed()
    breaker.enter()


def test_three_failures_in_a_row_let_one_in_a_second() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(3):
        breaker.enter()
        breaker.fail()
    for _ in range(3):
        with pytest.raises(OperationalError, match="down"):
            breaker.enter()
        clock.now += 1.0
        breaker.enter()  # the probe
        with pytest.raises(OperationalError):
            breaker.enter()  # which is the only one
    breaker.succeed()
    breaker.enter()


async def test_a_database_that_is_down_is_not_asked() -> None:
    for _ in range(3):
        with pytest.raises(OperationalError, match="unexpectedly"):
            await run_service(lost)
    with pytest.raises(OperationalError, match="down"):
        await run_service(lost)


async def test_a_locked_database_is_not_down() -> None:
    def locked() -> None:
        raise OperationalError("database is locked")

    for _ in range(5):
        with pytest.raises(OperationalError, match="locked"):
            await run_service(locked)


async def test_a_database_without_a_table_is_not_down() -> None:
    def ask() -> None:
        raise OperationalError("no such table: people_chat")

    for _ in range(5):
        with pytest.raises(OperationalError, match="no such table"):
            await run_service(ask)


# -- what is said of a failure ----------------------------------------------------------------------------------------


class Refused(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def refused(state: str) -> OperationalError:
    error = OperationalError("no")
    error.__cause__ = Refused(state)
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("database is locked"), ErrorCode.BUSY),
        (PoolBusy("no thread"), ErrorCode.BUSY),
        (refused("40001"), ErrorCode.BUSY),  # serialisation
        (refused("57014"), ErrorCode.BUSY),  # statement_timeout
        (refused("55P03"), ErrorCode.BUSY),  # lock_timeout
        (refused("57P01"), ErrorCode.DB_UNAVAILABLE),  # the server stops
        (OperationalError("connection refused"), ErrorCode.DB_UNAVAILABLE),
        (OutcomeUnknown("silence"), ErrorCode.COMMIT_UNKNOWN),
    ],
    ids=str,
)
def test_what_the_client_is_told(error: Exception, code: ErrorCode) -> None:
    failure = failure_of(error)
    assert failure.code is code
    assert failure.retryable


def missing_table() -> ProgrammingError:
    error = ProgrammingError('relation "people_chat" does not exist')
    error.__cause__ = Refused("42P01")
    return error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("no such table: people_chat"),
        OperationalError("no such column: people_chat.title"),
        missing_table(),
    ],
    ids=str,
)
def test_a_missing_table_is_the_projects_mistake(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failure = failure_of(error)
    assert failure.code is ErrorCode.INTERNAL
    assert "Has every migration been made and applied?" in caplog.text
    assert failure.details["reference"] in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_breaks_in_the_commit_leaves_the_outcome_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def store() -> None:
        with transaction.atomic():
            get_user_model().objects.create_user("alice")
            real = connection.connection

            def commit() -> None:
                monkeypatch.undo()
                raise connection.Database.OperationalError("server closed the connection")

            stub = SimpleNamespace(commit=commit)
            monkeypatch.setattr(
                BaseDatabaseWrapper,
                "_commit",
                _with_connection(BaseDatabaseWrapper._commit, stub, real),
            )

    with pytest.raises(DatabaseError) as caught:
        store()
    assert is_outcome_unknown(caught.value)
    assert failure_of(caught.value).code is ErrorCode.COMMIT_UNKNOWN  # type: ignore[arg-type]


def _with_connection(commit: Any, stub: Any, real: Any) -> Any:
    def run(self: BaseDatabaseWrapper) -> None:
        self.connection = stub
        try:
            commit(self)
        finally:
            self.connection = real

    return run


def test_a_failure_before_the_commit_is_known() -> None:
    with pytest.raises(OperationalError) as caught:
        lost()
    assert not is_outcome_unknown(caught.value)


# -- what is stuck ----------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STUCK_AFTER", "CUT_PATIENCE", "QUEUE_PATIENCE"):
        monkeypatch.setattr(threads, name, 0.05)


@pytest.fixture
def one_thread(settings: Any) -> Any:
    settings.DJWSBRIDGE_SERVICE_THREADS = 1
    threads._pool.cache_clear()
    yield
    threads._pool().shutdown()
    threads._pool.cache_clear()


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, TIMEOUT)


@pytest.mark.django_db(transaction=True)
async def test_a_statement_without_an_answer_is_given_up_and_its_thread_is_not_waited_for(
    impatient: None, one_thread: None
) -> None:
    free = threading.Event()

    def ask() -> None:
        def wait(*_: Any) -> None:
            free.wait(TIMEOUT)

        with connection.execute_wrapper(wait), connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    with pytest.raises(OutcomeUnknown):
        await soon(run_service(ask))
    with pytest.raises(PoolBusy):
        await soon(run_service(ask))  # its only thread is not back
    free.set()
    assert await soon(run_service(lambda: 7)) == 7


async def test_a_service_may_take_its_time_without_the_database(impatient: None) -> None:
    assert await soon(run_service(lambda: time.sleep(0.3) or "done")) == "done"  # type: ignore[func-returns-value]


async def test_a_system_without_threads_is_busy(
    one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", Mock(side_effect=RuntimeError))
        with pytest.raises(PoolBusy):
            await soon(run_service(lambda: 7))
    assert await soon(run_service(lambda: 7)) == 7


async def test_a_caller_that_is_cancelled_is_cancelled() -> None:
    free = threading.Event()
    task = asyncio.create_task(run_service(free.wait, TIMEOUT))
    await asyncio.sleep(0)
    task.cancel()
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


# -- the service thread -----------------------------------------------------------------------------------------------


async def through(service_thread: ServiceThread, function: Any) -> Any:
    """Run a function in a service thread and return what it returns."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    service_thread.call(function, done.set_result)
    outcome = await soon(done)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def test_a_service_thread_is_one_thread_in_which_one_call_follows_the_other() -> None:
    service_thread, seen = ServiceThread(), []
    calls = [
        through(service_thread, lambda n=n: seen.append(n) or threading.current_thread())
        for n in (1, 2, 3)
    ]  # type: ignore[func-returns-value,misc]
    found = await asyncio.gather(*calls)
    assert seen == [1, 2, 3]
    assert len(set(found)) == 1
    assert found[0] is not threading.current_thread()


async def test_a_service_thread_that_cannot_be_started_is_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service_thread = ServiceThread()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", Mock(side_effect=RuntimeError))
        with pytest.raises(PoolBusy):
            await through(service_thread, lambda: 1)
    assert await through(service_thread, lambda: 2) == 2


async def test_a_service_thread_says_what_went_wrong_and_goes_on() -> None:
    service_thread = ServiceThread()
    with pytest.raises(ZeroDivisionError):
        await through(service_thread, lambda: 1 / 0)
    assert await through(service_thread, lambda: 7) == 7


@pytest.mark.django_db(transaction=True)
async def test_a_service_thread_keeps_its_connection_while_calls_come_and_closes_it_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    monkeypatch.setattr(threads, "SERVICE_THREAD_LINGER", 0.2)
    service_thread = ServiceThread()

    def link() -> Any:
        connection.ensure_connection()
        return connection.connection, connection, threading.current_thread()

    first, database, thread = await through(service_thread, link)
    second, _, same_thread = await through(service_thread, link)
    assert (first is second) == (getattr(database, "pool", None) is None)
    assert thread is same_thread
    await asyncio.to_thread(thread.join, TIMEOUT)
    assert database.connection is None
    assert await through(service_thread, threading.current_thread) is not thread


@pytest.mark.django_db(transaction=True)
async def test_a_service_thread_does_not_keep_a_connection_that_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    service_thread = ServiceThread()

    def fail() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")

    def look() -> bool:
        return connection.connection is None

    with pytest.raises(DatabaseError):
        await through(service_thread, fail)
    assert await through(service_thread, look)


@pytest.mark.django_db(transaction=True)
async def test_a_service_thread_gives_up_what_is_stuck_and_goes_on_in_another_thread(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "STUCK_THREADS", 2)
    monkeypatch.setattr(threads, "SERVICE_THREAD_LINGER", 0.05)
    free, stuck = threading.Event(), []

    def ask() -> None:
        def wait(*_: Any) -> None:
            stuck.append(threading.current_thread())
            free.wait(TIMEOUT)

        with connection.execute_wrapper(wait), connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    service_thread = ServiceThread()
    with pytest.raises(OutcomeUnknown):
        await through(service_thread, ask)
    assert await through(service_thread, lambda: 7) == 7
    with pytest.raises(OutcomeUnknown):
        await through(service_thread, ask)
    with pytest.raises(PoolBusy):
        await through(service_thread, lambda: 7)  # two threads have not come back
    free.set()
    for thread in stuck:
        await asyncio.to_thread(thread.join, TIMEOUT)
    assert await through(service_thread, lambda: 7) == 7


async def test_a_service_thread_does_not_ask_a_database_that_is_down() -> None:
    service_thread = ServiceThread()
    for _ in range(3):
        with pytest.raises(OperationalError, match="unexpectedly"):
            await through(service_thread, lost)
    with pytest.raises(OperationalError, match="down"):
        await through(service_thread, lost)


async def test_who_waits_behind_a_long_call_of_a_service_thread_is_told_in_time(
    impatient: None,
) -> None:
    service_thread, free = ServiceThread(), threading.Event()
    first = asyncio.ensure_future(through(service_thread, lambda: free.wait(TIMEOUT)))
    await asyncio.sleep(0)
    with pytest.raises(PoolBusy):
        await through(service_thread, lambda: 7)
    free.set()
    assert await first
    assert await through(service_thread, lambda: 7) == 7


# -- the developer's own tests ----------------------------------------------------------------------------------------


class ServicesInATestCase(TestCase):
    """Django rolls each test back: what it made is seen by nobody but its own connection."""

    def test_sync(self) -> None:
        get_user_model().objects.create_user("alice")
        count = get_user_model().objects.count
        assert async_to_sync(run_service)(count) == 1

    async def test_async(self) -> None:
        await get_user_model().objects.acreate_user("alice")
        assert await run_service(get_user_model().objects.count) == 1
        assert await through(ServiceThread(), get_user_model().objects.count) == 1

    async def test_in_a_task_with_a_context_of_its_own(self) -> None:
        """Channels' `WebsocketCommunicator` runs the application in such a task."""
        await get_user_model().objects.acreate_user("alice")
        for ask in (run_service, functools.partial(through, ServiceThread())):
            task = contextvars.Context().run(
                asyncio.create_task, ask(get_user_model().objects.count)
            )
            assert await task == 1
