"""The handshake: from an ASGI scope to a served connection, or to a refusal that its client can understand.

A browser sees nothing of a refusal before `accept` (it reports 1006), so whoever may come back with a better credential
is accepted first, told why, and closed with a 44xx code. Only what must never be accepted is answered with HTTP: a
foreign page that uses the visitor's cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError, EngineUnavailable
from djwsbridge.protocol.server import Dialect
from djwsbridge.transport import registry
from djwsbridge.transport.admission import admission_of
from djwsbridge.transport.auth.handshake import (
    BEARER_SUBPROTOCOL,
    HandshakeRefused,
    authenticate_handshake,
)
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.connection import Connection, Consumer, Receive, Scope, Send

__all__ = ["IDENTITY", "authenticate", "choose_dialect", "deny", "refuse", "serve"]

IDENTITY = (
    "djwsbridge.identity"  # the key under which the middleware leaves its result in the scope
)
MAX_SUBPROTOCOLS = 20  # offered in one handshake
_VERSION_PREFIX = "djwsbridge.v"
_REASONS = {400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found", 429: b"Too Many Requests"}


async def serve(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    plain: Dialect,
    build: Callable[[Connection], Consumer],
) -> None:
    """Serve one WebSocket from its handshake to its end.

    Args:
        scope: of the ASGI application.
        receive: likewise.
        send: likewise.
        plain: the dialect for clients that offer no subprotocol.
        build: makes the object that carries out what the plain dialect asks for.
    """
    try:
        identity = await authenticate(scope)
        dialect, subprotocol = choose_dialect(scope, plain)
    except HandshakeRefused as error:
        await deny(scope, receive, send, error.status)
        return
    except CloseConnection as reason:
        await refuse(scope, receive, send, reason, plain=plain)
        return
    connection = Connection(scope, receive, send, dialect=dialect)
    connection.consumer = build(connection)
    connection.handshake_identity = identity
    if not admission_of(connection.runtime).admit_address(connection.address):
        await deny(scope, receive, send, 429)
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    await _begin(connection)
    await connection.run()


async def _begin(connection: Connection) -> None:
    """Start the node if this is its first connection, and let in one that needs no `connect`."""
    try:
        await connection.runtime.start()
        if connection.dialect.name is None:
            if connection.handshake_identity is None:
                raise refusal(ErrorCode.AUTH_REQUIRED)
            await connection.open(connection.handshake_identity)
    except CloseConnection as reason:
        connection.close(reason)
    except EngineUnavailable:
        error = CommandError(ErrorCode.BUSY, retry_after_ms=5000)
        connection.close(CloseConnection(CloseCode.TRY_LATER, error))


async def authenticate(scope: Scope) -> Identity | None:
    """Return who opens the connection, from the middleware in front or else from the handshake itself.

    Raises:
        CloseConnection, HandshakeRefused: see `authenticate_handshake`.
    """
    if IDENTITY in scope:
        known: Identity | None = scope[IDENTITY]
        return known
    return await authenticate_handshake(dict(scope))


def choose_dialect(scope: Mapping[str, Any], plain: Dialect) -> tuple[Dialect, str | None]:
    """Return the dialect of a connection and the subprotocol to accept it with.

    Raises:
        HandshakeRefused: 400, more subprotocols than any client has.
        CloseConnection: 4400, only versions that are not spoken here.
    """
    offered = list(scope.get("subprotocols", ()))
    if len(offered) > MAX_SUBPROTOCOLS:
        raise HandshakeRefused(400)
    v1 = registry.codec()
    if v1.name in offered:
        return v1, v1.name
    if any(subprotocol.startswith(_VERSION_PREFIX) for subprotocol in offered):
        error = CommandError(ErrorCode.UNSUPPORTED_VERSION, versions=[v1.name])
        raise CloseConnection(CloseCode.BAD_PROTOCOL, error)
    return plain, _first_bearer(offered)


async def deny(scope: Mapping[str, Any], receive: Receive, send: Send, status: int) -> None:
    """Answer a handshake with an HTTP status; servers without that ASGI extension answer 403."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    start: MutableMapping[str, Any] = {"status": status, "headers": headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": _REASONS[status]})


async def refuse(
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    reason: CloseConnection,
    *,
    plain: Dialect,
) -> None:
    """Accept a handshake, say why it is refused, and close."""
    offered = list(scope.get("subprotocols", ()))
    v1 = registry.codec()
    versions = [name for name in offered if name.startswith(_VERSION_PREFIX)]
    dialect: Dialect = v1 if versions else plain
    subprotocol = v1.name if v1.name in offered else (versions or [_first_bearer(offered)])[0]
    await receive()
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    await send({"type": "websocket.send", "text": dialect.encode_farewell(reason.error)})
    code, text = int(reason.close_code), reason.error.code.value
    await send({"type": "websocket.close", "code": code, "reason": text})


def _first_bearer(offered: list[str]) -> str | None:
    """Return the subprotocol to repeat: a browser fails a connection whose offer is answered with none."""
    return next((name for name in offered if name.startswith(BEARER_SUBPROTOCOL)), None)
