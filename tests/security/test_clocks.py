"""The clock of one process is 90 s ahead or behind: P13, for what a connection is opened with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.faults.system import _clock_settings, set_clock
from tests.security.rig import (
    V1,
    Attacker,
    Target,
    ask,
    assert_told_and_closed,
    make_site_env,
    say,
)
from tests.servers import PostgresServer, serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[-90, 90], ids=["behind", "ahead"])
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    migrated_postgres: str,
    site_env: Mapping[str, str],
    redis_url: str,
) -> Iterator[list[Target]]:
    """Run the site twice, with one database and one Redis: first with the right clock, then with the wrong one."""
    directory = tmp_path_factory.mktemp("clocks")
    name = f"clocks_{request.param + 90}"
    database = postgres.create_database(name, template=migrated_postgres)
    env = {
        **make_site_env(site_env, Path("none")),
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
    }
    clock = directory / "clock"
    wrong = {**env, **_clock_settings(clock)}
    with (
        serve("uvicorn", directory=directory, env=env) as right,
        serve("uvicorn", directory=directory, env=wrong) as other,
    ):
        first = Target.prepare(right, env, "alice")
        set_clock(clock, request.param)
        yield [first, Target(other, env, first.people)]
    postgres.drop_database(name)


@pytest.fixture
def attackers(pair: list[Target]) -> Iterator[list[Attacker]]:
    """Return an attacker in front of each process."""
    both = [Attacker(target) for target in pair]
    yield both
    for attacker in both:
        attacker.leave()


def fresh_token(target: Target) -> str:
    """Return a token as an issuer with the right clock makes it now."""
    now = int(time.time())
    return target.token(iat=now, nbf=now)


def new_ticket(target: Target) -> str:
    """Ask a process for a ticket."""
    answer = httpx.post(
        f"{target.site.url}/djwsbridge/ticket/",
        headers={"Authorization": f"Bearer {fresh_token(target)}"},
    )
    assert answer.status_code == 200, answer.text
    ticket: str = answer.json()["ticket"]
    return ticket


WAYS: dict[str, Callable[[Attacker, str], ClientConnection]] = {
    "header": lambda attacker, token: attacker.open_v1(token=token),
    "subprotocol": lambda attacker, token: attacker.open(
        subprotocols=[V1, f"djwsbridge.bearer.{token}"]
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_p13_a_fresh_token_opens_a_socket(
    attackers: list[Attacker], way: Callable[[Attacker, str], ClientConnection]
) -> None:
    socket = way(attackers[1], fresh_token(attackers[1].target))
    assert "ok" in ask(socket, "connect")


def test_p13_a_fresh_token_connects_and_replaces_an_older_one(attackers: list[Attacker]) -> None:
    target = attackers[1].target
    socket = attackers[1].connect(token=fresh_token(target))
    assert "ok" in ask(socket, "auth.refresh", id=2, token=fresh_token(target))


def test_p13_a_fresh_token_is_good_for_the_api(pair: list[Target]) -> None:
    headers = {"Authorization": f"Bearer {fresh_token(pair[1])}"}
    assert httpx.get(f"{pair[1].site.url}/chat/api/me/", headers=headers).status_code == 200


@pytest.mark.parametrize(("issuer", "server"), [(0, 1), (1, 0), (1, 1)])
def test_p13_a_ticket_of_one_process_opens_a_socket_of_another_once(
    attackers: list[Attacker], issuer: int, server: int
) -> None:
    ticket = new_ticket(attackers[issuer].target)
    assert "ok" in ask(attackers[server].open_v1(), "connect", ticket=ticket)
    for attacker in attackers:
        again = attacker.open_v1()
        say(again, {"id": 1, "cmd": "connect", "ticket": ticket})
        assert_told_and_closed(again, 4401, "ticket_used")


def test_h13_an_old_token_is_no_good_by_the_wrong_clock_either(attackers: list[Attacker]) -> None:
    now = int(time.time())
    socket = attackers[1].open_v1()
    token = attackers[1].target.token(iat=now - 400, exp=now - 100)
    say(socket, {"id": 1, "cmd": "connect", "token": token})
    assert_told_and_closed(socket, 4401, "token_expired")
