"""Serve the project, with a derived consumer when STORE_CONSUMER is `strict`."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django.setup()

from djwsbridge.consumers import UserConsumer  # noqa: E402
from djwsbridge.middleware import TokenAuthMiddleware  # noqa: E402
from djwsbridge.routing import get_websocket_urlpatterns  # noqa: E402
from tests.store_project.consumers import StrictConsumer  # noqa: E402

consumer = StrictConsumer if os.environ.get("STORE_CONSUMER") == "strict" else UserConsumer

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns(consumer))),
    }
)
