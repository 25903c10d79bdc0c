"""Handshake and authentication: rows H1 to H25 of the promises, under Daphne and uvicorn.

H18 and H26 have files of their own. Slow handshakes (H23) are cut by the shipped nginx: tests/integration/test_nginx.py
shows it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import httpx
import jwt
import pytest
from django.contrib.auth.models import User

from djwsbridge.transport.auth.ticket import issue_ticket
from tests.deploy_rig import Nginx
from tests.security.raw_websocket import CLOSED, UNANSWERED, exchange
from tests.security.rig import (
    KEYS,
    PATH,
    V1,
    Attacker,
    KeyPair,
    Target,
    ask,
    assert_alive,
    assert_told_and_closed,
    hear,
    say,
)
from tests.servers import wait_until

# Pages of app shells and browser extensions.
APPS = [
    "capacitor://localhost",
    "tauri://localhost",
    "app://.",
    "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
]
SITE_SETTINGS: dict[str, Any] = {
    "DJWSBRIDGE_CONNECT_TIMEOUT": 2.0,
    "DJWSBRIDGE_TOKEN_LEEWAY": 1.0,
    "DJWSBRIDGE_TRUSTED_PROXIES": ["127.9.9.9"],
    "DJWSBRIDGE_FRAME_RATE": [1_000, 60.0],
    "CSRF_TRUSTED_ORIGINS": ["https://example.com", *APPS],
}

NewAttacker = Callable[..., Attacker]


def ticket_of(target: Target, name: str = "alice", *, age: float = 0.0) -> str:
    """Return a ticket that the site has made some seconds ago."""
    made = time.time() - age
    with patch("django.core.signing.time.time", lambda: made):
        return issue_ticket(User(pk=target.id_of(name)))


# -- H1 to H5: the session cookie and the page that uses it ------------------------------------------------------------

FOREIGN_ORIGINS = {
    "H1-foreign": "https://evil.com",
    "H2-missing": None,
    "H3-null": "null",
    "H3-file": "file://",
    "H3-empty": "",
    "H4-suffix": "https://example.com.evil.com",
    "H4-prefix": "https://evilexample.com",
    "H4-user": "https://example.com@evil.com",
    "H4-bad-port": "https://example.com:evil",
    "H5-scheme": "http://example.com",
    "H5-port": "https://example.com:9999",
    "H5-own-host-other-scheme": "https://127.0.0.1",
    "H5-own-host-other-port": "http://127.0.0.1:1",
}


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS.values(), ids=FOREIGN_ORIGINS.keys())
@pytest.mark.parametrize("subprotocols", [None, [V1]], ids=["plain", "v1"])
def test_h1_to_h5_a_foreign_page_does_not_get_in(
    attacker: Attacker, origin: str | None, subprotocols: list[str] | None
) -> None:
    cookie = attacker.target.cookie_of("alice")
    # What is no origin at all, autobahn answers with 400 before Daphne asks us.
    daphne = 400 if origin in {"", FOREIGN_ORIGINS["H4-bad-port"]} else 403
    attacker.assert_refused(
        403, daphne=daphne, cookie=cookie, origin=origin, subprotocols=subprotocols
    )


@pytest.mark.parametrize("own", [True, False], ids=["own", "trusted"])
def test_h1_the_sites_own_pages_do(attacker: Attacker, own: bool) -> None:  # noqa: FBT001
    origin = attacker.target.site.url if own else "https://example.com"
    socket = attacker.open_v1(cookie=attacker.target.cookie_of("alice"), origin=origin)
    assert ask(socket, "connect")["ok"]["user"]["name"] == "alice"


@pytest.mark.parametrize("origin", APPS)
def test_h1_a_listed_app_does(attacker: Attacker, origin: str) -> None:
    cookie = attacker.target.cookie_of("alice")
    socket = attacker.open_v1(cookie=cookie, origin=origin)
    assert ask(socket, "connect")["ok"]["user"]["name"] == "alice"
    attacker.assert_refused(403, cookie=cookie, origin=f"{origin}x")


# -- H6 to H9: tickets, and secrets in addresses -----------------------------------------------------------------------


def test_h6_a_token_in_the_address_is_refused_and_not_logged(attacker: Attacker) -> None:
    token = attacker.target.token()
    for name in ("token", "access_token", "jwt"):
        attacker.assert_refused(403, f"{PATH}?{name}={token}")
    attacker.assert_refused(403, f"{PATH}?ticket={ticket_of(attacker.target)}")
    assert token not in attacker.target.site.log


def test_h7_a_ticket_is_used_once(attacker: Attacker) -> None:
    ticket = ticket_of(attacker.target)
    assert "ok" in ask(attacker.open_v1(), "connect", ticket=ticket)
    second = attacker.open_v1()
    say(second, {"id": 1, "cmd": "connect", "ticket": ticket})
    assert_told_and_closed(second, 4401, "ticket_used")


def test_h8_an_old_ticket_is_refused(attacker: Attacker) -> None:
    socket = attacker.open_v1()
    say(socket, {"id": 1, "cmd": "connect", "ticket": ticket_of(attacker.target, age=31)})
    assert_told_and_closed(socket, 4401, "ticket_expired")


def test_h8_a_ticket_of_another_user_is_refused(attacker: Attacker) -> None:
    target = attacker.target
    socket = attacker.open_v1(cookie=target.cookie_of("alice"), origin=target.site.url)
    say(socket, {"id": 1, "cmd": "connect", "ticket": ticket_of(target, "bob")})
    assert_told_and_closed(socket, 4401, "token_invalid")


@pytest.mark.parametrize("position", [0, 20, -1])
def test_h8_a_changed_ticket_is_refused(attacker: Attacker, position: int) -> None:
    characters = list(ticket_of(attacker.target))
    characters[position] = chr(ord(characters[position]) ^ 1)
    socket = attacker.open_v1()
    say(socket, {"id": 1, "cmd": "connect", "ticket": "".join(characters)})
    assert_told_and_closed(socket, 4401, "token_invalid")


def test_h8_who_guesses_is_slowed_down(attacker: Attacker, new_attacker: NewAttacker) -> None:
    for number in range(20):
        socket = attacker.open_v1()
        say(socket, {"id": 1, "cmd": "connect", "ticket": f"guess-{number}"})
        assert_told_and_closed(socket, 4401, "token_invalid")
    socket = attacker.open_v1()
    say(socket, {"id": 1, "cmd": "connect", "ticket": "guess"})
    assert assert_told_and_closed(socket, 4429, "rate_limited")["retry_after_ms"] > 0
    # Every kind of credential counts.
    attacker.assert_refused(429, token="a.b.c")
    attacker.assert_refused(429, subprotocols=["djwsbridge.bearer.a.b.c"])
    # Whoever is at the same address with a good credential gets in, and so does everybody else.
    assert_alive(attacker.connect())
    assert_alive(new_attacker().connect())


def test_h9_a_ticket_is_not_given_without_a_csrf_token(target: Target) -> None:
    url = f"{target.site.url}/djwsbridge/ticket/"
    cookie = {"Cookie": target.cookie_of("alice")}
    assert httpx.post(url, headers=cookie).status_code == 403
    assert httpx.post(url).status_code in {401, 403}
    answer = httpx.post(url, headers={"Authorization": f"Bearer {target.token()}"})
    assert answer.json()["expires_in"] == 30
    assert answer.headers["Cache-Control"] == "no-store"


def test_h9_a_page_of_the_site_gets_a_ticket(attacker: Attacker) -> None:
    target = attacker.target
    token = "a" * 32
    answer = httpx.post(
        f"{target.site.url}/djwsbridge/ticket/",
        headers={
            "Cookie": f"{target.cookie_of('alice')}; csrftoken={token}",
            "X-CSRFToken": token,
        },
    )
    reply = ask(attacker.open_v1(), "connect", ticket=answer.json()["ticket"])
    assert reply["ok"]["user"]["name"] == "alice"


# -- H10 to H12: the first frame ---------------------------------------------------------------------------------------


def test_h10_a_connection_that_says_nothing_is_closed(attacker: Attacker) -> None:
    assert_told_and_closed(attacker.open_v1(), 4408, "auth_required")


@pytest.mark.parametrize(
    "frame",
    [
        {"id": 1, "cmd": "heartbeat"},
        {"id": 1, "cmd": "subscribe", "topic": "user.1"},
        {"id": 1, "cmd": "nope"},
    ],
    ids=["heartbeat", "subscribe", "unknown"],
)
def test_h11_frames_before_connect_are_not_carried_out(attacker: Attacker, frame: Any) -> None:
    socket = attacker.open_v1()
    say(socket, frame)
    assert_told_and_closed(socket, 4401, "auth_required")


def test_h11_a_plain_client_without_a_credential_is_told(attacker: Attacker) -> None:
    assert_told_and_closed(attacker.open(), 4401, "auth_required")


def test_h12_a_second_connect_changes_nothing(attacker: Attacker) -> None:
    socket = attacker.connect("alice")
    reply = ask(socket, "connect", id=2, token=attacker.target.token("bob"))
    assert (reply["id"], reply["error"]["code"]) == (2, "already_authenticated")
    assert_alive(socket)


# -- H13 to H15: tokens ------------------------------------------------------------------------------------------------


def encode_unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Return a token without a signature."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims)
    ]
    return ".".join([*parts, ""])


def hs256_with_the_public_key(target: Target) -> str:
    """Sign with what everybody knows: the confusion of RS256 and HS256."""
    signer = jwt.PyJWS()
    with patch("jwt.algorithms.is_pem_format", lambda _: False):
        return signer.encode(
            json.dumps(target.claims()).encode(), KEYS.public.encode(), algorithm="HS256"
        )


BAD_TOKENS: dict[str, Callable[[Target], str]] = {
    "alg-none": lambda target: encode_unsigned(target.claims(), {"alg": "none", "typ": "JWT"}),
    "alg-None": lambda target: encode_unsigned(target.claims(), {"alg": "None", "typ": "JWT"}),
    "hs256-with-the-public-key": hs256_with_the_public_key,
    "other-key": lambda target: jwt.encode(target.claims(), KeyPair().private, algorithm="RS256"),
    "other-secret": lambda target: jwt.encode(target.claims(), "x" * 32, algorithm="HS256"),
    "no-exp": lambda target: target.token(exp=None),
    "expired": lambda target: target.token(exp=int(time.time()) - 10),
    "not-yet": lambda target: target.token(nbf=int(time.time()) + 60),
    "refresh": lambda target: target.token(token_type="refresh"),
    "no-type": lambda target: target.token(token_type=None),
    "other-audience": lambda target: target.token(aud="shop"),
    "no-audience": lambda target: target.token(aud=None),
    "other-issuer": lambda target: target.token(iss="https://evil.example"),
    "no-issuer": lambda target: target.token(iss=None),
    "one-part": lambda _: "abc",
    "stripped-signature": lambda target: target.token().rpartition(".")[0] + ".",
    "H14-no-user": lambda target: target.token(user_id=None),
    "H14-word": lambda target: target.token(user_id="abc"),
    "H14-object": lambda target: target.token(user_id={"a": 1}),
    "H14-list": lambda target: target.token(user_id=[1]),
    "H14-huge": lambda target: target.token(user_id=10**30),
    "H14-negative": lambda target: target.token(user_id=-1),
    "H14-nul": lambda target: target.token(user_id="1\x00"),
    "H14-deleted": lambda target: target.token("deleted"),
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_h13_h14_a_bad_token_is_refused_however_it_comes(
    attacker: Attacker, make: Callable[[Target], str]
) -> None:
    token = make(attacker.target)
    by_command = attacker.open_v1()
    say(by_command, {"id": 1, "cmd": "connect", "token": token})
    by_header = attacker.open(token=token)
    by_subprotocol = attacker.open(subprotocols=[f"djwsbridge.bearer.{token}", V1])
    expired = make is BAD_TOKENS["expired"]
    for socket in (by_command, by_header, by_subprotocol):
        assert_told_and_closed(socket, 4401, "token_expired" if expired else "token_invalid")


def test_h15_an_inactive_user_is_told_so(attacker: Attacker) -> None:
    token = attacker.target.token("inactive")
    assert_told_and_closed(attacker.open(token=token), 4403, "forbidden")
    socket = attacker.open_v1()
    say(socket, {"id": 1, "cmd": "connect", "token": token})
    assert_told_and_closed(socket, 4403, "forbidden")


# -- H16, H17: a token ends --------------------------------------------------------------------------------------------


def test_h16_an_expired_token_is_announced_and_ends_the_connection(attacker: Attacker) -> None:
    exp = int(time.time()) + 2
    socket = attacker.connect(token=attacker.target.token(exp=exp))
    warning = hear(socket)
    assert warning["push"] == "auth.expiring"
    assert 0 <= warning["data"]["expires_in_ms"] <= 2_000
    assert_told_and_closed(socket, 4411, "token_expired")
    assert time.time() >= exp + SITE_SETTINGS["DJWSBRIDGE_TOKEN_LEEWAY"]


def test_h16_a_refreshed_token_keeps_the_connection(attacker: Attacker) -> None:
    socket = attacker.connect(token=attacker.target.token(exp=int(time.time()) + 1))
    assert hear(socket)["push"] == "auth.expiring"
    reply = ask(socket, "auth.refresh", id=2, token=attacker.target.token())
    assert reply["ok"]["expires_at"]
    end = time.monotonic() + 3  # the old token is over for certain
    wait_until(lambda: assert_alive(socket) or time.monotonic() > end, "the old token's end")


def test_h17_a_token_of_another_user_ends_the_connection(attacker: Attacker) -> None:
    socket = attacker.connect("alice")
    say(socket, {"id": 2, "cmd": "auth.refresh", "token": attacker.target.token("bob")})
    assert_told_and_closed(socket, 4403, "forbidden")


# -- H19 to H22: broken handshakes -------------------------------------------------------------------------------------


def test_h19_a_wrong_path_is_not_found(attacker: Attacker) -> None:
    attacker.assert_refused(404, "/ws/nope/")
    attacker.assert_refused(404, "/ws/nope/", token=attacker.target.token())


def test_h19_plain_http_is_told_to_upgrade(target: Target) -> None:
    answer = httpx.get(f"{target.site.url}{PATH}")
    assert answer.status_code == 426
    assert answer.headers["Upgrade"] == "websocket"


@pytest.mark.parametrize(
    "changed",
    [{"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "short"}],
    ids=["version", "no-key", "bad-key"],
)
def test_h19_a_broken_upgrade_is_a_bad_request(target: Target, changed: Any) -> None:
    # RFC 6455, section 4.4, lets a server answer an unknown version with 426.
    assert exchange(target.site, changed) in {400, 426}


def test_h20_subprotocols_that_are_none_are_a_bad_request(attacker: Attacker) -> None:
    attacker.assert_refused(400, headers={"Sec-WebSocket-Protocol": "a b"})
    attacker.assert_refused(400, subprotocols=[f"protocol{number}" for number in range(200)])


def test_h20_bytes_that_are_no_text_are_a_bad_request(target: Target) -> None:
    # Daphne fails at these bytes itself, before it asks us.
    expected = 500 if target.site.server == "daphne" else 400
    assert exchange(target.site, {"Sec-WebSocket-Protocol": b"\xff\xfe"}) == expected


def test_h20_an_unknown_version_is_told_which_are_known(attacker: Attacker) -> None:
    for options in ({}, {"token": attacker.target.token()}):
        socket = attacker.open(subprotocols=["djwsbridge.v99"], **options)
        assert socket.subprotocol == "djwsbridge.v99"
        data = assert_told_and_closed(socket, 4400, "unsupported_version")
        assert data["versions"] == [V1]


@pytest.mark.parametrize("byte", [b"\x85", b"\x0b", b"\x1c"])
def test_h21_no_byte_makes_a_second_header(target: Target, byte: bytes) -> None:
    own, evil = target.site.url.encode(), b"http://evil.example"
    session = target.cookie_of("alice").encode()
    # A foreign page cannot smuggle the site's origin in ...
    smuggled = {"Origin": evil, "Cookie": session, "X-Junk": b"a" + byte + b"Origin: " + own}
    assert exchange(target.site, smuggled, patience=1.0) in {400, 403, CLOSED, UNANSWERED}
    # ... and what looks like a second header does not count.
    harmless = {"Origin": own, "Cookie": session, "X-Junk": b"a" + byte + b"Origin: " + evil}
    assert exchange(target.site, harmless, patience=1.0) in {101, 400, CLOSED, UNANSWERED}


OVERSIZED = {
    "70-KiB": {"X-Long": b"a" * 70_000},
    "2000-headers": {f"X-{number}": b"1" for number in range(2_000)},
    "16-KiB-cookie": {"Cookie": b"a=" + b"b" * 16_384},
}


@pytest.mark.parametrize("headers", OVERSIZED.values(), ids=OVERSIZED.keys())
def test_h22_an_oversized_handshake_is_not_accepted(
    attacker: Attacker, headers: dict[str, bytes]
) -> None:
    # Stock uvicorn parses the headers, gives up and says nothing: the shipped nginx refuses them before, see below.
    site = attacker.target.site
    outcomes = {400, 431, CLOSED} | ({UNANSWERED} if site.server == "uvicorn" else set())
    assert exchange(site, headers, patience=1.0) in outcomes
    assert_alive(attacker.connect())


@pytest.fixture(scope="module")
def nginx(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run the shipped nginx in front of the site."""
    command = ["nginx", "-c", "/etc/djwsbridge/nginx.conf", "-g", "daemon off;"]
    directory = tmp_path_factory.mktemp("nginx")
    running = Nginx(command, directory=directory, upstreams=[target.site.port] * 2)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("name", ["70-KiB", "16-KiB-cookie"])
def test_h22_an_oversized_handshake_ends_at_once_behind_nginx(nginx: Nginx, name: str) -> None:
    assert exchange(nginx, OVERSIZED[name], patience=1.0) in {400, 431, CLOSED}


# -- H24, H25: addresses and numbers -----------------------------------------------------------------------------------


def crowd(attacker: Attacker, count: int, headers: Callable[[int], dict[str, str]]) -> None:
    """Open many sockets of several people from one place."""
    names = ["alice", "bob", "carol", "dave", "erin", "frank"]
    tokens = [attacker.target.token(name) for name in names]
    for number in range(count):
        attacker.open(token=tokens[number // 10], headers=headers(number))


def test_h24_an_untrusted_peer_cannot_choose_its_address(attacker: Attacker) -> None:
    crowd(attacker, 50, lambda number: {"X-Forwarded-For": f"10.1.0.{number}"})
    attacker.assert_refused(429, headers={"X-Forwarded-For": "1.2.3.4"}, subprotocols=[V1])


def test_h25_an_address_has_fifty_connections(new_attacker: NewAttacker) -> None:
    proxy = new_attacker("127.9.9.9")
    crowd(proxy, 50, lambda _: {"X-Forwarded-For": "10.2.0.1"})
    late = {"X-Forwarded-For": "6.6.6.6, 10.2.0.1"}  # the left part is what the client claims
    proxy.assert_refused(429, headers=late, subprotocols=[V1])
    proxy.open_v1(headers={"X-Forwarded-For": "10.2.0.2"})


def test_h25_a_user_has_ten_connections(attacker: Attacker) -> None:
    first = [attacker.connect("carol") for _ in range(10)]
    late = attacker.open(token=attacker.target.token("carol"))
    if attacker.target.site.server != "fast":  # which sends pings: the library answers them
        for socket in first:
            proof = hear(socket)
            assert "ok" in ask(socket, "heartbeat", id=78, **proof["data"])
    assert_told_and_closed(late, 4430, "too_many")
    for socket in first:
        assert_alive(socket)
