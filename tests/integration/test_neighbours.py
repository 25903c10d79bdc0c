"""Consumers of Channels beside ours in one `URLRouter`, as the README promises, under every server."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.security.rig import (
    V1,
    Attacker,
    Target,
    ask,
    assert_told_and_closed,
    hear,
    make_site_env,
    say,
)
from tests.servers import SERVERS, serve

GREETER, BOUNCER = "/ws/greeter/", "/ws/bouncer/"
BASIC = f"Basic {base64.b64encode(b'staging:secret').decode()}"


@pytest.fixture(scope="module", params=sorted(SERVERS))
def target(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    migrated_sqlite: Path,
    site_env: Mapping[str, str],
) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("neighbours")
    env = make_site_env(site_env, Path(shutil.copy(migrated_sqlite, directory / "site.sqlite3")))
    application = "tests.neighbour_app:application"
    with serve(request.param, directory=directory, env=env, application=application) as site:
        yield Target.prepare(site, env, "alice", "bob")


@pytest.fixture
def visitor(target: Target) -> Iterator[Attacker]:
    """Return somebody who opens sockets, of the neighbour and of ours."""
    visitor = Attacker(target)
    yield visitor
    visitor.leave()


def greeting(visitor: Attacker, path: str = GREETER, **options: Any) -> dict[str, Any]:
    """Open a socket of the neighbour; return what it says, and check that it answers."""
    socket = visitor.open(path, **options)
    greeted = hear(socket)
    say(socket, {"type": "text", "message": "hello"})
    assert hear(socket) == {"echo": {"type": "text", "message": "hello"}}
    return greeted


def test_both_live_in_one_router(visitor: Attacker) -> None:
    target = visitor.target
    assert greeting(visitor, token=target.token("alice")) == {"user": "alice", "query": ""}
    bridge = visitor.open(token=target.token("alice"))
    say(bridge, {"type": "text", "message": "hello", "recipient": target.id_of("alice")})
    assert hear(bridge)["message"] == "hello"
    v1 = visitor.open_v1(cookie=target.cookie_of("bob"), origin=target.site.url)
    assert ask(v1, "connect")["ok"]["user"]["name"] == "bob"


def test_a_neighbour_gets_an_anonymous_visitor(visitor: Attacker) -> None:
    assert greeting(visitor) == {"user": "", "query": ""}
    assert_told_and_closed(visitor.open(), 4401, "auth_required")


@pytest.mark.parametrize("parameter", ["token", "access_token", "ticket"])
def test_a_neighbour_may_have_parameters_of_its_own(visitor: Attacker, parameter: str) -> None:
    query = f"{parameter}=its-own"
    assert greeting(visitor, f"{GREETER}?{query}") == {"user": "", "query": query}
    visitor.assert_refused(403, f"/ws/bridge/?{query}")
    cookie = {"cookie": visitor.target.cookie_of("alice"), "origin": visitor.target.site.url}
    assert greeting(visitor, f"{GREETER}?{query}", **cookie) == {"user": "alice", "query": query}


def test_a_neighbour_is_told_who_has_a_session(visitor: Attacker) -> None:
    target = visitor.target
    own_page = {"cookie": target.cookie_of("alice"), "origin": target.site.url}
    assert greeting(visitor, **own_page)["user"] == "alice"


def test_a_foreign_page_opens_nothing_as_its_visitor(visitor: Attacker) -> None:
    foreign = {"cookie": visitor.target.cookie_of("alice"), "origin": "https://evil.com"}
    assert greeting(visitor, **foreign)["user"] == ""
    visitor.assert_refused(403, **foreign)


def test_a_bad_credential_is_none_to_a_neighbour_and_no_guess(visitor: Attacker) -> None:
    for _ in range(25):
        assert hear(visitor.open(GREETER, token="a.b.c"))["user"] == ""
    assert_told_and_closed(visitor.open(token="a.b.c"), 4401, "token_invalid")


def test_another_scheme_of_authorization_is_no_credential_of_ours(visitor: Attacker) -> None:
    """A browser sends it to a site that a proxy protects, such as one that is not public yet."""
    target = visitor.target
    options: dict[str, Any] = {
        "cookie": target.cookie_of("alice"),
        "origin": target.site.url,
        "headers": {"Authorization": BASIC},
    }
    assert greeting(visitor, **options)["user"] == "alice"
    reply = ask(visitor.open(subprotocols=[V1], **options), "connect")
    assert reply["ok"]["user"]["name"] == "alice"


def test_a_neighbour_chooses_its_own_subprotocols(visitor: Attacker) -> None:
    offered = [f"protocol{number}" for number in range(30)]
    assert hear(visitor.open(GREETER, subprotocols=offered))["user"] == ""
    assert hear(visitor.open(GREETER, subprotocols=["djwsbridge.v99"]))["user"] == ""


def test_a_neighbour_that_lets_nobody_in_is_no_error(visitor: Attacker) -> None:
    visitor.assert_refused(403, BOUNCER)
    visitor.assert_refused(404, "/ws/nope/")
    greeting(visitor)
    assert "ERROR" not in visitor.target.site.log
    assert "Traceback" not in visitor.target.site.log
