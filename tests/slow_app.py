"""An ASGI application for clients that are slow, on a server whose deadlines are short."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from djwsbridge.server import http, unread

READ_TIMEOUT = 0.8  # seconds
UNREAD_TIMEOUT = 1.0
BIG = 48 * 1024 * 1024  # bytes: more than a kernel keeps for a client that does not read

# What /wait and /stream wait for; /open sets it.
opened = asyncio.Event()
# How many requests have been told that their client is gone, and how many were begun.
counts = {"gone": 0, "begun": 0}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request as its path says, or accept one WebSocket and echo what comes."""
    if scope["type"] == "lifespan":
        await hurry(receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        counts["begun"] += 1
        try:
            await ANSWERS.get(scope["path"], answer)(scope, receive, send)
        except ConnectionError:
            counts["gone"] += 1


async def hurry(receive: Any, send: Any) -> None:
    """Shorten the deadlines of the server that starts; a test that imports this module keeps its own."""
    await receive()
    http.READ_TIMEOUT = READ_TIMEOUT
    unread.UNREAD_TIMEOUT = UNREAD_TIMEOUT
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def echo(receive: Any, send: Any) -> None:
    """Send everything back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def read(receive: Any) -> bytes:
    """Return the body of a request.

    Raises:
        ConnectionError: the client is gone.
    """
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError
        body += event["body"]
        if not event["more_body"]:
            return body


async def begin(send: Any, length: int) -> None:
    """Begin an answer of so many bytes."""
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say what was asked, after reading it."""
    body = await read(receive)
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
    ]
    said = {"method": scope["method"], "path": scope["path"], "body": body.decode("latin-1")}
    text = json.dumps({**said, "headers": headers}).encode()
    await begin(send, len(text))
    await send({"type": "http.response.body", "body": text})


async def early(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer without reading."""
    await begin(send, 5)
    await send({"type": "http.response.body", "body": b"early"})


async def wait(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read nothing before somebody asks for /open."""
    await opened.wait()
    await answer(scope, receive, send)


async def stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer in two pieces, the second after somebody has asked for /open."""
    await begin(send, 6)
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await opened.wait()
    await send({"type": "http.response.body", "body": b"two"})


async def listen(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer never, and listen whether the client goes."""
    await read(receive)
    await receive()
    raise ConnectionError


async def big(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer at length, in one piece."""
    await begin(send, BIG)
    await send({"type": "http.response.body", "body": bytes(BIG)})


async def big_stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer at length, in pieces."""
    await begin(send, BIG)
    for left in range(BIG // 65_536 - 1, -1, -1):
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": left > 0})


async def open_all(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Let go whatever waits."""
    opened.set()
    opened.clear()
    await early(scope, receive, send)


async def tell_counts(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Say how many requests were begun, and how many of their clients are gone."""
    text = json.dumps(counts).encode()
    await begin(send, len(text))
    await send({"type": "http.response.body", "body": text})


ANSWERS: dict[str, Any] = {
    "/early": early,
    "/wait": wait,
    "/stream": stream,
    "/listen": listen,
    "/big": big,
    "/big-stream": big_stream,
    "/open": open_all,
    "/counts": tell_counts,
}
