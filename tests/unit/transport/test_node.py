"""The life of a node: who is sent away when it ends, what is still carried out, and when its server learns of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from djwsbridge.protocol.frames import Command
from djwsbridge.runtime import Runtime
from djwsbridge.transport import connection as connections
from djwsbridge.transport import registry
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.node import is_draining, node_of, serve_lifespan
from tests.servers import TIMEOUT
from tests.unit.transport.conftest import NewClient


class Wait(Command, frozen=True, kw_only=True, tag="test.wait"):
    """A command that is being carried out until the test says so."""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Register `test.wait`, which waits for this event."""
    opened = asyncio.Event()

    async def wait(connection: Connection, command: Wait) -> dict[str, object]:
        await opened.wait()
        return {}

    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    registry.register_command(Wait, wait)
    yield opened
    monkeypatch.undo()
    registry.codec.cache_clear()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give nobody time to leave by themselves."""
    monkeypatch.setattr(connections, "LEAVE_TIME", 0.0)


@pytest.fixture
def server_heard() -> Iterator[list[int]]:
    """Stand for a server that handles SIGTERM; returns what it has heard."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


async def until(condition: Callable[[], object]) -> None:
    async def turn() -> None:
        while not condition():  # noqa: ASYNC110  the condition is anything
            await asyncio.sleep(0)

    await soon(turn())


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, TIMEOUT)


async def test_everybody_is_told_and_closed(
    new_client: NewClient, node: Runtime, at_once: None
) -> None:
    v1, plain = new_client(), new_client(8, subprotocols=())
    await v1.join()
    await plain.open()
    await plain.assert_accepted()
    await until(lambda: node.hub.topics() == {"user.7", "user.8"})
    draining = asyncio.create_task(node_of(node).drain())
    told = await v1.assert_pushed("reconnect")
    assert 0 <= told["data"]["after_ms"] <= 10
    await v1.assert_closed(1012)
    await plain.assert_closed(1012)
    await soon(draining)
    assert is_draining()
    assert not node.started


async def test_what_is_being_carried_out_is_answered_first(
    new_client: NewClient, node: Runtime, at_once: None, gate: asyncio.Event
) -> None:
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.wait"})
    client.say({"id": 3, "cmd": "heartbeat"})
    draining = asyncio.create_task(node_of(node).drain())
    await client.assert_pushed("reconnect")
    (member,) = node.members
    assert isinstance(member, Connection)
    await until(lambda: len(member.inbox._on_idle) == 2)  # the reader, and the drain
    client.assert_silent()
    gate.set()
    assert await client.hear() == {"id": 2, "ok": {}}
    await client.assert_closed(1012)  # the other one was not begun: its sender tries elsewhere
    await soon(draining)


async def test_who_comes_too_late_is_sent_away_at_once(
    new_client: NewClient, node: Runtime
) -> None:
    await node_of(node).drain()
    client = await new_client().open()
    await client.assert_accepted()
    told = await client.assert_pushed("reconnect")
    assert 500 <= told["data"]["after_ms"] <= 2_000
    await client.assert_closed(1012)


async def test_who_does_not_go_delays_the_end_no_longer_than_allowed(
    new_client: NewClient,
    node: Runtime,
    gate: asyncio.Event,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.DJWSBRIDGE_DRAIN_SECONDS = 0.1
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.wait"})
    await soon(node_of(node).drain())
    assert "1 connections are still here" in caplog.text
    gate.set()


async def test_the_server_hears_of_the_signal_when_everybody_has_gone(
    new_client: NewClient, node: Runtime, at_once: None, server_heard: list[int]
) -> None:
    client = new_client()
    await client.join()
    signal.raise_signal(signal.SIGTERM)
    assert is_draining()
    assert server_heard == []
    await client.assert_pushed("reconnect")
    await client.assert_closed(1012)
    await until(lambda: server_heard)
    assert server_heard == [signal.SIGTERM]


async def test_a_second_signal_reaches_the_server_at_once(
    node: Runtime, server_heard: list[int]
) -> None:
    await node_of(node).start()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert server_heard == [signal.SIGTERM]
    await until(lambda: len(server_heard) == 2)


async def test_without_a_server_nobody_listens_to_signals(node: Runtime) -> None:
    before = signal.getsignal(signal.SIGTERM)
    await node_of(node).start()
    assert signal.getsignal(signal.SIGTERM) is before


async def test_a_node_that_cannot_take_leave_ends_all_the_same(
    node: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise OSError("gone")

    monkeypatch.setattr(node, "stop", fail)
    await node_of(node).stop()
    assert "could not take leave" in caplog.text
    monkeypatch.undo()


async def test_the_lifespan_begins_to_listen_and_takes_leave(
    node: Runtime, server_heard: list[int]
) -> None:
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    serving = asyncio.create_task(
        serve_lifespan({"type": "lifespan"}, to_app.get, from_app.put)  # type: ignore[arg-type]
    )
    to_app.put_nowait({"type": "lifespan.startup"})
    assert await soon(from_app.get()) == {"type": "lifespan.startup.complete"}
    assert signal.getsignal(signal.SIGTERM) == node_of(node)._on_signal
    await node_of(node).start()
    to_app.put_nowait({"type": "lifespan.shutdown"})
    assert await soon(from_app.get()) == {"type": "lifespan.shutdown.complete"}
    await soon(serving)
    assert is_draining()
    assert not node.started
