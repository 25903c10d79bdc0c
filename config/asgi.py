"""The ASGI application: HTTP by Django, WebSocket by djwsbridge."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from djwsbridge.middleware import TokenAuthMiddleware, finish_requests  # noqa: E402 - needs the settings
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan  # noqa: E402

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": finish_requests(get_asgi_application()),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns())),
    }
)
