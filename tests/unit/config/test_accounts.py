from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client

from config import tries, views
from config.forms import SignUpForm

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _nobody_has_tried() -> None:
    """Forget what earlier tests have counted."""
    cache.clear()
    tries._here.clear()


def log_in(client: Client, name: str, password: str, **options: Any) -> Any:
    path = options.pop("path", "/accounts/login/")
    return client.post(path, {"username": name, "password": password}, **options)


def sign_up(client: Client, name: str) -> Any:
    fields = {"username": name, "password1": PASSWORD, "password2": PASSWORD}
    return client.post("/accounts/signup/", fields)


def test_the_first_address_leads_to_the_chat(client: Client) -> None:
    answer: Any = client.get("/")
    assert answer.status_code == 302
    assert answer.url == "/chat/"


def test_signing_up_logs_in_and_leads_to_the_chat(client: Client) -> None:
    assert client.get("/accounts/signup/").status_code == 200
    assert sign_up(client, "alice").url == "/chat/"
    assert client.get("/chat/").status_code == 200
    again: Any = client.get("/accounts/signup/")
    assert again.url == "/chat/"


@pytest.mark.parametrize("name", ["alice", "ALICE", "\u0430lice", "", "a b", ".", "..", "a" * 151])
def test_a_name_that_cannot_be_had_is_refused(client: Client, name: str) -> None:
    User.objects.create_user("alice")
    answer = sign_up(client, name)
    assert answer.status_code == 200
    assert answer.context["form"].errors["username"]
    assert User.objects.count() == 1


def test_a_name_that_is_taken_meanwhile_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_user("alice")
    monkeypatch.setattr(SignUpForm, "clean_username", lambda form: form.cleaned_data["username"])
    monkeypatch.setattr(SignUpForm, "validate_unique", lambda _: None)
    answer = sign_up(client, "alice")
    assert answer.status_code == 200
    assert answer.context["form"].errors["username"]


def test_logging_in_and_out(client: Client) -> None:
    User.objects.create_user("alice", password=PASSWORD)
    assert client.get("/accounts/login/").status_code == 200
    fields = {"username": "alice", "password": PASSWORD}
    answer: Any = client.post("/accounts/login/?next=/chat/general/", fields)
    assert answer.url == "/chat/general/"
    assert client.get("/accounts/logout/").status_code == 405
    answer = client.post("/accounts/logout/")
    assert answer.url == "/accounts/login/"
    assert client.get("/chat/").status_code == 302


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_wrong_passwords_come_to_an_end(client: Client, name: str, path: str) -> None:
    User.objects.create_user("alice", password=PASSWORD)
    for number in range(5):
        assert log_in(client, name, f"guess {number}", path=path).status_code == 200
    for written in (name, f" {name}", name.upper()):
        refused = log_in(client, written, PASSWORD, path=path)
        assert refused.status_code == 429
        assert views.TOO_MANY_TRIES in refused.text
        assert refused.headers["Retry-After"] == "300"
        assert "_auth_user_id" not in client.session
    elsewhere = log_in(client, "alice", PASSWORD, REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 302, "nobody can shut out somebody else"


def test_who_gets_in_begins_anew(client: Client) -> None:
    User.objects.create_user("alice", password=PASSWORD)
    for _ in range(2):
        for number in range(4):
            assert log_in(client, "alice", f"guess {number}").status_code == 200
        assert log_in(client, "alice", PASSWORD).status_code == 302
        client.logout()


def test_one_password_for_many_names_comes_to_an_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LOG_INS", tries.Limit("log-ins", 3, 300))
    statuses = [log_in(client, f"user{number}", PASSWORD).status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_nobody_makes_accounts_without_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SIGN_UPS", tries.Limit("sign-ups", 1, 3600))
    assert sign_up(client, "alice").status_code == 302
    client.logout()
    refused = sign_up(client, "bob")
    assert refused.status_code == 429
    assert views.TOO_MANY_ACCOUNTS in refused.text
    assert User.objects.count() == 1


def test_tries_are_counted_without_the_cache(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError

    User.objects.create_user("alice", password=PASSWORD)
    broken = LocMemCache("broken", {})
    monkeypatch.setattr(broken, "add", fail)
    monkeypatch.setattr(broken, "delete", fail)
    monkeypatch.setattr(tries, "cache", broken)
    assert log_in(client, "alice", PASSWORD).status_code == 302
    client.logout()
    statuses = [log_in(client, "alice", "guess").status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]


def test_a_count_that_has_just_expired_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries._here, "add", lambda *_: True)
    monkeypatch.setattr(tries, "cache", tries._here)
    assert not tries.is_one_too_many(tries.Limit("any", 1, 1), "alice")


def test_pages_allow_nothing_from_elsewhere(client: Client) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
