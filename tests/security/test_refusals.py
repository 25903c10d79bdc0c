"""The log says why a WebSocket is refused, to the one who can mend it: once a minute, on one line, without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.security.raw_websocket import exchange
from tests.security.rig import PATH, V1, Attacker, Target, assert_told_and_closed, say
from tests.security.test_handshake import ticket_of
from tests.servers import Site, wait_until

SITE_SETTINGS: dict[str, Any] = {
    "CSRF_TRUSTED_ORIGINS": ["https://app.example.com"],
    "DJWSBRIDGE_TRUSTED_PROXIES": ["127.0.0.0/8"],
    "DJWSBRIDGE_CONNECTIONS_PER_ADDRESS": 2,
}
LINE = re.compile(r"^\S+ \S+ (\w+) djwsbridge\.handshake (.*)$", re.MULTILINE)

NewAttacker = Callable[..., Attacker]


def lines_of(site: Site, *words: str) -> list[str]:
    """Return the lines of the log about handshakes that hold all of these words, with their levels."""
    found = [f"{level} {text}" for level, text in LINE.findall(site.log)]
    return [line for line in found if all(word in line for word in words)]


def assert_tells(attacker: Attacker, refuse: Callable[[], object], *words: str) -> str:
    """Expect one line, however often a handshake is refused for one reason; return it."""
    site = attacker.target.site
    for _ in range(3):
        refuse()
    wait_until(lambda: lines_of(site, *words), f"a line with {words} in {site.log}")
    attacker.open_v1(headers={"X-Forwarded-For": "10.9.9.9"}).close()  # what is written by now
    (line,) = lines_of(site, *words)
    assert line.startswith("WARNING A WebSocket ")
    assert "ERROR" not in site.log
    return line


def cookie(attacker: Attacker) -> dict[str, str]:
    return {"cookie": attacker.target.cookie_of("alice")}


def test_a_foreign_origin(attacker: Attacker) -> None:
    def refuse() -> None:
        attacker.assert_refused(403, origin="https://evil.com", **cookie(attacker))

    line = assert_tells(attacker, refuse, "HTTP 403", "'https://evil.com'")
    assert f"['https://app.example.com', '{attacker.target.site.url}']" in line
    assert "CSRF_TRUSTED_ORIGINS" in line


def test_a_missing_origin(attacker: Attacker) -> None:
    def refuse() -> None:
        attacker.assert_refused(403, **cookie(attacker))

    assert "https://app.example.com" in assert_tells(attacker, refuse, "without an Origin header")


def test_a_host_that_is_not_allowed(attacker: Attacker) -> None:
    site = attacker.target.site
    sent = {"Host": b"inner:8000", "Origin": b"https://example.com"}
    session = cookie(attacker)["cookie"].encode()

    def refuse() -> None:
        assert exchange(site, {**sent, "Cookie": session}) == 403

    assert "'https://example.com'" in assert_tells(
        attacker, refuse, "'inner:8000'", "ALLOWED_HOSTS"
    )


@pytest.mark.parametrize("name", ["token", "ticket"])
def test_a_secret_in_the_address(attacker: Attacker, name: str) -> None:
    def refuse() -> None:
        attacker.assert_refused(403, f"{PATH}?{name}=hush-hush")

    assert_tells(attacker, refuse, f"it has a {name} in its address", "`connect`")
    if attacker.target.site.server != "daphne":  # whose own access log has it
        assert "hush-hush" not in attacker.target.site.log


def test_an_unknown_path(attacker: Attacker) -> None:
    def refuse() -> None:
        attacker.assert_refused(404, "/ws/nope%0d%0aINFO%20forged")

    line = assert_tells(attacker, refuse, "HTTP 404", "DJWSBRIDGE_WS_PATH ('bridge')")
    assert r"'/ws/nope\r\nINFO forged'" in line
    assert "\nINFO forged" not in attacker.target.site.log


def test_too_many_connections_of_an_address(attacker: Attacker) -> None:
    headers = {"X-Forwarded-For": "10.3.0.1"}
    for name in ("alice", "bob"):  # in the plain dialect, which has no answer to whether they live
        attacker.open(token=attacker.target.token(name), headers=headers)

    def refuse() -> None:
        attacker.assert_refused(429, subprotocols=[V1], headers=headers)

    line = assert_tells(attacker, refuse, "DJWSBRIDGE_CONNECTIONS_PER_ADDRESS", "'10.3.0.1'")
    assert "DJWSBRIDGE_TRUSTED_PROXIES" in line


def test_too_many_wrong_tokens(attacker: Attacker) -> None:
    for _ in range(20):
        assert_told_and_closed(attacker.open(token="a.b.c"), 4401, "token_invalid")

    def refuse() -> None:
        attacker.assert_refused(429, token="a.b.c")

    assert_tells(attacker, refuse, "more than 20 bad credentials", f"'{attacker.address}'")
    assert_tells(attacker, lambda: None, "token_invalid", "'Invalid header padding'")


def test_subprotocols_that_are_none(attacker: Attacker) -> None:
    many = [f"protocol{number}" for number in range(200)]

    def refuse() -> None:
        attacker.assert_refused(400, subprotocols=many)

    assert_tells(attacker, refuse, "more than 20 subprotocols")


def test_a_version_of_another_release(attacker: Attacker) -> None:
    def refuse() -> None:
        socket = attacker.open(subprotocols=["djwsbridge.v99"])
        assert_told_and_closed(socket, 4400, "unsupported_version")

    assert_tells(attacker, refuse, "unsupported_version", "'djwsbridge.v99'")


def test_no_credential(attacker: Attacker) -> None:
    def refuse() -> None:
        assert_told_and_closed(attacker.open(), 4401, "auth_required")

    assert_tells(attacker, refuse, "auth_required", "brought no credential")


def test_a_ticket_that_was_used(attacker: Attacker) -> None:
    ticket = ticket_of(attacker.target)

    def refuse() -> None:
        socket = attacker.open_v1()
        say(socket, {"id": 1, "cmd": "connect", "ticket": ticket})
        socket.recv()
        socket.close()

    assert_tells(attacker, refuse, "ticket_used", "before each connection")
    assert ticket not in attacker.target.site.log


def test_a_proxy_that_leaves_the_upgrade_out(attacker: Attacker) -> None:
    def refuse() -> None:
        headers = {"Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
        answer = httpx.get(f"{attacker.target.site.url}{PATH}", headers=headers)
        assert answer.status_code == 426

    assert_tells(attacker, refuse, "'/ws/bridge/'", "header Upgrade is missing")


def test_a_version_of_the_websocket_protocol(target: Target) -> None:
    if target.site.server != "fast":  # the others refuse it themselves
        return
    for _ in range(3):
        assert exchange(target.site, {"Sec-WebSocket-Version": "12"}) == 426
    (line,) = lines_of(target.site, "Sec-WebSocket-Version")
    assert line.startswith("WARNING A WebSocket was refused with HTTP 426")
