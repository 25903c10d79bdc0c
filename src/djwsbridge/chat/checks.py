"""System checks of the chat."""

from __future__ import annotations

from django.apps import apps
from django.core.checks import CheckMessage, Error

__all__ = ["check_log"]


def check_log(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when the chat has no log to number its messages."""
    if apps.is_installed("djwsbridge.log"):
        return []
    return [
        Error(
            "`djwsbridge.chat` is in INSTALLED_APPS, but `djwsbridge.log` is not.",
            hint='Add "djwsbridge.log" before "djwsbridge.chat", and run `manage.py migrate`.',
            id="djwsbridge_chat.E001",
        )
    ]
