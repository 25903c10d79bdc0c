"""The ASGI server that carries a connection: the three things it calls an application with, and how servers differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from django.conf import settings as django_settings

__all__ = [
    "Receive",
    "Scope",
    "Send",
    "cookies_of",
    "cut",
    "has_http_response",
    "is_servers_own",
    "settled_scope",
    "waits_for_readers",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Whose `send` neither asks for the task it runs in nor for anything else of its caller's.
_SERVERS = frozenset({"daphne", "uvicorn"})


def settled_scope(scope: Scope) -> Scope:
    """Return the scope of a request as ASGI describes it, whatever the proxy and the server have made of it.

    * `path` begins with `root_path`. A proxy passes the prefix of a site on, or takes it away. uvicorn puts its
      `--root-path` before what has come in, and Daphne does not. FORCE_SCRIPT_NAME is known to Django alone.
    * There is one `cookie` header. HTTP/2 may divide it (RFC 9113, section 8.2.3).

    Daphne takes `root_path` from a header of the visitor. Such a prefix is put before no path: whatever in the project
    guards `/admin/` would let `/x/admin/` through.
    """
    prefix, path = _place_of(scope)
    headers = scope.get("headers", ())
    if sum(name == b"cookie" for name, _ in headers) > 1:
        rest = [header for header in headers if header[0] != b"cookie"]
        headers = [*rest, (b"cookie", cookies_of(scope))]
    settled = {**scope, "root_path": prefix, "path": path, "headers": headers}
    if path != scope.get("path", ""):
        settled["raw_path"] = quote(path).encode("ascii")
    return settled


def _place_of(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return `root_path` and `path` of a request."""
    prefix, path = str(scope.get("root_path", "")), scope.get("path", "")
    if django_settings.FORCE_SCRIPT_NAME:
        prefix = str(django_settings.FORCE_SCRIPT_NAME)
    elif not waits_for_readers(scope):  # Daphne
        is_under = f"{path}/".startswith(f"{prefix.rstrip('/')}/")
        # Channels' router takes no path that does not begin with the prefix. A page needs the prefix for its links.
        return prefix if is_under or scope["type"] == "http" else "", path
    return prefix, _under(prefix, path)


def _under(prefix: str, path: str) -> str:
    """Return a path with a prefix before it, once. Django takes off exactly this prefix, also where it ends in `/`."""
    for known in (prefix, prefix.rstrip("/")):
        if f"{path}/".startswith(f"{known}/"):
            return prefix + path.removeprefix(known)
    return prefix + path


def cookies_of(scope: Mapping[str, Any]) -> bytes:
    """Return the cookies of a request, of several headers as of one; empty when there are none."""
    return b"; ".join(value for name, value in scope.get("headers", ()) if name == b"cookie")


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
