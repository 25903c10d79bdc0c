"""Threads of services give back what they borrow: eight threads share a pool of two connections."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import Error, OperationalError, connection, connections, transaction
from django.utils import timezone

from djwsbridge import threads
from djwsbridge.breaker import Breaker
from djwsbridge.threads import ServiceThread, run_service
from djwsbridge.transport.failures import failure_of
from tests.servers import TIMEOUT, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.connection_pool,
]

POOL = {"min_size": 1, "max_size": 2, "timeout": 10, "reconnect_timeout": 2}
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
REQUESTS = 5  # of each kind: more than the pool has connections

Service = Callable[[], object]
Run = Callable[[Service], Awaitable[object]]


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", POOL)
    monkeypatch.setattr(threads, "_breaker", Breaker())
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let threads without a job end soon."""
    for name in ("LINGER", "SERVICE_THREAD_LINGER"):
        monkeypatch.setattr(threads, name, 0.05)
    threads._pool.cache_clear()
    yield
    threads._pool.cache_clear()


@pytest.fixture(params=["run_service", "ServiceThread"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "run_service":
        return run_service
    service_thread = ServiceThread()

    async def through(service: Service) -> object:
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        service_thread.call(service, done.set_result)
        outcome = await done
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return through


class Unusual(BaseException):
    pass


def count() -> int:
    return User.objects.count()


def ask_nonsense() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")


def raise_after_a_query() -> None:
    count()
    raise RuntimeError("a defect")


@transaction.atomic
def raise_in_a_transaction() -> None:
    User.objects.create_user("alice")
    raise RuntimeError("a defect")


def raise_no_exception() -> None:
    count()
    raise Unusual


def leave_a_transaction_open() -> None:
    transaction.set_autocommit(False)
    count()


def leave_a_cursor_open() -> None:
    next(User.objects.iterator(chunk_size=1), None)


def lose_the_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def wait_too_long() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(10)")


def outside() -> psycopg.Connection[tuple[Any, ...]]:
    """Return a connection that is none of Django's."""
    parameters = connection.get_connection_params()
    return psycopg.connect(**{**parameters, "cursor_factory": psycopg.ClientCursor})


def cut_all() -> None:
    """Let PostgreSQL end every connection to this database, and wait until it has."""
    with outside() as other:
        other.execute(f"SELECT pg_terminate_backend(pid, {int(TIMEOUT * 1000)}) {OTHERS}")


def backends() -> int:
    """Return how many connections PostgreSQL has to this database."""
    with outside() as other:
        row = other.execute(f"SELECT count(*) {OTHERS}").fetchone()
    return int(row[0]) if row else 0


def is_whole() -> bool:
    stats = connection.pool.get_stats()  # type: ignore[attr-defined]
    return bool(0 < stats["pool_size"] == stats["pool_available"])


SERVICES = [
    count,
    ask_nonsense,
    raise_after_a_query,
    raise_in_a_transaction,
    raise_no_exception,
    leave_a_transaction_open,
    leave_a_cursor_open,
    lose_the_connection,
    wait_too_long,
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)
async def test_a_service_gives_its_connection_back(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    if service is wait_too_long:
        monkeypatch.setattr(threads, "STUCK_AFTER", 0.2)
    for _ in range(REQUESTS):
        monkeypatch.setattr(threads, "_breaker", Breaker())
        with contextlib.suppress(Error, RuntimeError, Unusual):
            await run(service)
    await asyncio.to_thread(wait_until, is_whole, "every connection to be free")
    assert await run(count) == 0


async def test_a_link_that_was_cut_is_not_used_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer came at the moment of the cut, so that the statement has not failed."""
    assert await run(count) == 0
    cut, real = threading.Event(), threads._Job.cut

    def note(job: Any) -> None:
        real(job)
        cut.set()

    def answer_late() -> None:
        with (
            connection.execute_wrapper(lambda *_: cut.wait(TIMEOUT)),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(threads, "STUCK_AFTER", 0.2)
        patch.setattr(threads._Job, "cut", note)
        await run(answer_late)
    assert [await run(count) for _ in range(POOL["max_size"])] == [0, 0]


async def test_eight_threads_share_two_connections(run: Run) -> None:
    for _ in range(5):
        assert await asyncio.gather(*[run(count) for _ in range(40)]) == [0] * 40
    await asyncio.to_thread(wait_until, is_whole, "every connection to be free")


async def test_connections_that_were_lost_while_idle_are_replaced(run: Run) -> None:
    """As after a restart of PostgreSQL; the first to ask hears of it."""
    await asyncio.gather(*[run(count) for _ in range(8)])
    await asyncio.to_thread(cut_all)
    for _ in range(2):
        with contextlib.suppress(OperationalError):
            await run(count)
    assert await run(count) == 0
    await asyncio.to_thread(wait_until, is_whole, "every connection to be free")


async def test_async_queries_work_again_after_a_lost_connection() -> None:
    """Django's async ORM uses one thread of asgiref's, whose connection no request closes."""
    assert await User.objects.acount() == 0
    await asyncio.to_thread(cut_all)
    for _ in range(POOL["max_size"] + 1):
        try:
            await User.objects.acount()
        except OperationalError as error:
            failure_of(error)  # as for an exception of a handler
    assert await User.objects.acount() == 0
    await sync_to_async(connections.close_all)()


async def test_a_call_of_a_service_thread_leaves_nothing_to_the_next(run: Run) -> None:
    """What Django keeps for the current request, such as its time zone, is the call's own."""
    before = await run(timezone.get_current_timezone_name)
    await run(lambda: timezone.activate("Asia/Tokyo"))
    assert await run(timezone.get_current_timezone_name) == before


@pytest.mark.parametrize("age", [0, 60, None])
async def test_without_a_pool_a_thread_that_ends_closes_its_connection(
    short_lives: None, run: Run, monkeypatch: pytest.MonkeyPatch, age: int | None
) -> None:
    monkeypatch.delitem(connection.settings_dict["OPTIONS"], "pool")
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", age)
    await asyncio.gather(*[run(count) for _ in range(8)])
    with pytest.raises(RuntimeError):
        await run(raise_after_a_query)
    await asyncio.to_thread(wait_until, lambda: backends() == 0, "every connection to be closed")
