"""A person without a clever client: a bare WebSocket on which many commands are under way at once, and the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from djwsbridge.testing.history import Closed, History, Outcome, Send, digest
from tests.faults.database import Spare
from tests.faults.system import System

__all__ = ["LOST", "Speaker", "call_api", "post_message"]

TIMEOUT = 10.0  # seconds for one answer
#: What a lost connection looks like.
LOST = (OSError, WebSocketException, asyncio.TimeoutError, EOFError)


class Speaker:
    """One connection of a person; it does not come back when it is lost.

    Args:
        url: of the endpoint.
        spare: whose connection it is.
        history: where what is sent is written down; None for nowhere.
    """

    def __init__(self, url: str, spare: Spare, history: History | None = None) -> None:
        self._url = url
        self._spare = spare
        self._history = history
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # The name by which the judge knows this connection.
        self.device = f"speaker-{uuid.uuid4().hex[:8]}"
        # Every push, and every text that is no frame, in the order in which they came.
        self.pushes: list[dict[str, Any]] = []
        self.rubbish: list[str] = []
        # What `connect` was answered with.
        self.welcome: dict[str, Any] = {}

    async def __aenter__(self) -> Speaker:  # noqa: PYI034 - Self is newer than Python 3.10
        self._socket: ClientConnection = await connect(
            self._url,
            subprotocols=["djwsbridge.v1"],  # type: ignore[list-item]
            open_timeout=TIMEOUT,
            close_timeout=1.0,
            ping_interval=None,
            compression=None,
            max_size=None,
        )
        self._reading = asyncio.ensure_future(self._read())
        try:
            self.welcome = (await self.ask("connect", token=self._spare.token))["ok"]
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection without a word."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._socket.transport.abort()

    async def ask(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return the frame that answers it.

        Raises:
            one of LOST: there is no answer any more.
        """
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "cmd": cmd, **fields}))
        return await asyncio.wait_for(answer, TIMEOUT)

    async def send(self, room: int, body: str) -> int | None:
        """Send a message once, and return its seq; None when it was refused or its outcome is unknown."""
        fields = {"room": room, "body": body}
        frame: dict[str, Any] = {}
        with (
            _noted(self._history, self.device, self._spare, fields, frame),
            contextlib.suppress(*LOST),
        ):
            frame |= await self.ask("message.send", **fields)
        seq: int | None = frame.get("ok", {}).get("seq")
        return seq

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self._take(text)
        except WebSocketException:
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the connection was lost"))
                    answer.exception()  # the one who asked may be gone

    def _take(self, text: str | bytes) -> None:
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict) or not isinstance(frame.get("push", ""), str):
            self.rubbish.append(str(text)[:200])
        elif "push" in frame:
            self.pushes.append(frame)
        else:
            answer = self._waiting.pop(frame.get("id"), None)
            if answer is not None and not answer.done():
                answer.set_result(frame)


@contextlib.contextmanager
def _noted(
    history: History | None,
    device: str,
    spare: Spare,
    fields: dict[str, Any],
    frame: Mapping[str, Any],
) -> Iterator[None]:
    """Write down a send and how it has ended, also when the run ends before.

    Args:
        history: where; None for nowhere.
        device: the name of what sends.
        spare: who sends.
        fields: `room` and `body`; gets a `client_message_id`.
        frame: what it was answered with, by the end of the block; empty when it was not.
    """
    fields["client_message_id"] = str(uuid.uuid4())
    sent = Send(
        device=device,
        user=spare.user,
        room=fields["room"],
        id=fields["client_message_id"],
        body=digest(fields["body"]),
        invoked=time.monotonic(),
    )
    try:
        yield
    finally:
        error = frame.get("error")
        now = time.monotonic()
        if "ok" in frame:
            seq = frame["ok"]["seq"]
            sent = msgspec.structs.replace(sent, completed=now, outcome=Outcome.OK, seq=seq)
        elif error and not error["retryable"]:
            sent = msgspec.structs.replace(
                sent, completed=now, outcome=Outcome.FAIL, code=error["code"]
            )
        elif history is not None:
            # It does not send again, so the message may stay without an answer.
            history.add(Closed(device=device, room=sent.room, at=now))
        if history is not None:
            history.add(sent)


async def post_message(
    system: System, spare: Spare, room: int, body: str, history: History
) -> None:
    """Send a message once, by the HTTP API."""
    fields = {"room": room, "body": body}
    frame: dict[str, Any] = {}
    with _noted(history, f"poster-{spare.user}", spare, fields, frame):
        text = {name: fields[name] for name in ("body", "client_message_id")}
        if answer := await call_api(system, spare, f"rooms/{room}/messages/", text):
            frame["ok"] = answer


async def call_api(
    system: System,
    spare: Spare,
    path: str,
    fields: Mapping[str, Any] | None = None,
    *,
    port: int | None = None,
) -> dict[str, Any]:
    """Call the HTTP API of the chat; return the answer, or `{}` when it was an error or none came.

    Args:
        system: whose API; one of its fronts unless `port` names a worker.
        spare: who calls.
        path: behind `/chat/api/`.
        fields: of a POST.
        port: of this machine.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{port or system.fronts[0].port}/chat/api/{path}",
        data=json.dumps(fields or {}).encode(),
        headers={"Authorization": f"Bearer {spare.token}", "Content-Type": "application/json"},
    )

    def call() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except (OSError, ValueError):
            return {}

    return await asyncio.to_thread(call)
