"""Authentication in front of a `URLRouter`, as in the first seed's `asgi.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from django.contrib.auth.models import AnonymousUser

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.transport import registry
from djwsbridge.transport.auth.handshake import HandshakeRefused, authenticate_handshake
from djwsbridge.transport.auth.identity import refusal
from djwsbridge.transport.connection import Receive, Scope, Send
from djwsbridge.transport.endpoint import IDENTITY, deny, refuse

__all__ = ["TokenAuthMiddleware"]

_PLAIN = PlainDialect()
_NO_ROUTE = "No route found"  # how the ValueError of Channels' URLRouter begins


class TokenAuthMiddleware:
    """Find out who opens a WebSocket: by JWT, session cookie or ticket.

    Inside, `scope["user"]` is that user. A connection without a credential only gets through when it speaks v1, whose
    `connect` command may bring one; `scope["user"]` is anonymous then.

    Args:
        inner: an ASGI application, usually Channels' `URLRouter`.
    """

    def __init__(self, inner: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate a WebSocket; everything else passes as it is."""
        if scope["type"] != "websocket":
            await self.inner(scope, receive, send)
            return
        try:
            identity = await authenticate_handshake(dict(scope))
            if identity is None and registry.codec().name not in scope.get("subprotocols", ()):
                raise refusal(ErrorCode.AUTH_REQUIRED)
        except HandshakeRefused as error:
            await deny(scope, receive, send, error.status)
            return
        except CloseConnection as reason:
            await refuse(scope, receive, send, reason, plain=_PLAIN)
            return
        user = AnonymousUser() if identity is None else identity.user
        try:
            await self.inner({**scope, "user": user, IDENTITY: identity}, receive, send)
        except ValueError as error:
            if not str(error).startswith(_NO_ROUTE):
                raise
            await deny(scope, receive, send, 404)
