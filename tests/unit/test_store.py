"""The Store way in projects of several kinds, each in a process of its own.

On SQLite as Django makes it, on SQLite with immediate transactions, and on PostgreSQL.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from websockets.sync.client import ClientConnection, connect

from djwsbridge import store
from djwsbridge.chat.models import Profile
from tests.servers import ROOT, TIMEOUT, PostgresServer, Site, run_manage

Scenario = Callable[..., Any]

DATABASES = ("sqlite", "sqlite-immediate", "postgresql")


def project_env(variant: str, database: str) -> dict[str, str]:
    """Return the environment of a project with a database of its own."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.store_project.settings",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "STORE_VARIANT": variant,
        "DATABASE_URL": database,
    }


def run(scenario: str, env: dict[str, str]) -> Any:
    """Run a function of tests.store_project.scenarios in a process of the project and return what it returned."""
    code = f"import json; from tests.store_project import scenarios as s; print(json.dumps(s.{scenario}))"
    return json.loads(run_manage("shell", "-v", "0", "-c", code, env=env))


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the migrated SQLite file of a project, made once; tests get copies."""

    @functools.cache
    def make(variant: str) -> Path:
        path = tmp_path_factory.mktemp("migrated") / "store.sqlite3"
        run_manage("migrate", "--verbosity=0", env=project_env(variant, f"sqlite:///{path}"))
        return path

    return make


@pytest.fixture(scope="module")
def migrated_database(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return a function that gives the name of the migrated PostgreSQL database of a project, likewise."""

    @functools.cache
    def make(variant: str) -> str:
        postgres: PostgresServer = request.getfixturevalue("postgres")
        name = f"store_{variant}"
        env = project_env(variant, postgres.create_database(name))
        run_manage("migrate", "--verbosity=0", env=env)
        return name

    return make


@pytest.fixture
def sqlite_env(
    migrated_file: Callable[[str], Path], tmp_path: Path
) -> Callable[[str], dict[str, str]]:
    """Return a function that gives the environment of a project with fresh tables on SQLite."""

    def make(variant: str) -> dict[str, str]:
        path = shutil.copy(migrated_file(variant), tmp_path / "store.sqlite3")
        return project_env(variant, f"sqlite:///{path}")

    return make


@pytest.fixture(params=["plain", "uuids"])
def variant(request: pytest.FixtureRequest) -> str:
    """Return each project in turn."""
    return str(request.param)


@pytest.fixture(params=DATABASES)
def env(
    request: pytest.FixtureRequest,
    variant: str,
    sqlite_env: Callable[[str], dict[str, str]],
    migrated_database: Callable[[str], str],
    counter: Iterator[int],
) -> Iterator[dict[str, str]]:
    """Return the environment of a project with fresh tables, on each database in turn."""
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        name = f"store_{next(counter)}"
        url = postgres.create_database(name, template=migrated_database(variant))
        yield project_env(variant, url)
        postgres.drop_database(name)
    else:
        mode = "IMMEDIATE" if request.param == "sqlite-immediate" else ""
        yield {**sqlite_env(variant), "SQLITE_MODE": mode}


@pytest.fixture
def scenario(env: dict[str, str]) -> Scenario:
    """Return a function that runs a scenario in a project."""
    return lambda name: run(f"{name}()", env)


def test_a_hundred_first_messages_make_one_chat(scenario: Scenario) -> None:
    result = scenario("race")
    assert result["failures"] == []
    one, other = "one@example.com", "other@example.com"
    assert result["chats"] == [[one], [one, other]]
    assert result["messages"] == 100


def test_only_the_chat_of_exactly_these_people_is_theirs(scenario: Scenario) -> None:
    result = scenario("choose")
    assert result == {
        "first": ["one@example.com", "other@example.com"],
        "again": True,
        "note": ["one@example.com"],
        "existing": ["one@example.com", "third@example.com"],
        "chats": 6,
        "found": True,
    }


def test_a_frame_sets_only_what_it_may(scenario: Scenario) -> None:
    result = scenario("fields")
    values = result["values"]
    assert values["pk"] != "777"
    assert values["sender_id"] == result["one"]
    assert values["content"] == "hello"
    assert all(result["unknown"])
    if "subject" in values:  # filled by DJWSBRIDGE_MESSAGE_DEFAULTS
        assert (values["subject"], values["priority"]) == ("to other@example.com", "7")
        assert result["refused"] == ["bad_field", None]
        assert result["messages"] == 2  # a model without `type` stores none
    else:
        assert values["type"] == "text"
        assert result["refused"] == [None, "bad_field"]
        assert result["messages"] == 2


# -- the lock of two people, in this process ---------------------------------------------------------------------------


@pytest.fixture
def pair() -> list[User]:
    return [User.objects.create_user(name) for name in ("alice", "bob")]


@pytest.mark.database
@pytest.mark.row_locks
@pytest.mark.django_db(transaction=True)
def test_a_row_that_refers_to_a_locked_user_is_stored(pair: list[User]) -> None:
    def refer() -> None:
        Profile.objects.create(user=pair[0])
        connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        store._lock(*pair)
        pool.submit(refer).result(TIMEOUT)


@pytest.mark.database
@pytest.mark.row_locks
@pytest.mark.django_db
def test_a_database_without_the_weak_lock_takes_the_strong_one(
    pair: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.features, "has_select_for_no_key_update", False)
    with CaptureQueriesContext(connection) as captured:
        store._lock(*pair)
    assert captured[0]["sql"].endswith("FOR UPDATE")


# -- through real sockets ----------------------------------------------------------------------------------------------


@pytest.fixture
def open_socket() -> Iterator[Callable[[Site, str], ClientConnection]]:
    """Return a function that opens the socket of whoever a token stands for."""
    with ExitStack() as stack:

        def open_one(site: Site, token: str) -> ClientConnection:
            headers = {"Authorization": f"Bearer {token}"}
            return stack.enter_context(
                connect(f"{site.ws_url}/ws/bridge/", additional_headers=headers, proxy=None)
            )

        yield open_one


def hear(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(TIMEOUT))


def say(socket: ClientConnection, **frame: Any) -> None:
    socket.send(json.dumps(frame))


def serve_project(start_site: Callable[..., Site], server: str, env: dict[str, str]) -> Site:
    return start_site(
        server, env=env, application="tests.store_project.asgi:application", ready_path="/"
    )


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_a_derived_consumer_decides(
    server: str,
    sqlite_env: Callable[[str], dict[str, str]],
    start_site: Callable[..., Site],
    open_socket: Any,
) -> None:
    env = sqlite_env("plain")
    people = run("tokens('alice', 'bob', 'carol')", env)
    site = serve_project(start_site, server, {**env, "STORE_CONSUMER": "strict"})
    alice, carol = (open_socket(site, people[index][1]) for index in (0, 2))
    assert hear(alice) == {"type": "welcome", "name": "alice"}
    assert hear(carol) == {"type": "welcome", "name": "carol"}
    say(alice, type="text", message="hello", recipient=2)
    assert hear(alice)["code"] == "bad_recipient"
    say(alice, type="text", message="forbidden word", recipient=3)
    assert hear(alice)["code"] == "forbidden"
    say(alice, type="text", message="hello", recipient=3)
    assert hear(carol)["message"] == "hello"
    code = "from tests.store_project.plain.models import Message as M; import json;"
    stored = run_manage(
        "shell",
        "-v",
        "0",
        "-c",
        code + "print(json.dumps(list(M.objects.values_list('content', flat=True))))",
        env=env,
    )
    assert json.loads(stored) == ["HELLO"]
    alice.close()
    assert hear(carol) == {"type": "left", "user": 1, "code": 1000}


def test_people_with_uuids_meet_over_two_processes(
    sqlite_env: Callable[[str], dict[str, str]],
    redis_url: str,
    start_site: Callable[..., Site],
    open_socket: Any,
) -> None:
    env = {**sqlite_env("uuids"), "REDIS_URL": redis_url}
    (one, one_token), (other, other_token) = run("tokens('one@x.org', 'other@x.org')", env)
    left = open_socket(serve_project(start_site, "daphne", env), one_token)
    right = open_socket(serve_project(start_site, "uvicorn", env), other_token)
    frame = {"type": "text", "content": "hello", "recipient": other}
    for socket in (left, right):  # an answer: everything is subscribed
        say(socket, recipient=1)
        assert hear(socket)["code"] == "bad_recipient"
    say(left, **frame)
    assert hear(left) == hear(right) == {**frame, "sender": one}
    say(right, content="back", recipient=one.upper())
    assert (
        hear(left) == hear(right) == {"content": "back", "recipient": one.upper(), "sender": other}
    )
