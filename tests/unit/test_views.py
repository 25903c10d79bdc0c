"""The ticket view, and what a socket's path says to plain HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from rest_framework.views import APIView
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.chat.api import views as chat_views
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.transport.auth.identity import session_digest
from djwsbridge.transport.auth.ticket import issue_ticket, issuing_time, redeem_ticket
from djwsbridge.views import TicketView, upgrade_required

URL = "/djwsbridge/ticket/"

pytestmark = [pytest.mark.urls("config.urls"), pytest.mark.database]


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="correct horse")


def test_a_session_gets_a_ticket_that_ends_with_it(alice: User, client: Client) -> None:
    client.force_login(alice)
    answer = client.post(URL)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["expires_in"] == 30
    identity = redeem_ticket(answer.json()["ticket"])
    assert identity.user == alice
    assert identity.session == session_digest(client.session.session_key or "")
    assert identity.expires_in is None


def test_a_token_gets_a_ticket_that_ends_with_it(alice: User, client: Client) -> None:
    token = AccessToken.for_user(alice)
    answer = client.post(URL, headers={"Authorization": f"Bearer {token}"})
    identity = redeem_ticket(answer.json()["ticket"])
    assert identity.session is None
    assert identity.expires_in is not None
    assert 0 < identity.expires_in <= 300


def test_a_ticket_is_worth_one_connection(alice: User, client: Client) -> None:
    client.force_login(alice)
    ticket = client.post(URL).json()["ticket"]
    redeem_ticket(ticket)
    with pytest.raises(CloseConnection, match="ticket_used"):
        redeem_ticket(ticket)


@pytest.mark.parametrize("seconds", [-90, 90], ids=["behind", "ahead"])
def test_a_ticket_is_as_old_as_the_database_says(
    alice: User, client: Client, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    client.force_login(alice)
    ticket = client.post(URL).json()["ticket"]
    moment = time.time() + seconds
    monkeypatch.setattr("django.core.signing.time.time", lambda: moment)
    assert redeem_ticket(ticket).user == alice


@pytest.mark.parametrize("clock", ["database", "own"])
def test_an_old_ticket_is_refused(alice: User, monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    if clock == "database":
        ticket = issue_ticket(alice, issued_at=(issuing_time(alice) or 0.0) - 31)
    else:
        ticket = issue_ticket(alice)
        moment = time.time() + 31
        monkeypatch.setattr("django.core.signing.time.time", lambda: moment)
    with pytest.raises(CloseConnection, match="ticket_expired"):
        redeem_ticket(ticket)


def test_a_new_password_makes_a_ticket_worthless(alice: User, client: Client) -> None:
    client.force_login(alice)
    ticket = client.post(URL).json()["ticket"]
    alice.set_password("another one")
    alice.save()
    with pytest.raises(CloseConnection, match="revoked"):
        redeem_ticket(ticket)


def test_nobody_gets_none(db: None, client: Client) -> None:
    assert client.post(URL).status_code in {401, 403}
    assert client.get(URL).status_code in {401, 403, 405}


def test_a_form_of_another_site_gets_none(alice: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(URL).status_code == 403


def test_an_inactive_user_gets_none(alice: User, client: Client) -> None:
    client.force_login(alice)
    User.objects.update(is_active=False)
    assert client.post(URL).status_code in {401, 403}


@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_plain_http_is_told_what_the_path_is_for(method: str) -> None:
    answer = upgrade_required(getattr(RequestFactory(), method)("/ws/bridge/"))
    assert answer.status_code == 426
    assert (answer["Upgrade"], answer["Connection"]) == ("websocket", "Upgrade")


# -- why a socket does not open ---------------------------------------------------------------------------------------

SOCKET = "/djwsbridge/socket/"


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("origin", "host", "reason", "words"),
    [
        ("https://testserver", "testserver", "origin", "SECURE_PROXY_SSL_HEADER"),
        ("http://evil.com", "testserver", "origin", "CSRF_TRUSTED_ORIGINS"),
        ("null", "testserver", "origin", "'null'"),
        ("", "testserver", "origin_missing", "Origin header"),
        ("http://testserver", "testserver", "unreached", "Upgrade"),
    ],
)
def test_a_page_is_told_why_its_socket_does_not_open(
    alice: User,
    client: Client,
    settings: Any,
    debug: bool,  # noqa: FBT001
    origin: str,
    host: str,
    reason: str,
    words: str,
) -> None:
    settings.DEBUG = debug
    client.force_login(alice)
    answer = client.get(SOCKET, {"origin": origin}, headers={"host": host})
    assert answer.json()["reason"] == reason
    assert (words in answer.json()["message"]) is debug
    assert "no-store" in answer["Cache-Control"]


def test_the_api_of_the_chat_tells_it_too(alice: User, client: Client) -> None:
    client.force_login(alice)
    host = {"host": "testserver"}
    answer = client.get("/chat/api/socket/", {"origin": "http://testserver"}, headers=host)
    assert answer.json()["reason"] == "unreached"


def test_strangers_are_told_nothing(db: None, client: Client) -> None:
    answer = client.get(SOCKET, {"origin": "http://evil.com"})
    assert (answer.status_code, answer.json()) == (401, {"reason": "auth_required"})
    assert client.post(SOCKET).status_code == 405


RULES = [name for name in vars(APIView) if name.endswith(("_classes", "_class"))]


@pytest.mark.parametrize("name", [*RULES, "get_exception_handler"])
@pytest.mark.parametrize(
    "view", [TicketView, *(getattr(chat_views, name) for name in chat_views.__all__)]
)
def test_what_a_project_rules_for_its_own_api_does_not_apply_here(
    view: type[APIView], name: str
) -> None:
    own = view.__mro__[: view.__mro__.index(APIView)]
    assert any(name in vars(kind) for kind in own)
