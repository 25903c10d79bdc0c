from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import AsyncClient, Client

from config import health
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

    monkeypatch.setattr(health, "connection", Away())
    answer = await async_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "unavailable"
