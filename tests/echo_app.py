"""An ASGI application that answers with what it was asked, and holds every WebSocket open."""

from __future__ import annotations

import json
from typing import Any


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request or hold one WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["type"] == "http":
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = json.dumps(
            {"client": scope["client"], "scheme": scope["scheme"], "headers": headers}
        )
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})
