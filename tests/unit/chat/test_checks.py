from __future__ import annotations

from typing import Any

from django.core.checks import run_checks

from djwsbridge.chat.checks import check_log


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
