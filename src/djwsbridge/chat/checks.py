"""System checks of the chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  Django's name
from django.db import router
from django.urls import NoReverseMatch, reverse

__all__ = ["check_log", "check_policy"]

#: What applies to the import map, the first of them that a policy has.
SCRIPT_DIRECTIVES = ("script-src-elem", "script-src", "default-src")


def check_log(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when the chat has no log to number its messages, or the log or the users are elsewhere."""
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
    people = router.db_for_write(get_user_model())
    if people != log:
        yield Error(
            f"The chat is written to the database `{log}`, and the users to `{people}`.",
            hint=(
                "Let the routers in DATABASE_ROUTERS name one database for the app of AUTH_USER_MODEL, "
                "`djwsbridge_log` and `djwsbridge_chat`: rooms and messages refer to users, and no database can "
                "refer to rows of another."
            ),
            id="djwsbridge_chat.E003",
        )


def check_policy(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is wrong when a Content-Security-Policy lets the browser block the pages' import map."""
    if not (_has_pages() and any("csp" in name.lower() for name in settings.MIDDLEWARE)):
        return []
    policies = {
        "SECURE_CSP": getattr(settings, "SECURE_CSP", None),
        "CONTENT_SECURITY_POLICY": (getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}).get(
            "DIRECTIVES"
        ),
    }
    return [
        Warning(
            f"The policy in {name} lets no inline script in by a nonce, and the chat's pages have one: the import map.",
            hint=(
                "Add the nonce to `script-src`: `CSP.NONCE` of `django.utils.csp`, or `NONCE` of `csp.constants`. "
                'Without it the browser blocks the import map, and the page stays at "Connecting…".'
            ),
            id="djwsbridge_chat.W001",
        )
        for name, policy in policies.items()
        if policy and not _lets_import_map_in(policy)
    ]


def _has_pages() -> bool:
    try:
        reverse("djwsbridge_chat:index")
    except NoReverseMatch:
        return False
    return True


def _lets_import_map_in(policy: Mapping[str, Any]) -> bool:
    for name in SCRIPT_DIRECTIVES:
        if policy.get(name) is not None:
            sources = policy[name]
            written = str([sources] if isinstance(sources, str) else list(sources)).lower()
            return any(word in written for word in ("nonce", "'sha", "'unsafe-inline'"))
    return True
