"""System checks of projects that serve several tenants in one process, which this library does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from djwsbridge.documentation import see
from djwsbridge.sources import source_of

__all__ = ["check_tenants"]

# The first parts of dotted paths: packages that give each request a tenant of its own.
_PACKAGES = frozenset(
    {
        "db_multitenant",
        "django_multitenant",
        "django_pgschemas",
        "django_tenants",
        "tenant_schemas",
        "tenant_users",
    }
)
_HINT = f"Start one server process per tenant. {see('How to serve several tenants')}"
# Where code keeps what belongs to the current request, and nowhere else.
_HOLDER = re.compile(r"\bContextVar\b|\bthreading\.local\b|\bimport local\b|\bLocal\(")
_HOST = re.compile(r"\bget_host\b|\bHTTP_HOST\b|subdomain|[\"']host[\"']", re.IGNORECASE)
_TENANT = re.compile(r"tenant", re.IGNORECASE)


def check_tenants() -> Iterator[CheckMessage]:
    """Complain of what gives each request a tenant, and of what looks like it."""
    known = sorted(path for path in _dotted_paths() if path.partition(".")[0] in _PACKAGES)
    if known:
        yield Error(
            f"{known[0]} gives each request a tenant of its own, and one process of djwsbridge serves one tenant.",
            hint=(
                f"User 1 of one tenant would get what belongs to user 1 of another. {_HINT} "
                "Silence this in a project that does."
            ),
            id="djwsbridge.E022",
        )
        return
    for path, reason in _suspects():
        yield Caution(
            f"{path} {reason}: does it choose the tenant of a request?",
            hint=f"If so, user 1 of two tenants is one person here. {_HINT} If not, silence this.",
            id="djwsbridge.W022",
        )


def _dotted_paths() -> Iterator[str]:
    yield from _names(django_settings.INSTALLED_APPS)
    yield from _names(django_settings.MIDDLEWARE)
    yield from _names(django_settings.DATABASE_ROUTERS)
    for database in django_settings.DATABASES.values():
        yield str(database.get("ENGINE", ""))


def _suspects() -> Iterator[tuple[str, str]]:
    """Return routers and middleware of the project that seem to know the tenant of a request, and why."""
    for path in _names(django_settings.DATABASE_ROUTERS):
        text = _source(path)
        if _TENANT.search(path + text):
            yield path, "speaks of tenants"
        elif _HOLDER.search(text):
            yield path, "reads what belongs to the current request"
    for path in _names(django_settings.MIDDLEWARE):
        text = _source(path)
        if _TENANT.search(path):
            yield path, "speaks of tenants"
        elif _HOLDER.search(text) and _HOST.search(text):
            yield path, "keeps something for the current request, and reads its host"


def _names(paths: Iterable[object]) -> Iterator[str]:
    """Return the dotted paths: a router may also be an object."""
    for path in paths:
        yield (
            path if isinstance(path, str) else f"{type(path).__module__}.{type(path).__qualname__}"
        )


def _source(path: str) -> str:
    """Return the text of the module that a path of the project leads to; Django's own are known."""
    return "" if path.startswith("django.") else source_of(path.rpartition(".")[0])
