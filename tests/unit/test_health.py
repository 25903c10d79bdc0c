from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.test import AsyncClient, Client

from djwsbridge import health
from djwsbridge.protocol.errors import EngineUnavailable


def test_the_process_lives(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


@pytest.mark.django_db(transaction=True)
async def test_everything_answers(async_client: AsyncClient) -> None:
    answer = await async_client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "engine": "ok"}


@pytest.mark.django_db(transaction=True)
async def test_the_engine_is_away(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise EngineUnavailable("connection refused")

    monkeypatch.setattr(health, "apublish", fail)
    answer = await async_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "database": "ok", "engine": "unavailable"}


async def test_the_database_is_away(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def cursor(self) -> None:
            raise OperationalError("connection refused")

        def close(self) -> None:
            pass

    monkeypatch.setattr(health, "connections", {"default": Away()})
    answer = await async_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "unavailable"


async def test_a_project_without_a_database_has_none_that_is_away(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "django_settings", SimpleNamespace(DATABASES={}))
    answer = await async_client.get("/readyz")
    assert answer.json() == {"status": "ok", "database": "ok", "engine": "ok"}


def test_a_site_for_people_who_are_logged_in_answers_its_probes(
    client: Client, settings: Any
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert client.get("/healthz").status_code == 200
    assert client.get("/chat/").status_code == 302


async def test_the_logs_database_is_asked_as_well(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Connections(dict[str, Any]):
        def __missing__(self, alias: str) -> Any:
            asked.append(alias)
            raise OperationalError("connection refused")

    monkeypatch.setattr(health, "connections", Connections())
    databases = {"default": {}, "log": {"ENGINE": "django.db.backends.sqlite3"}}
    monkeypatch.setattr(health, "django_settings", SimpleNamespace(DATABASES=databases))
    monkeypatch.setattr(health, "installed_log", lambda: SimpleNamespace(using=lambda: "log"))
    assert (await async_client.get("/readyz")).status_code == 503
    assert set(asked) == {"log"}
