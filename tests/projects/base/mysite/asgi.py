"""The README's `asgi.py`."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django.setup()

from djwsbridge.middleware import TokenAuthMiddleware, finish_requests
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": finish_requests(get_asgi_application()),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns())),
    }
)
