"""The test rig: private servers, sites under real ASGI servers, and headless browsers.

Session fixtures belong to one pytest process, so that `pytest -n 2` has two of each.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from djwsbridge.thread_pool import end_threads
from tests.servers import (
    ROOT,
    TIMEOUT,
    PostgresServer,
    RedisServer,
    ServerName,
    Site,
    postgres_server,
    redis_server,
    run_manage,
    serve,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser_rig import Complaints

StartSite = Callable[..., Site]
OpenPage = Callable[..., "Page"]

# What runs a server or a browser for a test.
SERVERS_OF_TESTS = {"browser", "postgres", "redis", "start_lasting_site", "start_site"}
# Markers of tests about what SQLite does not have.
NOT_OF_SQLITE = ("row_locks", "connection_pool")
UNIT_TESTS = ROOT / "tests" / "unit"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose the database of the tests that run in pytest's own process."""
    parser.addoption("--database", choices=["sqlite", "postgresql"], default="sqlite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the locks of rows or a pool where the database has none, and begin with what takes long.

    `pytest -n 2` shares out whole files: the last ones should be short, or one process ends long after the other.
    """
    serving = {item.path for item in items if not SERVERS_OF_TESTS.isdisjoint(_fixtures_of(item))}
    quick = {item.path for item in items if item.path.is_relative_to(UNIT_TESTS)} - serving
    items.sort(key=lambda item: item.path in quick)
    if config.getoption("--database") == "sqlite":
        left_out = [item for item in items if any(map(item.get_closest_marker, NOT_OF_SQLITE))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _fixtures_of(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


@pytest.fixture(autouse=True)
def _threads_without_connections(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the idle threads of services after a test that may have used the database.

    The next test may be one that pytest-django lets use none, and a thread looks at its open connection first.
    """
    yield
    uses_database = request.node.get_closest_marker("django_db") is not None
    if uses_database or not {"db", "transactional_db"}.isdisjoint(request.fixturenames):
        end_threads(TIMEOUT)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Give pytest's process a database of its own: a SQLite file, or a private PostgreSQL."""
    from django.db import connections  # noqa: PLC0415

    from config.settings import database  # noqa: PLC0415

    chosen = connections.settings["default"]
    if request.config.getoption("--database") == "postgresql":
        chosen.update(database(request.getfixturevalue("postgres_url")))
    else:
        # A file, because threads of one process may not share a database in memory.
        chosen["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    del connections["default"]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a private Redis for the session."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis: RedisServer) -> str:
    """Return the URL of the session's Redis."""
    return redis.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a private PostgreSQL for the session."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """Return the URL of the session's PostgreSQL, of a database without tables."""
    return postgres.url


@pytest.fixture(scope="session")
def site_env() -> Mapping[str, str]:
    """Return the settings that every site of the tests starts from."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings_site",
        "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
        "DEBUG": "1",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
    }


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory, site_env: Mapping[str, str]) -> Path:
    """Migrate the reference project's SQLite file once per session; sites get copies."""
    path = tmp_path_factory.mktemp("migrated") / "site.sqlite3"
    run_manage("migrate", "--verbosity=0", env={**site_env, "DATABASE_URL": f"sqlite:///{path}"})
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """Return the URL of a fresh, migrated SQLite database of the reference project."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'site.sqlite3')}"


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer, site_env: Mapping[str, str]) -> str:
    """Migrate the reference project's PostgreSQL database once per session; sites get copies."""
    url = postgres.create_database("migrated")
    run_manage("migrate", "--verbosity=0", env={**site_env, "DATABASE_URL": url})
    return "migrated"


@pytest.fixture
def postgres_site_url(
    postgres: PostgresServer, migrated_postgres: str, counter: Iterator[int]
) -> Iterator[str]:
    """Return the URL of a fresh, migrated PostgreSQL database of the reference project."""
    name = f"site_{next(counter)}"
    yield postgres.create_database(name, template=migrated_postgres)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def counter() -> Iterator[int]:
    """Return numbers that this session never uses twice."""
    return itertools.count(1)


@pytest.fixture
def start_site(tmp_path: Path, site_env: Mapping[str, str]) -> Iterator[StartSite]:
    """Return a function that serves a site until the test ends.

    `start_site("uvicorn", env={"DATABASE_URL": sqlite_url})` serves the reference project;
    `application`, `cwd` and `ready_path` serve any other one. The result is a `tests.servers.Site`.
    """
    with ExitStack() as stack:

        def start(
            server: ServerName, *, env: Mapping[str, str] | None = None, **options: Any
        ) -> Site:
            settings = {**site_env, **(env or {})}
            return stack.enter_context(
                serve(server, directory=tmp_path, env=settings, **{"cwd": ROOT, **options})
            )

        yield start


@pytest.fixture(scope="module")
def start_lasting_site(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, site_env: Mapping[str, str]
) -> Iterator[StartSite]:
    """Return a function that serves a site with a database of its own until the module ends.

    For tests that do nothing to the site itself; each begins with `tests.lasting_site.vacate`.
    """
    with ExitStack() as stack:

        def start(server: ServerName, *, env: Mapping[str, str] | None = None) -> Site:
            directory = tmp_path_factory.mktemp("lasting")
            database = shutil.copy(migrated_sqlite, directory / "site.sqlite3")
            settings = {**site_env, "DATABASE_URL": f"sqlite:///{database}", **(env or {})}
            return stack.enter_context(serve(server, directory=directory, env=settings))

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run headless Chromium for a module.

    Not for the session: while it runs, its event loop keeps this thread from running any other.
    """
    from tests.browser_rig import run_chromium  # noqa: PLC0415

    with run_chromium() as running:
        yield running


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Collect what the pages of a test complain about; anything unexpected fails the test."""
    from tests.browser_rig import Complaints  # noqa: PLC0415

    collected = Complaints()
    yield collected
    assert not collected.unexpected


@pytest.fixture
def open_page(browser: Browser, complaints: Complaints) -> Iterator[OpenPage]:
    """Return a function that opens a page for another person: a browser context of its own.

    Keyword arguments are those of Playwright's `Browser.new_context`, such as `base_url` and
    `viewport`.
    """
    from tests.browser_rig import watch  # noqa: PLC0415

    with ExitStack() as stack:

        def open_one(**options: Any) -> Page:
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            watch(page, complaints)
            return page

        yield open_one
