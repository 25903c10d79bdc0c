"""The library's own transactions are READ COMMITTED, wherever a stricter level comes from."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from djwsbridge import transactions
from djwsbridge.log.log import Log
from djwsbridge.transactions import statement_in, transaction_in

pytestmark = [
    pytest.mark.database,
    pytest.mark.row_locks,
    pytest.mark.django_db(transaction=True),
]
LEVEL = "default_transaction_isolation"


@pytest.fixture(autouse=True)
def _asked_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "_strict", {})


@pytest.fixture(params=["ROLE CURRENT_USER", "DATABASE"])
def strict(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    """Let PostgreSQL itself begin each transaction at SERIALIZABLE."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    target = f"DATABASE {name}" if request.param == "DATABASE" else request.param
    execute(f"ALTER {target} SET {LEVEL} = 'serializable'")
    connect_anew()
    yield
    execute(f"ALTER {target} RESET {LEVEL}")
    connect_anew()


def connect_anew() -> None:
    """Drop the connections that do not know the new default, also those in the pool."""
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def level() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        found: str = cursor.fetchone()[0]
        return found


@pytest.mark.usefixtures("strict")
def test_a_level_that_the_server_chooses_is_seen() -> None:
    for _ in range(2):  # asked, and remembered
        with transaction_in("default"):
            execute("SELECT 1")
            assert level() == "read committed"
        with statement_in("default"):
            assert level() == "read committed"
        assert level() == "serializable"


@pytest.mark.usefixtures("strict")
def test_a_single_statement_may_be_the_first_to_ask() -> None:
    with statement_in("default"):
        assert level() == "read committed"


@pytest.mark.usefixtures("strict")
def test_a_transaction_of_the_project_keeps_its_level() -> None:
    with transaction.atomic():
        execute("SELECT 1")
        with transaction_in("default"), statement_in("default"):
            assert level() == "serializable"
    with transaction_in("default"):  # nothing wrong was remembered
        assert level() == "read committed"


@pytest.mark.usefixtures("strict")
def test_without_autocommit_the_open_transaction_keeps_its_level() -> None:
    connection.set_autocommit(False)
    try:
        execute("SELECT 1")
        with transaction_in("default"):
            assert level() == "serializable"
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def test_the_default_level_is_asked_for_once() -> None:
    with CaptureQueriesContext(connection) as captured:
        for _ in range(3):
            with transaction_in("default"), transaction_in("default", savepoint=False):
                pass
            with statement_in("default"):
                pass
    asked = [one["sql"] for one in captured if "ISOLATION" in one["sql"].upper()]
    assert asked == ["SHOW transaction_isolation"]


@pytest.mark.usefixtures("strict")
def test_servers_that_meet_at_the_same_time_all_find_the_others() -> None:
    Log().meet("the first one", seconds=60.0)
    start = Barrier(4)

    def meet(number: int) -> int:
        try:
            start.wait()
            return min(len(Log().meet(f"server {number}", seconds=60.0)) for _ in range(15))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(meet, range(4))) >= 1
