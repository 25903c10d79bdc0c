"""python-socketio as its documentation shows it: an ASGI application with rooms, users known by a JWT."""

from __future__ import annotations

import os
from typing import Any

import jwt
import socketio

SECRET = os.environ["BENCH_SECRET"]

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
application = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Let in who has a valid token, and join the rooms of the group and of the user."""
    try:
        token = jwt.decode(auth["token"], SECRET, algorithms=["HS256"])
    except jwt.PyJWTError as error:
        raise socketio.exceptions.ConnectionRefusedError("unauthorized") from error
    await server.save_session(sid, {"room": f"room:{auth['room']}"})
    await server.enter_room(sid, f"room:{auth['room']}")
    await server.enter_room(sid, f"user:{token['user_id']}")


@server.event
async def message(sid: str, data: dict[str, Any]) -> None:
    """Send a message to the room."""
    session = await server.get_session(sid)
    await server.emit("message", data, room=session["room"])


@server.event
async def direct(sid: str, to: str, data: dict[str, Any]) -> str:
    """Send a message to a user; what is returned acknowledges it."""
    await server.emit("message", data, room=f"user:{to}")
    return "ok"
