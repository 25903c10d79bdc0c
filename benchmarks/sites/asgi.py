"""The ASGI application: as the tutorial has it, with the project's own consumer when groups are asked for."""

from __future__ import annotations

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.sites.settings")
django.setup()

from benchmarks.sites.consumers import GroupConsumer  # noqa: E402 - needs the settings
from djwsbridge.consumers import UserConsumer  # noqa: E402
from djwsbridge.middleware import TokenAuthMiddleware  # noqa: E402
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan  # noqa: E402

consumer = GroupConsumer if os.environ.get("BENCH_SITE") == "groups" else UserConsumer

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": get_asgi_application(),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns(consumer))),
    }
)
