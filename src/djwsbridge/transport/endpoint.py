"""The handshake: from an ASGI scope to a served connection, or to a refusal that its client can understand.

A browser sees nothing of a refusal before `accept` (it reports 1006), so whoever may come back with a better credential
is accepted first, told why, and closed with a 44xx code. Only what must never be accepted is answered with HTTP: a
foreign page that uses the visitor's cookie.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from djwsbridge import runtime
from djwsbridge.notices import show
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.server import Dialect
from djwsbridge.protocol.wire import take_attach
from djwsbridge.tenancy import OtherTenant, check_tenant
from djwsbridge.transport import registry
from djwsbridge.transport.admission import address_of, admission_of, count_guess
from djwsbridge.transport.asgi import Receive, Scope, Send, has_http_response
from djwsbridge.transport.auth.handshake import (
    BEARER_SUBPROTOCOL,
    HandshakeRefused,
    authenticate_handshake,
    check_address,
)
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.consumer import Consumer
from djwsbridge.transport.failures import (
    DATABASE_DOWN,
    failure_of,
    send_close,
    try_later,
)
from djwsbridge.transport.refusals import (
    address_is_full,
    guessed,
    storm,
    tell_closed,
    tell_denied,
)
from djwsbridge.transport.serving import serve_asgi, serve_attached

__all__ = [
    "OUTCOME",
    "Outcome",
    "authenticate",
    "choose_dialect",
    "deny",
    "find_outcome",
    "refuse",
    "serve",
]

#: What is known of the credential of a handshake; only our own routes act on a refusal.
Outcome = Identity | CloseConnection | HandshakeRefused | None
# The key under which the middleware leaves it in the scope.
OUTCOME = "djwsbridge.outcome"
STORM_SPREAD = 10.0  # seconds over which those who come all at once are spread
# Seconds after which a client may try again whose address has too many connections, or too many wrong credentials.
RETRY_AFTER = (10, 20)
MAX_SUBPROTOCOLS = 20  # offered in one handshake
_VERSION_PREFIX = "djwsbridge.v"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_BAD_SUBPROTOCOLS = (
    f"it offers more than {MAX_SUBPROTOCOLS} subprotocols, or one that is no token of HTTP"
)
_REASONS = {400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found", 429: b"Too Many Requests"}


async def serve(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    plain: Dialect,
    build: Callable[[Connection], Consumer],
) -> None:
    """Serve one WebSocket from its handshake to its end; where the server has ready frames, to its beginning.

    Args:
        scope: of the ASGI application.
        receive: likewise.
        send: likewise.
        plain: the dialect for clients that offer no subprotocol.
        build: makes the object that carries out what the plain dialect asks for.
    """
    attach = take_attach(scope)
    try:
        dialect, subprotocol = choose_dialect(scope, plain)
        identity = await authenticate(scope)
        if identity is None and dialect.name is None:  # its frames have no place for a credential
            raise refusal(ErrorCode.AUTH_REQUIRED)
    except HandshakeRefused as error:
        await deny(scope, receive, send, error)
        return
    except CloseConnection as reason:
        await refuse(scope, receive, send, reason, plain=plain)
        return
    connection = Connection(scope, dialect=dialect)
    connection.consumer = build(connection)
    connection.handshake_identity = identity
    if not await connection.admission.admit_address(connection.address, connection):
        await deny(scope, receive, send, address_is_full())
        return
    try:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
    except BaseException:
        connection.admission.leave_address(connection.address, connection)
        raise
    if attach is None:
        await serve_asgi(connection, receive, send)
    else:
        await serve_attached(connection, attach)


async def find_outcome(scope: Scope) -> Outcome:
    """Return who opens a connection, None without a credential, or why the credential is no good.

    Raises:
        CloseConnection: the database cannot tell, or too many come at once; to be told after `accept`.
    """
    node = runtime.current()
    if not admission_of(node).admit_handshake(now=node.loop.time()):
        raise try_later(ErrorCode.BUSY, within=STORM_SPREAD, why=storm())
    try:
        check_tenant()
        return await authenticate_handshake(scope)
    except OtherTenant:
        return refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    except (CloseConnection, HandshakeRefused) as reason:
        return reason
    except CommandError as error:
        raise try_later(error.code, within=STORM_SPREAD) from error
    except DATABASE_DOWN as error:
        raise try_later(failure_of(error).code) from error


async def authenticate(scope: Scope) -> Identity | None:
    """Return who opens the connection, as the middleware in front or else the handshake itself says.

    Raises:
        CloseConnection: the credential is no good, or as `find_outcome`; to be told after `accept`.
        HandshakeRefused: a foreign page uses the visitor's cookie, a token is in the address, or somebody guesses.
    """
    check_address(scope)
    outcome: Outcome = scope[OUTCOME] if OUTCOME in scope else await find_outcome(scope)
    if isinstance(outcome, CloseConnection):
        if count_guess(runtime.current(), address_of(scope), outcome):
            raise guessed()
        raise outcome
    if isinstance(outcome, HandshakeRefused):
        raise outcome
    return outcome


def choose_dialect(scope: Mapping[str, Any], plain: Dialect) -> tuple[Dialect, str | None]:
    """Return the dialect of a connection and the subprotocol to accept it with.

    Raises:
        HandshakeRefused: 400, more subprotocols than any client has, or what is none.
        CloseConnection: 4400, only versions that are not spoken here.
    """
    offered = [subprotocol for subprotocol in scope.get("subprotocols", ()) if subprotocol]
    if len(offered) > MAX_SUBPROTOCOLS or not all(map(_TOKEN.fullmatch, offered)):
        raise HandshakeRefused(400, "subprotocols", _BAD_SUBPROTOCOLS)
    v1 = registry.codec()
    if v1.name in offered:
        return v1, v1.name
    if any(subprotocol.startswith(_VERSION_PREFIX) for subprotocol in offered):
        error = CommandError(ErrorCode.UNSUPPORTED_VERSION, versions=[v1.name])
        raise CloseConnection(
            CloseCode.BAD_PROTOCOL, error, why=f"It offers {show(', '.join(offered))}"
        )
    return plain, _first_bearer(offered)


async def deny(
    scope: Mapping[str, Any], receive: Receive, send: Send, refused: HandshakeRefused
) -> None:
    """Answer a handshake with an HTTP status; servers without that ASGI extension answer 403."""
    tell_denied(scope, refused)
    await receive()
    if not has_http_response(scope):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append((b"retry-after", b"%d" % random.randint(*RETRY_AFTER)))  # noqa: S311  no secret
    start: MutableMapping[str, Any] = {"status": refused.status, "headers": headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": _REASONS[refused.status]})
    # uvicorn's own class logs an error unless it knows by now that the connection is closed.
    await asyncio.sleep(0)


async def refuse(
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    reason: CloseConnection,
    *,
    plain: Dialect,
) -> None:
    """Accept a handshake, say why it is refused, and close."""
    tell_closed(scope, reason)
    offered = list(scope.get("subprotocols", ()))
    v1 = registry.codec()
    versions = [name for name in offered if name.startswith(_VERSION_PREFIX)]
    dialect: Dialect = v1 if versions else plain
    subprotocol = v1.name if v1.name in offered else (versions or [_first_bearer(offered)])[0]
    await receive()
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    await send({"type": "websocket.send", "text": dialect.encode_farewell(reason.error)})
    await send_close(scope, send, reason)


def _first_bearer(offered: list[str]) -> str | None:
    """Return the subprotocol to repeat: a browser fails a connection whose offer is answered with none."""
    return next((name for name in offered if name.startswith(BEARER_SUBPROTOCOL)), None)
