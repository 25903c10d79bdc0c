"""The ASGI application: HTTP by Django, WebSocket by djwsbridge."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from djwsbridge.http import get_http_application  # noqa: E402 - needs the settings
from djwsbridge.middleware import TokenAuthMiddleware  # noqa: E402
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan  # noqa: E402

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": get_http_application(),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns())),
    }
)
