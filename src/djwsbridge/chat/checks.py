"""System checks of the chat."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.db import router

__all__ = ["check_log"]


def check_log(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when the chat has no log to number its messages, or one in another database."""
    if apps.is_installed("djwsbridge.log"):
        return list(_check_database())
    return [
        Error(
            "`djwsbridge.chat` is in INSTALLED_APPS, but `djwsbridge.log` is not.",
            hint='Add "djwsbridge.log" before "djwsbridge.chat", and run `manage.py migrate`.',
            id="djwsbridge_chat.E001",
        )
    ]


def _check_database() -> Iterator[CheckMessage]:
    log = router.db_for_write(apps.get_model("djwsbridge_log", "Topic"))
    models = apps.get_app_config("djwsbridge_chat").get_models()
    elsewhere = sorted({router.db_for_write(model) for model in models} - {log})
    if elsewhere:
        yield Error(
            f"The log is written to the database `{log}`, and tables of the chat to `{'`, `'.join(elsewhere)}`.",
            hint=(
                "Let the routers in DATABASE_ROUTERS name one database for `djwsbridge_log` and `djwsbridge_chat`: a "
                "message and its number are stored together or not at all."
            ),
            id="djwsbridge_chat.E002",
        )
