"""One process serves one tenant: the first that it was seen to work for. Another one is refused.

Users, topics, presence and limits are known by their keys alone. User 1 of a second tenant would be taken for user 1 of
the first.
"""

from __future__ import annotations

import functools
import logging
import time

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections, router

from djwsbridge.documentation import see

__all__ = ["OtherTenant", "check_tenant", "current_tenant", "is_own_tenant"]

logger = logging.getLogger("djwsbridge.tenancy")

WARNING_INTERVAL = 60.0  # seconds between two lines about other tenants


class OtherTenant(ImproperlyConfigured):
    """The running code works for another tenant than its process does."""


class _Process:
    """What is known of this process."""

    # None until something has asked.
    tenant: str | None = None
    next_warning = 0.0


def current_tenant() -> str | None:
    """Return the tenant of the running code; None in a project that can have only one. Asks no database.

    It is the database that DATABASE_ROUTERS name for the user model, with what django-tenants and its relatives note on
    a connection.
    """
    if not router.routers and not _has_schemas():
        return None  # the usual project: this runs for every push
    alias = router.db_for_write(get_user_model()) if router.routers else DEFAULT_DB_ALIAS
    schema = getattr(connections[alias], "schema_name", None)
    return f"{alias}/{schema}" if schema else alias


def is_own_tenant() -> bool:
    """Say whether the running code works for the tenant of this process, which the first call decides. Log another."""
    tenant = current_tenant()
    if tenant is None:
        return True
    if _Process.tenant is None:
        _Process.tenant = tenant
    if tenant == _Process.tenant:
        return True
    now = time.monotonic()
    if now >= _Process.next_warning:
        _Process.next_warning = now + WARNING_INTERVAL
        logger.error(_mixed_up(tenant))
    return False


def check_tenant() -> None:
    """Stop code that works for another tenant than this process does.

    Raises:
        OtherTenant: it does.
    """
    if not is_own_tenant():
        raise OtherTenant(_mixed_up(current_tenant()))


def _mixed_up(tenant: str | None) -> str:
    return (
        f"This process serves the users of `{_Process.tenant}`, and refuses those of `{tenant}`: one process serves "
        f"one tenant. {see('How to serve several tenants')}"
    )


@functools.cache
def _has_schemas() -> bool:
    return any(hasattr(connections[alias], "schema_name") for alias in connections)


def _forget(*, setting: str = "", **_: object) -> None:
    if setting in {"AUTH_USER_MODEL", "DATABASES", "DATABASE_ROUTERS"}:
        _Process.tenant = None
        _Process.next_warning = 0.0
        _has_schemas.cache_clear()


setting_changed.connect(_forget, dispatch_uid="djwsbridge.tenancy")
