"""A node with the memory engine, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from djwsbridge import durable
from djwsbridge import runtime as runtimes
from djwsbridge.consumers import UserConsumer
from djwsbridge.runtime import Runtime
from djwsbridge.transport import registry
from tests.servers import TIMEOUT
from tests.unit.transport.fake_server import FakeClient, identity_of, make_scope, make_user

NewClient = Callable[..., FakeClient]


class QuietConsumer(UserConsumer):
    """A consumer that asks no database."""

    def topics(self) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def _memory(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without other nodes and without a database: no log is installed, and no app hears of visits."""
    settings.DJWSBRIDGE_ENGINE = "memory"
    monkeypatch.setattr(durable, "_installed", [])
    monkeypatch.setattr(registry, "_came", {})
    monkeypatch.setattr(registry, "_left", {})


@pytest.fixture
async def node() -> AsyncIterator[Runtime]:
    """Return the node of this test's event loop; nothing of it may be left over."""
    runtime = runtimes.current()
    yield runtime
    await runtime.stop()
    assert not runtime.members
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=TIMEOUT)
    assert not [task for task in left if not task.done()]


@pytest.fixture
async def new_client(node: Runtime) -> AsyncIterator[NewClient]:
    """Return a function that makes the client of a user; all have left when the test is over."""
    clients: list[FakeClient] = []

    def make(
        number: int = 7,
        *,
        consumer: type[UserConsumer] = QuietConsumer,
        identity: dict[str, Any] | None = None,
        unsendable: tuple[int, ...] = (),
        **scope: Any,
    ) -> FakeClient:
        known = identity_of(make_user(number), **(identity or {}))
        client = FakeClient(consumer.as_asgi(), make_scope(known, **scope), unsendable=unsendable)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.go_on_reading()
        if not client.task.done():
            await client.leave()
