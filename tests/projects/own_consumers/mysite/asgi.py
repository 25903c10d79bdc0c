"""The project's own consumers and djwsbridge's in one `URLRouter`."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django.setup()

from lobby.consumers import LobbyConsumer

from djwsbridge.middleware import TokenAuthMiddleware, finish_requests
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan

routes = [path("ws/lobby/", LobbyConsumer.as_asgi()), *get_websocket_urlpatterns()]

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": finish_requests(get_asgi_application()),
        "websocket": TokenAuthMiddleware(URLRouter(routes)),
    }
)
