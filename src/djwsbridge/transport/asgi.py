"""The ASGI server that carries a connection: the three things it calls an application with, and how servers differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

__all__ = [
    "Receive",
    "Scope",
    "Send",
    "cut",
    "has_http_response",
    "is_servers_own",
    "waits_for_readers",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Whose `send` neither asks for the task it runs in nor for anything else of its caller's.
_SERVERS = frozenset({"daphne", "uvicorn"})


def has_http_response(scope: Mapping[str, Any]) -> bool:
    """Say whether the server can answer a handshake with an HTTP status: uvicorn can, Daphne cannot."""
    return "websocket.http.response" in scope.get("extensions", {})


def waits_for_readers(scope: Mapping[str, Any]) -> bool:
    """Say whether the server's `send` waits for a slow reader: Daphne's does not, and it names no version of ASGI."""
    return "spec_version" in scope.get("asgi", {})


def is_servers_own(send: Send) -> bool:
    """Say whether nobody has wrapped `send`: what a middleware does in there may need a task of its own."""
    function = getattr(send, "func", send)  # Daphne's is a partial
    return str(getattr(function, "__module__", "")).partition(".")[0] in _SERVERS


def cut(send: Send) -> None:
    """End a connection whose peer takes nothing more, not even the close frame.

    ASGI has no word for it. uvicorn's `send` is a method of the object that holds the transport; without this, the
    socket would stay open for as long as the peer likes.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    abort = getattr(transport, "abort", None)
    if callable(abort):
        abort()
