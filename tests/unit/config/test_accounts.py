from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from config.forms import SignUpForm

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PASSWORD = "correct horse battery"


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


@pytest.mark.parametrize("name", ["alice", "ALICE", "\u0430lice", "", "a b", "a" * 151])
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


def test_pages_allow_nothing_from_elsewhere(client: Client) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
