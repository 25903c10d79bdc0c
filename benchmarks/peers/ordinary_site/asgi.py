"""The ASGI application of the ordinary stack: JWT by a middleware, as one finds it in tutorials."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import django
from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.ordinary_site.settings")
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402 - needs the settings
from rest_framework_simplejwt.exceptions import TokenError  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

from benchmarks.peers.ordinary_site.consumers import RoomConsumer  # noqa: E402


class TokenMiddleware:
    """Find out whose token the Authorization header carries."""

    def __init__(self, inner: Callable[..., Awaitable[None]]) -> None:
        self.inner = inner

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Authenticate, then go on."""
        header = dict(scope["headers"]).get(b"authorization", b"").decode()
        scope["user"] = await find_user(header.removeprefix("Bearer "))
        await self.inner(scope, receive, send)


@database_sync_to_async
def find_user(raw: str) -> object | None:
    """Return the user of a token; None when it is no good."""
    try:
        token = AccessToken(raw)
        return get_user_model().objects.get(pk=token["user_id"], is_active=True)
    except (TokenError, get_user_model().DoesNotExist):
        return None


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": TokenMiddleware(
            URLRouter([re_path(r"^ws/room/(?P<room>\d+)/$", RoomConsumer.as_asgi())])
        ),
    }
)
