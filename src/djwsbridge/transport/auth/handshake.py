"""From the headers of a WebSocket handshake to who opens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings as django_settings
from django.http import parse_cookie
from rest_framework_simplejwt import settings as token_settings

from djwsbridge.accounts import as_written, is_read_elsewhere
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import DjwsbridgeError
from djwsbridge.threads import run_service
from djwsbridge.transport.asgi import cookies_of
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.auth.origin import check_origin
from djwsbridge.transport.auth.session import authenticate_session, session_identity
from djwsbridge.transport.auth.ticket import redeem_ticket
from djwsbridge.transport.auth.token import authenticate_token_here

__all__ = [
    "BEARER_SUBPROTOCOL",
    "HandshakeRefused",
    "authenticate_handshake",
    "check_address",
    "header",
]

# Followed by a token, for browsers, which cannot set headers.
BEARER_SUBPROTOCOL = "djwsbridge.bearer."
_SECRET_PARAMETERS = frozenset({"token", "access_token", "jwt", "access", "authorization"})
_ADVICE_ON_ADDRESS = (
    "it has a token in its address, which ends up in logs. Send it in the Authorization header, in `connect` or as a "
    "subprotocol"
)
_ADVICE_ON_TICKET = (
    "it has a ticket in its address, and DJWSBRIDGE_ALLOW_QUERY_TICKET is off. Send it in `connect`"
)

Scope = Mapping[str, Any]


class HandshakeRefused(DjwsbridgeError):
    """A handshake that is answered with an HTTP status and never accepted.

    Args:
        status: of the answer.
        reason: a word of the code, by which the log tells refusals apart.
        text: what is wrong and which setting mends it, for the log; without secrets and its full stop.
    """

    def __init__(self, status: int, reason: str, text: str) -> None:
        self.status = status
        self.reason = reason
        self.text = text
        super().__init__(f"HTTP {status}: {text}")


def check_address(scope: Scope) -> None:
    """Refuse an address with a secret in it.

    Raises:
        HandshakeRefused: there is a token in the address, or a ticket without DJWSBRIDGE_ALLOW_QUERY_TICKET.
    """
    query = _query_of(scope)
    if _SECRET_PARAMETERS & query.keys():
        # It is in the logs by now: accepting it would teach the habit.
        raise HandshakeRefused(403, "query_token", _ADVICE_ON_ADDRESS)
    if "ticket" in query and not settings.ALLOW_QUERY_TICKET:
        raise HandshakeRefused(403, "query_ticket", _ADVICE_ON_TICKET)


async def authenticate_handshake(scope: Scope) -> Identity | None:
    """Return who opens a connection; None when the handshake carries no credential.

    The first of these that is there decides: the Authorization header, the bearer subprotocol, a ticket in the address
    (if DJWSBRIDGE_ALLOW_QUERY_TICKET), what an outer middleware has put into `scope["user"]`, the session cookie.

    Raises:
        CloseConnection: the credential is no good; to be told after `accept`.
        HandshakeRefused: a foreign page uses the visitor's cookie.
    """
    raw = _token_in_header(scope)
    if raw is not None:
        return await authenticate_token_here(raw)
    for subprotocol in scope.get("subprotocols", ()):
        if subprotocol.startswith(BEARER_SUBPROTOCOL):
            return await authenticate_token_here(subprotocol.removeprefix(BEARER_SUBPROTOCOL))
    ticket = _query_of(scope).get("ticket") if settings.ALLOW_QUERY_TICKET else None
    if ticket is not None:
        return await run_service(redeem_ticket, ticket[0])
    return await _authenticate_cookie(scope)


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a name (lower case)."""
    for key, value in scope.get("headers", ()):
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _query_of(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"))


def _token_in_header(scope: Scope) -> str | None:
    """Return the token in the header that SIMPLE_JWT["AUTH_HEADER_NAME"] names; None for one of another scheme.

    A browser sends `Basic` with every request, also a handshake, to a site that a proxy protects with a password.
    """
    name = str(token_settings.api_settings.AUTH_HEADER_NAME)
    raw = header(scope, name.removeprefix("HTTP_").replace("_", "-").lower().encode())
    scheme, _, token = (raw or "").strip().partition(" ")
    return token.strip() if scheme.lower() in _schemes_of_tokens() else None


def _schemes_of_tokens() -> set[str]:
    """Return "bearer" and what SIMPLE_JWT["AUTH_HEADER_TYPES"] names, in lower case (RFC 9110, section 11.1)."""
    named = token_settings.api_settings.AUTH_HEADER_TYPES
    return {"bearer", *(each.lower() for each in ([named] if isinstance(named, str) else named))}


async def _authenticate_cookie(scope: Scope) -> Identity | None:
    """Return whose session opens the connection, whoever has read the cookie: we, or Channels' middleware."""
    user = scope.get("user")
    known = user is not None and user.is_authenticated
    cookies = parse_cookie(cookies_of(scope).decode("latin-1"))
    session_key = cookies.get(django_settings.SESSION_COOKIE_NAME, "")
    if not known and not session_key:
        return None
    denied = check_origin(header(scope, b"origin"), scope)
    if denied is not None:
        raise HandshakeRefused(403, denied.reason, denied.text)
    if user is not None and known:
        if is_read_elsewhere(user):
            user = await run_service(as_written, user)
        if user is None or not user.is_active:
            raise refusal(ErrorCode.REVOKED)
        return session_identity(user, session_key or None)
    return await run_service(authenticate_session, session_key)
