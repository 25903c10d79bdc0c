"""A scripted ASGI server: one WebSocket's client, seen from the other side of `receive` and `send`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User

from djwsbridge.transport.auth.identity import Identity, Method
from djwsbridge.transport.endpoint import OUTCOME
from tests.servers import TIMEOUT

__all__ = ["FakeClient", "identity_of", "make_scope", "make_user"]

V1 = "djwsbridge.v1"
PROOF_ID = 999_999  # of the commands that give proofs back


def make_user(number: int, name: str = "") -> User:
    """Return a user who is nowhere stored."""
    return User(pk=number, username=name or f"user{number}", password="x")


def identity_of(user: User, **attributes: Any) -> Identity:
    """Return what a handshake would have found out."""
    return Identity(user, Method.TOKEN, fingerprint="f", **attributes)


def make_scope(
    identity: Identity | None = None,
    *,
    subprotocols: Iterable[str] = (V1,),
    known: bool = True,
    headers: Iterable[tuple[bytes, bytes]] = (),
    **others: Any,
) -> dict[str, Any]:
    """Return the scope of a handshake; with `known`, one that the middleware has passed."""
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/ws/bridge/",
        "headers": list(headers),
        "query_string": b"",
        "subprotocols": list(subprotocols),
        "client": ("127.0.0.1", 50000),
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "extensions": {"websocket.http.response": {}},
        **others,
    }
    if known:
        scope[OUTCOME] = identity
    return scope


class FakeClient:
    """What a client sees of one connection.

    Args:
        application: an ASGI application.
        scope: of its handshake.
        unsendable: close codes that this server refuses to send, as Daphne does.
    """

    def __init__(
        self, application: Any, scope: Mapping[str, Any], *, unsendable: Iterable[int] = ()
    ) -> None:
        self._application = application
        self._scope = dict(scope)
        self._unsendable = set(unsendable)
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # Cleared while the client does not read.
        self._reads = asyncio.Event()
        self._reads.set()
        # As uvicorn's: what can end the connection without the client's help.
        self.transport = self
        self.was_cut = False
        # Whether it gives back the proofs that it is sent, as every living client does.
        self.gives_proofs = False
        # Close codes in the order in which they came.
        self.closes: list[int] = []
        self.subprotocol: str | None = None
        self.task: asyncio.Task[None]

    async def open(self) -> FakeClient:
        """Shake hands; the answer of the server is the next event."""
        self.task = asyncio.create_task(self._run())
        self._to_server.put_nowait({"type": "websocket.connect"})
        return self

    async def join(self, **command: Any) -> dict[str, Any]:
        """Shake hands, send `connect` and return its reply."""
        await self.open()
        await self.assert_accepted()
        return await self.ask("connect", **command)

    async def ask(self, cmd: str, *, id: int = 1, **fields: Any) -> dict[str, Any]:
        """Send a command and return the next frame."""
        self.say({"id": id, "cmd": cmd, **fields})
        return await self.hear()

    def say(self, frame: object) -> None:
        """Send a frame: text as it is, bytes as a binary frame, everything else as JSON."""
        if isinstance(frame, bytes):
            self._to_server.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    async def hear(self) -> dict[str, Any]:
        """Return the next frame; who comes and goes is not worth hearing."""
        while True:
            event = await self.next_event()
            assert event["type"] == "websocket.send", event
            if not _is_presence(event):
                frame: dict[str, Any] = json.loads(event["text"])
                return frame

    async def next_event(self) -> dict[str, Any]:
        """Return the next event of the server."""
        return await asyncio.wait_for(self._from_server.get(), TIMEOUT)

    async def leave(self, code: int = 1000) -> None:
        """Close from this side and wait until the application has ended."""
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": code})
        await asyncio.wait_for(asyncio.shield(self.task), TIMEOUT)

    def stop_reading(self) -> None:
        """Make every `send` of the server wait."""
        self._reads.clear()

    def go_on_reading(self) -> None:
        """Let `send` go on."""
        self._reads.set()

    def abort(self) -> None:
        """End the connection as the server's transport does."""
        self.was_cut = True

    # -- in the protocol's own words -------------------------------------------------------------------------------

    async def assert_accepted(self) -> None:
        event = await self.next_event()
        assert event["type"] == "websocket.accept", event
        self.subprotocol = event.get("subprotocol")

    async def assert_denied(self, status: int) -> None:
        event = await self.next_event()
        assert (event["type"], event.get("status")) == ("websocket.http.response.start", status)

    async def assert_pushed(self, type: str, **data: Any) -> dict[str, Any]:
        frame = await self.hear()
        assert frame["push"] == type, frame
        assert {**frame["data"], **data} == frame["data"], frame
        return frame

    async def assert_failed(self, code: str, *, id: int | None = 1) -> dict[str, Any]:
        frame = await self.hear()
        assert (frame.get("id"), frame["error"]["code"]) == (id, code), frame
        error: dict[str, Any] = frame["error"]
        return error

    async def assert_told_and_closed(self, code: int, error: str) -> dict[str, Any]:
        """Expect the error push and then the close frame."""
        frame = await self.assert_pushed("error", code=error)
        await self.assert_closed(code)
        data: dict[str, Any] = frame["data"]
        return data

    async def assert_closed(self, code: int) -> None:
        event = await self.next_event()
        assert (event["type"], event.get("code")) == ("websocket.close", code), event
        await self.leave(code)

    def assert_silent(self) -> None:
        while not self._from_server.empty():
            event = self._from_server.get_nowait()
            assert _is_presence(event), event

    async def _run(self) -> None:
        await self._application(self._scope, self._to_server.get, self._send)

    async def _send(self, event: dict[str, Any]) -> None:
        await self._reads.wait()
        if event["type"] == "websocket.close" and event.get("code") in self._unsendable:
            raise ValueError("invalid close code")
        if event["type"] == "websocket.close":
            self.closes.append(event.get("code", 1000))
        if not self._proves(event):
            self._from_server.put_nowait(event)

    def _proves(self, event: Mapping[str, Any]) -> bool:
        """Give back a proof that the server asks for, if this client does so; the answer is not worth hearing."""
        if not self.gives_proofs or event["type"] != "websocket.send":
            return False
        frame = json.loads(event["text"])
        if frame.get("push") == "proof":
            self.say({"id": PROOF_ID, "cmd": "heartbeat", **frame["data"]})
        return frame.get("push") == "proof" or frame.get("id") == PROOF_ID


def _is_presence(event: Mapping[str, Any]) -> bool:
    """Say whether it tells who comes and goes, which it does in its own time."""
    if event["type"] != "websocket.send":
        return False
    frame = json.loads(event["text"])
    return isinstance(frame, dict) and frame.get("push") == "presence.changed"
