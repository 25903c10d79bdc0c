"""A process belongs to the first tenant that it works for, and refuses another one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections

from djwsbridge import runtime, tenancy
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.publish import (
    apublish,
    publish,
    publish_events,
    publish_written,
    subscribe_user,
    unsubscribe_user,
    user_changed,
)
from djwsbridge.tenancy import check_tenant, current_tenant, is_own_tenant
from djwsbridge.threads import ServiceThread
from djwsbridge.transport.auth.ticket import issue_ticket, redeem_ticket

_tenant: ContextVar[str] = ContextVar("tenant", default="default")


class Router:
    """Choose the database by what a middleware would have noted of the host."""

    def db_for_write(self, model: object, **hints: object) -> str:
        return _tenant.get()

    db_for_read = db_for_write


@contextmanager
def working_for(tenant: str) -> Iterator[None]:
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


@pytest.fixture
def two_tenants(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the project a second database, and a router that chooses one by the context."""
    monkeypatch.setitem(connections.settings, "globex", connections.settings["default"])
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]


@pytest.fixture
def with_schemas(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the connections what django-tenants gives them."""
    monkeypatch.setattr(type(connections["default"]), "schema_name", "public", raising=False)
    settings.DATABASE_ROUTERS = []  # the tenant is known anew


def test_a_project_without_routers_and_schemas_has_no_tenants() -> None:
    assert current_tenant() is None
    assert is_own_tenant()


@pytest.mark.usefixtures("two_tenants")
def test_the_first_tenant_keeps_the_process_and_another_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with working_for("globex"):
        assert is_own_tenant()
    assert not is_own_tenant()
    assert not is_own_tenant()
    with working_for("globex"):
        assert is_own_tenant()
    (record,) = [one for one in caplog.records if one.name == "djwsbridge.tenancy"]
    assert record.levelno == logging.ERROR
    assert "serves the users of `globex`, and refuses those of `default`" in record.message


@pytest.mark.usefixtures("two_tenants")
async def test_another_tenant_cannot_publish() -> None:
    check_tenant()
    with working_for("globex"):
        with pytest.raises(ImproperlyConfigured, match="one process serves one tenant"):
            publish("user.1", "note", {})
        with pytest.raises(ImproperlyConfigured, match="one process serves one tenant"):
            await apublish("user.1", "note", {})
        with pytest.raises(ImproperlyConfigured, match="one process serves one tenant"):
            publish_events([])
        with pytest.raises(ImproperlyConfigured, match="one process serves one tenant"):
            publish_written(["user.1"], "note", msgspec.Raw(b"{}"))


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the frames that leave."""
    found: list[str] = []
    monkeypatch.setattr(
        runtime, "hand_over_all", lambda pushes: found.extend(text for _, text in pushes)
    )
    return found


@pytest.mark.usefixtures("two_tenants")
@pytest.mark.parametrize("change", [subscribe_user, unsubscribe_user])
def test_another_tenant_cannot_change_subscriptions(change: Any, pushed: list[str]) -> None:
    check_tenant()
    with (
        working_for("globex"),
        pytest.raises(ImproperlyConfigured, match="one process serves one tenant"),
    ):
        change(1, "order.1")
    assert pushed == []
    change(1, "order.1")
    assert len(pushed) == 1


@pytest.mark.usefixtures("two_tenants")
def test_a_change_of_another_tenants_user_is_logged_and_not_told(
    pushed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    check_tenant()
    with working_for("globex"):
        user_changed(1)
        user_changed(1, session="of a logout")
    assert pushed == []
    assert len([one for one in caplog.records if one.name == "djwsbridge.tenancy"]) == 1
    user_changed(1)
    assert len(pushed) == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("with_schemas")
def test_a_user_of_another_tenant_can_be_saved(
    monkeypatch: pytest.MonkeyPatch,
    pushed: list[str],
    django_capture_on_commit_callbacks: Any,
) -> None:
    check_tenant()
    user = get_user_model().objects.create_user("alice")
    monkeypatch.setattr(connection, "schema_name", "globex", raising=False)
    with django_capture_on_commit_callbacks(execute=True):
        user.set_password("another horse")
        user.save()
        user.delete()
    assert pushed == []


@pytest.mark.usefixtures("two_tenants")
async def test_a_batch_does_not_work_for_the_tenant_of_no_context() -> None:
    """Batches of several connections have the context of none; a router by context then names another database."""
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with working_for("globex"):
        check_tenant()
        ServiceThread().call(lambda: "read from the wrong database", done.set_result)
        assert isinstance(await done, ImproperlyConfigured)


@pytest.mark.usefixtures("with_schemas")
def test_a_schema_is_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_tenant() == "default/public"
    assert is_own_tenant()
    monkeypatch.setattr(connection, "schema_name", "globex", raising=False)
    assert not is_own_tenant()


@pytest.mark.django_db
@pytest.mark.usefixtures("with_schemas")
def test_a_ticket_of_another_tenant_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    user = get_user_model().objects.create_user("alice")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "schema_name", "globex", raising=False)
        foreign = issue_ticket(user)
    with pytest.raises(CloseConnection) as refused:
        redeem_ticket(foreign)
    assert refused.value.error.code is ErrorCode.TOKEN_INVALID
    assert "`default/globex` has issued was refused: this is `default/public`" in caplog.text
    assert redeem_ticket(issue_ticket(user)).user == user


@pytest.mark.usefixtures("two_tenants")
def test_other_settings_begin_anew(settings: Any) -> None:
    assert is_own_tenant()
    settings.DATABASE_ROUTERS = []
    assert tenancy._Process.tenant is None
