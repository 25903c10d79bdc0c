"""What `check` says about projects whose requests have a tenant each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from djwsbridge.documentation import DOCUMENTATION
from djwsbridge.tenant_checks import check_tenants

TENANTS_SITE = """
from contextvars import ContextVar

_database = ContextVar("database", default="default")


class Middleware:
    def __call__(self, request):
        _database.set(request.get_host())


class Router:
    def db_for_read(self, model, **hints):
        return _database.get()

    db_for_write = db_for_read
"""
# The router of a site that has a primary and a replica: whoever has just written reads from the primary.
PINNING = """
# Not about tenants, and not by get_host().
import threading

_local = threading.local()


def pin(request):
    _local.pinned = True


class Router:
    \"\"\"Choose no tenant: read your own writes.\"\"\"

    def db_for_read(self, model, **hints):
        return "default" if getattr(_local, "pinned", False) else "replica"

    def db_for_write(self, model, **hints):
        return "default"
"""
REPLICAS = """
import random


class Router:
    def db_for_read(self, model, **hints):
        return random.choice(["replica_1", "replica_2"])

    def db_for_write(self, model, **hints):
        return "default"
"""
REQUEST_IDS = """
# Two tenants have one host each; see request.get_host() and "HTTP_HOST".
import threading

_local = threading.local()


class Middleware:
    def __call__(self, request):
        _local.request_id = request.headers["x-request-id"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory from which Python imports."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def ids() -> list[str | None]:
    return [message.id for message in check_tenants()]


def test_this_project_has_no_tenants() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("INSTALLED_APPS", ["django_tenants"]),
        ("INSTALLED_APPS", ["tenant_schemas"]),
        ("INSTALLED_APPS", ["django_multitenant"]),
        ("DATABASES", {"default": {"ENGINE": "django_tenants.postgresql_backend"}}),
        ("DATABASES", {"default": {"ENGINE": "django_multitenant.backends.postgresql"}}),
        ("DATABASE_ROUTERS", ["django_tenants.routers.TenantSyncRouter"]),
        ("MIDDLEWARE", ["django_tenants.middleware.main.TenantMainMiddleware"]),
    ],
)
def test_a_package_that_gives_each_request_a_tenant_is_an_error(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: Any
) -> None:
    """The setting is read by these checks alone: nothing of that package is installed."""
    from djwsbridge import tenant_checks  # noqa: PLC0415

    names = ("INSTALLED_APPS", "MIDDLEWARE", "DATABASE_ROUTERS")
    project = type("Project", (), {**dict.fromkeys(names, ()), "DATABASES": {}, setting: value})
    monkeypatch.setattr(tenant_checks, "django_settings", project)
    (message,) = check_tenants()
    assert message.id == "djwsbridge.E022"
    assert DOCUMENTATION in str(message.hint)


@pytest.mark.parametrize(
    ("setting", "path"),
    [("DATABASE_ROUTERS", "by_host.Router"), ("MIDDLEWARE", "by_host.Middleware")],
)
def test_code_that_seems_to_choose_the_tenant_of_a_request_is_a_warning(
    project: Path, settings: Any, setting: str, path: str
) -> None:
    (project / "by_host.py").write_text(TENANTS_SITE)
    setattr(settings, setting, [path])
    assert ids() == ["djwsbridge.W022"]
    assert "djwsbridge.W022" in [message.id for message in run_checks()]


def test_a_name_that_speaks_of_tenants_is_a_warning(settings: Any) -> None:
    settings.MIDDLEWARE = ["mysite.middleware.TenantMiddleware"]
    assert ids() == ["djwsbridge.W022"]


HOLDERS = """
import threading
from contextvars import ContextVar


class State(threading.local):
    alias = "default"


current = ContextVar("current")
state = State()


def chosen():
    return state.alias
"""
BY_HOLDERS = """
import holders
from holders import State as Kept, chosen, current
from holders import current as renamed

_own = Kept()


def _choose():
    return chosen()


class Base:
    def db_for_write(self, model, **hints):
        return holders.current.get()


class Derived(Base):
    pass


class Imported:
    def db_for_write(self, model, **hints):
        return renamed.get()


class Called:
    def db_for_write(self, model, **hints):
        return _choose()


class Own:
    def db_for_write(self, model, **hints):
        return _own.alias


class Attribute:
    def __init__(self):
        self.kept = Kept()

    def db_for_write(self, model, **hints):
        return self.kept.alias


class Unconcerned:
    def db_for_read(self, model, **hints):
        return _choose()

    def db_for_write(self, model, **hints):
        return "default"
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Derived", ["djwsbridge.W022"]),
        ("Imported", ["djwsbridge.W022"]),
        ("Called", ["djwsbridge.W022"]),
        ("Own", ["djwsbridge.W022"]),
        ("Attribute", ["djwsbridge.W022"]),
        ("Unconcerned", []),
    ],
)
def test_a_router_is_suspected_whose_writes_go_where_the_request_says(
    project: Path, settings: Any, name: str, expected: list[str]
) -> None:
    (project / "holders.py").write_text(HOLDERS)
    (project / "by_holders.py").write_text(BY_HOLDERS)
    settings.DATABASE_ROUTERS = [f"by_holders.{name}"]
    assert ids() == expected


def test_a_router_is_suspected_that_names_tenants_in_its_code(project: Path, settings: Any) -> None:
    code = REPLICAS.replace("model, **hints", "model, tenant=None, **hints")
    (project / "by_argument.py").write_text(code)
    settings.DATABASE_ROUTERS = ["by_argument.Router"]
    assert ids() == ["djwsbridge.W022"]


def test_code_that_cannot_be_read_is_not_suspected(project: Path, settings: Any) -> None:
    (project / "broken.py").write_text("class Middleware(:  # get_host() of ContextVar()")
    settings.MIDDLEWARE = ["broken.Middleware"]
    assert ids() == []


def test_a_router_that_pins_readers_to_the_primary_is_no_tenant(
    project: Path, settings: Any
) -> None:
    (project / "pinning.py").write_text(PINNING)
    settings.DATABASE_ROUTERS = ["pinning.Router"]
    assert ids() == []


def test_replicas_and_request_ids_are_no_tenants(project: Path, settings: Any) -> None:
    (project / "replicas.py").write_text(REPLICAS)
    (project / "request_ids.py").write_text(REQUEST_IDS)
    settings.DATABASE_ROUTERS = ["replicas.Router"]
    settings.MIDDLEWARE = [
        "request_ids.Middleware",
        "django.middleware.locale.LocaleMiddleware",
        "csp.middleware.CSPMiddleware",
        "servestatic.middleware.ServeStaticMiddleware",
    ]
    assert ids() == []
