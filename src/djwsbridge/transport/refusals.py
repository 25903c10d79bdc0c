"""Why a WebSocket is refused, in words for the one who can mend it: lines of the logger `djwsbridge.handshake`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from djwsbridge.conf import settings
from djwsbridge.notices import Notices, show
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.transport.admission import GUESSES, address_of
from djwsbridge.transport.auth.handshake import HandshakeRefused, header

__all__ = [
    "address_is_full",
    "guessed",
    "storm",
    "tell_closed",
    "tell_denied",
    "tell_no_upgrade",
    "unknown_path",
]

notices = Notices(logging.getLogger("djwsbridge.handshake"))

# What happens to every site every day, and what its clients mend by themselves.
_ORDINARY = frozenset({ErrorCode.TOKEN_EXPIRED, ErrorCode.REVOKED})
_ADVICE: Mapping[ErrorCode, str] = {
    ErrorCode.AUTH_REQUIRED: "it brought no credential",
    ErrorCode.TOKEN_INVALID: "its token or ticket is no good",
    ErrorCode.TOKEN_EXPIRED: "its token has expired",
    ErrorCode.TICKET_EXPIRED: "its ticket is older than DJWSBRIDGE_TICKET_TTL: it must be used at once",
    ErrorCode.TICKET_USED: "its ticket was used before. A client asks for a new one before each connection",
    ErrorCode.REVOKED: "its session has ended, or its user has a new password",
    ErrorCode.FORBIDDEN: "its user is not active, or its credential is of another user",
    ErrorCode.UNSUPPORTED_VERSION: "client and server are of different releases",
}
_PROXY = "If it is the address of a proxy of yours, add it to DJWSBRIDGE_TRUSTED_PROXIES"


def tell_denied(scope: Mapping[str, Any], refused: HandshakeRefused) -> None:
    """Log why a handshake is answered with an HTTP status."""
    _tell(scope, refused.reason, f"was refused with HTTP {refused.status}", refused.text)


def tell_closed(scope: Mapping[str, Any], reason: CloseConnection) -> None:
    """Log why a connection is closed whose credential or version is no good."""
    code = reason.error.code
    why = reason.why
    if code is ErrorCode.AUTH_REQUIRED and header(scope, b"cookie"):
        why = "None of its cookies is the session of a user who is logged in"
    text = ". ".join(filter(None, [_ADVICE.get(code, ""), why]))
    level = logging.INFO if code in _ORDINARY else logging.WARNING
    if text:
        closed = f"was closed with {int(reason.close_code)} ({code.value})"
        _tell(scope, code.value, closed, text, level=level)


def _tell(
    scope: Mapping[str, Any], reason: str, what: str, text: str, *, level: int = logging.WARNING
) -> None:
    place = f"{show(scope.get('path', ''))} from {show(address_of(scope))}"
    notices.write(reason, f"A WebSocket of {place} {what}: {text}.", level=level)


def tell_no_upgrade(path: str) -> None:
    """Log that a handshake has come as a plain request: a proxy has left out what makes it one."""
    notices.write(
        "no_upgrade",
        f"A WebSocket of {show(path)} came as a plain HTTP request: its header Upgrade is missing. Let the proxy in "
        "front pass Upgrade and Connection on, by HTTP/1.1 (nginx: proxy_http_version 1.1).",
    )


def unknown_path() -> HandshakeRefused:
    """Return why a path without a route is refused."""
    return HandshakeRefused(
        404,
        "unknown_path",
        "no WebSocket is served at this path. That of the user's socket is made of DJWSBRIDGE_WS_PREFIX "
        f"({settings.WS_PREFIX!a}) and DJWSBRIDGE_WS_PATH ({settings.WS_PATH!a})",
    )


def address_is_full() -> HandshakeRefused:
    """Return why one more connection of an address is refused."""
    return HandshakeRefused(
        429,
        "address_limit",
        f"its address has {settings.CONNECTIONS_PER_ADDRESS} connections, as many as "
        f"DJWSBRIDGE_CONNECTIONS_PER_ADDRESS allows. {_PROXY}",
    )


def guessed() -> HandshakeRefused:
    """Return why a bad credential is refused after many others."""
    return HandshakeRefused(
        429,
        "guesses",
        f"more than {GUESSES.count} bad credentials came from its address within {GUESSES.seconds:.0f} s. {_PROXY}",
    )


def storm() -> str:
    """Return why a handshake is one too many."""
    count, seconds = settings.HANDSHAKE_RATE
    return f"More than {count} handshakes came within {seconds:g} s: see DJWSBRIDGE_HANDSHAKE_RATE"
