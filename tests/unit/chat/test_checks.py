from __future__ import annotations

import sys
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from djwsbridge.chat.checks import check_log
from tests.unit.log.databases import Elsewhere


def test_the_chat_needs_the_log(settings: Any) -> None:
    without = [app for app in settings.INSTALLED_APPS if app != "djwsbridge.log"]
    assert check_log(None) == []
    settings.INSTALLED_APPS = without
    [error] = check_log(None)
    assert error.id == "djwsbridge_chat.E001"
    assert "djwsbridge.log" in error.msg
    assert "djwsbridge.log" in str(error.hint)


def test_the_app_has_registered_it(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "djwsbridge.log"]
    assert "djwsbridge_chat.E001" in [message.id for message in run_checks()]


def test_the_chat_and_its_log_share_one_transaction(settings: Any) -> None:
    assert check_log(None) == []
    settings.DATABASE_ROUTERS = [Elsewhere("other", frozenset({"djwsbridge_log", "auth"}))]
    [error] = check_log(None)
    assert error.id == "djwsbridge_chat.E002"
    assert "`other`" in error.msg
    assert "`default`" in error.msg
    assert "DATABASE_ROUTERS" in str(error.hint)
    assert error in run_checks()
    settings.DATABASE_ROUTERS = [
        Elsewhere("other", frozenset({"djwsbridge_log", "djwsbridge_chat", "auth"}))
    ]
    assert check_log(None) == []


def test_the_users_are_in_the_database_of_the_chat(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere("other", frozenset({"auth"}))]
    [error] = check_log(None)
    assert error.id == "djwsbridge_chat.E003"
    assert "`other`" in error.msg
    assert "`default`" in error.msg
    assert error in run_checks()


def test_every_table_of_the_chat_is_where_the_others_are(settings: Any) -> None:
    class Messages(Elsewhere):
        def db_for_write(self, model: type[Model], **hints: object) -> str | None:
            return "other" if model._meta.model_name == "message" else None

    settings.DATABASE_ROUTERS = [Messages("other", frozenset())]
    assert [error.id for error in check_log(None)] == ["djwsbridge_chat.E002"]


def test_the_chat_names_the_extra_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confusable_homoglyphs", None)
    with pytest.raises(ImproperlyConfigured, match=r'pip install "djwsbridge\[chat\]"'):
        apps.get_app_config("djwsbridge_chat").import_models()
