"""An ASGI application that answers with what it was asked, and echoes what comes over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

# WebSockets on the path /late that wait for a request of /open.
late: list[asyncio.Event] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request, or echo one WebSocket to its end."""
    if scope["type"] == "websocket":
        await echo(scope["path"], receive, send)
    elif scope["type"] == "http":
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = json.dumps(
            {
                "client": scope["client"],
                "scheme": scope["scheme"],
                "headers": headers,
                "late": len(late),
            }
        )
        if scope["path"] == "/open":
            while late:
                late.pop().set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})


async def echo(path: str, receive: Any, send: Any) -> None:
    """Send everything back; or refuse, fail, end without an answer, or answer late or never, as the path says."""
    await receive()
    if path == "/closes":
        await send({"type": "websocket.close"})
        return
    if path in {"/denies", "/denies-in-parts"}:
        await deny(send, more_body=path != "/denies")
        return
    if path == "/fails":
        raise RuntimeError("It is meant to fail.")
    if path == "/returns":
        return
    if path == "/late":
        late.append(asyncio.Event())
        await late[-1].wait()
    if path != "/silent":
        await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4000, "reason": "as asked"})
        else:
            await send({**event, "type": "websocket.send"})


async def deny(send: Any, *, more_body: bool) -> None:
    """Answer a handshake with HTTP 404."""
    await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
    body = {"type": "websocket.http.response.body", "body": b"not here"}
    await send({**body, "more_body": more_body})
    if more_body:
        await send({**body, "more_body": False})
