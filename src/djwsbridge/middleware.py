"""Authentication in front of a `URLRouter`, as in the first seed's `asgi.py`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.core.signals import request_finished

from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.publish import will_serve
from djwsbridge.thread_pool import ThreadPool
from djwsbridge.transport.asgi import Receive, Scope, Send, settled_scope
from djwsbridge.transport.auth.handshake import HandshakeRefused
from djwsbridge.transport.auth.identity import Identity
from djwsbridge.transport.endpoint import OUTCOME, deny, find_outcome, refuse
from djwsbridge.transport.refusals import unknown_path

__all__ = ["TokenAuthMiddleware", "finish_requests"]

ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

_PLAIN = PlainDialect()
_NO_ROUTE = "No route found"  # how the ValueError of Channels' URLRouter begins


class TokenAuthMiddleware:
    """Find out who opens a WebSocket: by JWT, session cookie or ticket.

    Where the site is under a path, the routes inside see the rest of it, whatever the proxy and the server do.

    Inside, `scope["user"]` is that user. Without a credential, or with one that is no good, it is what an outer
    middleware has put there, else an anonymous user. Our own routes refuse such a connection, unless its client may
    still bring a credential (`connect` of v1). Other applications inside decide for themselves.

    Args:
        inner: an ASGI application, usually Channels' `URLRouter`.

    Raises:
        ImproperlyConfigured: "djwsbridge" is not in INSTALLED_APPS.
    """

    def __init__(self, inner: ASGIApplication) -> None:
        will_serve()
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate a WebSocket; everything else passes as it is."""
        if scope["type"] != "websocket":
            await self.inner(scope, receive, send)
            return
        scope = settled_scope(scope)
        try:
            _check_route(self.inner, scope)
            outcome = await find_outcome(scope)
        except HandshakeRefused as error:
            await deny(scope, receive, send, error)
            return
        except CloseConnection as reason:
            await refuse(scope, receive, send, reason, plain=_PLAIN)
            return
        known = outcome.user if isinstance(outcome, Identity) else scope.get("user")
        inside = {**scope, "user": known or AnonymousUser(), OUTCOME: outcome}
        try:
            await self.inner(inside, receive, send)
        except ValueError as error:
            if not str(error).startswith(_NO_ROUTE):
                raise
            await deny(scope, receive, send, unknown_path())


def _check_route(application: object, scope: Scope) -> None:
    """Refuse a path that Channels' router does not know, before anybody is asked for a credential.

    Raises:
        HandshakeRefused: 404.
    """
    if isinstance(application, URLRouter):
        path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        if not any(route.pattern.match(path) for route in application.routes):
            raise unknown_path()


def finish_requests(application: Callable[..., Awaitable[None]]) -> ASGIApplication:
    """Wrap Django's own ASGI application, so that every request gives its database connection back.

    Where the site is under a path that FORCE_SCRIPT_NAME names, `request.path` begins with it, whatever the proxy and
    the server do. Django alone would send a visitor back from the log-in to an address outside of the site.

    Django closes the connection of a request at `request_finished`, in the request's thread. Django does not send this
    signal when the content of a streamed response raises. And Daphne cancels the closing when a view still runs ten
    seconds after its client has left. The thread then ends with its connection open, and psycopg's pool never gets this
    connection back.

    Args:
        application: what `get_asgi_application` returns.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request = asyncio.ensure_future(
            _serve_to_the_end(application, settled_scope(scope), receive, send)
        )
        _requests.add(request)
        request.add_done_callback(_requests.discard)
        await asyncio.shield(request)

    return serve


# Requests under way: the event loop alone would not keep their tasks alive.
_requests: set[asyncio.Future[None]] = set()


async def _serve_to_the_end(
    application: Callable[..., Awaitable[None]], scope: Scope, receive: Receive, send: Send
) -> None:
    # Django's handler enters such a context, too. The outer context decides which thread is the request's, and how long
    # it lives. asgiref's own executor would let the event loop wait for ever for a thread that has died of no memory.
    context = ThreadSensitiveContext()
    pool = ThreadPool(1, "djwsbridge page", linger=threading.TIMEOUT_MAX)
    SyncToAsync.context_to_thread_executor[context] = cast(ThreadPoolExecutor, pool)
    async with context:
        try:
            await application(scope, receive, send)
        except Exception:
            await request_finished.asend(sender=finish_requests)
            raise
