"""A scripted server on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.servers import TIMEOUT
from tests.unit.client.script import welcome

Answer = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any] | None] | None


class FakeServer:
    """Answers commands as it is told; `script` maps a command to `{ok}`, `{error}`, a function that gives one, or None
    for silence.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Any] = {}
        self.script: dict[str, Answer] = {
            "connect": lambda _: {"ok": welcome(self.topics)},
            "heartbeat": {"ok": {}},
            "ack": {"ok": {}},
            "message.send": self._store,
        }
        # Every command that has come, over all connections; and the headers of each handshake.
        self.received: list[dict[str, Any]] = []
        self.handshakes: list[Mapping[str, str]] = []
        # Messages that are stored, by client_message_id.
        self.stored: dict[str, dict[str, Any]] = {}
        # The open connections, oldest first.
        self.connections: list[ServerConnection] = []
        self._changed = asyncio.Condition()
        self.url = ""

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.handshakes.append(dict(connection.request.headers))
        self.connections.append(connection)
        try:
            async for text in connection:
                frame = json.loads(text)
                self.received.append(frame)
                await self._answer(connection, frame)
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)

    async def push(self, type: str, **fields: Any) -> None:
        """Send a push over the newest connection."""
        await self.connections[-1].send(json.dumps({"push": type, "data": {}, **fields}))

    async def close(self, code: int) -> None:
        """Close the newest connection."""
        await self.connections[-1].close(code)

    def cut(self) -> None:
        """Break the newest connection without a close frame."""
        self.connections[-1].transport.abort()

    async def wait_for(self, cmd: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Return the commands of one name once there are that many."""

        def found() -> list[dict[str, Any]]:
            return [frame for frame in self.received if frame["cmd"] == cmd]

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: len(found()) >= count), TIMEOUT)
        return found()

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        answer = self.script.get(frame["cmd"], {"ok": {}})
        if callable(answer):
            answer = answer(frame)
        if answer is not None:
            await connection.send(json.dumps({"id": frame["id"], **answer}))

    def _store(self, frame: dict[str, Any]) -> Mapping[str, Any]:
        message = self.stored.setdefault(
            frame["client_message_id"],
            {
                "room": frame["room"],
                "seq": len(self.stored) + 1,
                "sender": {"id": 7, "name": "alice"},
                "body": frame["body"],
                "created": "2026-01-02T03:04:05Z",
                "client_message_id": frame["client_message_id"],
            },
        )
        return {"ok": message}


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """Run a scripted server."""
    fake = FakeServer()
    async with serve(fake.handle, "127.0.0.1", 0, subprotocols=["djwsbridge.v1"]) as running:
        port = running.sockets[0].getsockname()[1]
        fake.url = f"ws://127.0.0.1:{port}/ws/bridge/"
        yield fake


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Return what an awaitable gives, in time."""
    return await asyncio.wait_for(awaitable, TIMEOUT)
