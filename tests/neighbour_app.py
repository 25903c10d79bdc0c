"""The reference project with a developer's own consumers of Channels beside ours, all in one `URLRouter`."""

from __future__ import annotations

from typing import Any

import django

django.setup()

from channels.generic.websocket import JsonWebsocketConsumer  # noqa: E402 - needs the settings
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from djwsbridge.middleware import TokenAuthMiddleware, finish_requests  # noqa: E402
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan  # noqa: E402


class Greeter(JsonWebsocketConsumer):  # type: ignore[misc]  Channels has no types
    """A consumer that lets everybody in, says who they are, and sends back what they say."""

    def connect(self) -> None:
        self.accept()
        query = self.scope["query_string"].decode()
        self.send_json({"user": self.scope["user"].get_username(), "query": query})

    def receive_json(self, content: Any, **_: Any) -> None:
        self.send_json({"echo": content})


class Bouncer(JsonWebsocketConsumer):  # type: ignore[misc]
    """A consumer that lets nobody in."""

    def connect(self) -> None:
        self.close()


application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": finish_requests(get_asgi_application()),
        "websocket": TokenAuthMiddleware(
            URLRouter(
                [
                    path("ws/greeter/", Greeter.as_asgi()),
                    path("ws/bouncer/", Bouncer.as_asgi()),
                    *get_websocket_urlpatterns(),
                ]
            )
        ),
    }
)
