"""Logout, a new password, deactivation, a blacklisted token: row H18 of the promises, over two processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.security.rig import (
    Attacker,
    Target,
    ask,
    assert_alive,
    assert_told_and_closed,
    make_site_env,
    say,
)
from tests.servers import RedisServer, redis_server, run_manage, serve

# Seconds: what is promised, times three for a machine that runs other tests as well.
IN_TIME = 2.0 * 3

# Sliding tokens are the ones that simplejwt can blacklist while they are in use.
SETTINGS: dict[str, Any] = {"DJWSBRIDGE_REVALIDATE_INTERVAL": 60.0}

TOKEN_OF = (
    "from django.contrib.auth.models import User;"
    "from rest_framework_simplejwt.tokens import AccessToken;"
    "print(AccessToken.for_user(User.objects.get(username='%s')))"
)

PEOPLE = tuple(f"person{number}" for number in range(12))


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis that this module may stop."""
    with redis_server(tmp_path_factory.mktemp("own-redis")) as server:
        yield server


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_sqlite: Path,
    site_env: Mapping[str, str],
    own_redis: RedisServer,
) -> Iterator[list[Target]]:
    """Run the site twice, by Daphne and by uvicorn, with one database and one Redis."""
    directory = tmp_path_factory.mktemp("pair")
    database = Path(shutil.copy(migrated_sqlite, directory))
    env = {
        **make_site_env(site_env, database, **SETTINGS),
        "DJANGO_SETTINGS_MODULE": "tests.security.blacklist_settings",
        "REDIS_URL": own_redis.url,
    }
    run_manage("migrate", "--verbosity=0", env=env)
    with (
        serve("daphne", directory=directory, env=env) as one,
        serve("uvicorn", directory=directory, env=env) as other,
    ):
        first = Target.prepare(one, env, *PEOPLE)
        yield [first, Target(other, env, first.people)]


@pytest.fixture
def person(counter: Iterator[int]) -> str:
    """Return somebody whom no other test knows."""
    return PEOPLE[next(counter) % len(PEOPLE)]


@pytest.fixture
def attackers(pair: list[Target]) -> Iterator[list[Attacker]]:
    """Return somebody in front of each process."""
    both = [Attacker(target) for target in pair]
    yield both
    for attacker in both:
        attacker.leave()


def open_by_cookie(attacker: Attacker, person: str) -> ClientConnection:
    """Open a socket as a page of the site does."""
    target = attacker.target
    socket = attacker.open_v1(cookie=target.cookie_of(person), origin=target.site.url)
    assert "ok" in ask(socket, "connect")
    return socket


def post(target: Target, path: str, session: str, **data: str) -> httpx.Response:
    """Send a form of the site."""
    token = "a" * 32
    return httpx.post(
        f"{target.site.url}{path}",
        data={"csrfmiddlewaretoken": token, **data},
        headers={"Cookie": f"{session}; csrftoken={token}"},
    )


def assert_revoked(sockets: list[ClientConnection], since: float) -> None:
    for socket in sockets:
        assert_told_and_closed(socket, 4410, "revoked")
    assert time.monotonic() - since < IN_TIME


@pytest.mark.parametrize("via", [0, 1], ids=["by-daphne", "by-uvicorn"])
def test_h18_logout_ends_the_sockets_of_the_session(
    pair: list[Target], attackers: list[Attacker], person: str, via: int
) -> None:
    by_cookie = [open_by_cookie(attacker, person) for attacker in attackers]
    by_ticket = attackers[0].open_v1()
    token = "a" * 32
    answer = httpx.post(
        f"{pair[1].site.url}/djwsbridge/ticket/",
        headers={
            "Cookie": f"{pair[1].cookie_of(person)}; csrftoken={token}",
            "X-CSRFToken": token,
        },
    )
    assert "ok" in ask(by_ticket, "connect", ticket=answer.json()["ticket"])
    by_token = attackers[1].connect(person)
    since = time.monotonic()
    assert post(pair[via], "/accounts/logout/", pair[via].cookie_of(person)).status_code == 302
    assert_revoked([*by_cookie, by_ticket], since)
    assert_alive(by_token)  # another device


CHANGES: dict[str, str] = {
    "password": "user.set_password('another horse'); user.save()",
    "deactivated": "user.is_active = False; user.save(update_fields=['is_active'])",
    "deleted": "user.delete()",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_h18_a_change_made_anywhere_ends_the_users_sockets(
    pair: list[Target], attackers: list[Attacker], person: str, change: str
) -> None:
    sockets = [open_by_cookie(attacker, person) for attacker in attackers]
    sockets += [attacker.connect(person) for attacker in attackers]
    printed = pair[0].shell(
        "import time; from django.contrib.auth.models import User;"
        f"user = User.objects.get(username={person!r}); {change}; print(time.monotonic())"
    )
    assert_revoked(sockets, float(printed))


def test_h18_a_blacklisted_token_ends_its_sockets(
    pair: list[Target], attackers: list[Attacker], person: str
) -> None:
    code = (
        "from django.contrib.auth.models import User;"
        "from rest_framework_simplejwt.tokens import SlidingToken;"
        f"print(SlidingToken.for_user(User.objects.get(username={person!r})))"
    )
    token = pair[0].shell(code).strip()
    revoked = [attacker.connect(token=token) for attacker in attackers]
    other = attackers[0].connect(person)
    printed = pair[0].shell(
        "import time; from rest_framework_simplejwt.tokens import SlidingToken;"
        f"SlidingToken({token!r}).blacklist(); print(time.monotonic())"
    )
    assert_revoked(revoked, float(printed))
    assert_alive(other)
    late = attackers[1].open_v1()
    say(late, {"id": 1, "cmd": "connect", "token": token})
    assert_told_and_closed(late, 4401, "token_invalid")


def test_h18_a_login_elsewhere_ends_nothing(
    pair: list[Target], attackers: list[Attacker], person: str
) -> None:
    socket = open_by_cookie(attackers[0], person)
    answer = post(pair[1], "/accounts/login/", "x=1", username=person, password="correct horse")
    assert answer.status_code == 302
    assert_alive(socket)


def test_h18_what_nobody_told_is_found_by_the_regular_look(
    tmp_path: Path,
    migrated_sqlite: Path,
    site_env: Mapping[str, str],
    start_site: Callable[..., Any],
) -> None:
    """Nor when Redis is down: nothing is told here either."""
    database = Path(shutil.copy(migrated_sqlite, tmp_path / "look.sqlite3"))
    env = make_site_env(site_env, database, DJWSBRIDGE_REVALIDATE_INTERVAL=1.0)
    target = Target.prepare(start_site("uvicorn", env=env), env, "alice", "bob")
    attacker = Attacker(target)
    try:
        by_token, by_cookie = attacker.connect(), open_by_cookie(attacker, "bob")
        target.shell(
            "from django.contrib.auth.models import User;"
            "from django.contrib.sessions.models import Session;"
            "User.objects.filter(username='alice').update(is_active=False);"
            "Session.objects.all().delete()"
        )
        assert_told_and_closed(by_token, 4410, "revoked")
        assert_told_and_closed(by_cookie, 4410, "revoked")
    finally:
        attacker.leave()


def test_h18_a_token_ends_with_the_password_where_simplejwt_checks_it(
    tmp_path: Path,
    migrated_sqlite: Path,
    site_env: Mapping[str, str],
    redis_url: str,
    start_site: Callable[..., Any],
) -> None:
    database = Path(shutil.copy(migrated_sqlite, tmp_path / "revoke.sqlite3"))
    env = make_site_env(site_env, database, SIMPLE_JWT={"CHECK_REVOKE_TOKEN": True})
    env["REDIS_URL"] = redis_url
    target = Target.prepare(start_site("uvicorn", env=env), env, "alice", "bob")
    old = target.shell(TOKEN_OF % "alice").strip()
    attacker = Attacker(target)
    try:
        by_command, by_header = attacker.connect(token=old), attacker.open(token=old)
        of_bob = attacker.connect(token=target.shell(TOKEN_OF % "bob").strip())
        ticket = httpx.post(
            f"{target.site.url}/djwsbridge/ticket/", headers={"Authorization": f"Bearer {old}"}
        ).json()["ticket"]
        target.shell(
            "from django.contrib.auth.models import User;"
            "alice = User.objects.get(username='alice');"
            "alice.set_password('another one');"
            "alice.save()"
        )
        assert_told_and_closed(by_command, 4410, "revoked", timeout=IN_TIME)
        assert_told_and_closed(by_header, 4410, "revoked", timeout=IN_TIME)
        assert_told_and_closed(attacker.open(token=old), 4401, "token_invalid")
        for credential, code in (
            ({"token": old}, "token_invalid"),
            ({"ticket": ticket}, "revoked"),
        ):
            socket = attacker.open_v1()
            say(socket, {"id": 1, "cmd": "connect", **credential})
            assert_told_and_closed(socket, 4401, code)
        assert "ok" in ask(
            attacker.connect(token=target.shell(TOKEN_OF % "alice").strip()), "heartbeat"
        )
        assert_alive(of_bob)
    finally:
        attacker.leave()
