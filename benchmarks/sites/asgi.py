"""The ASGI application: as the tutorial has it, with the project's own consumer when groups are asked for."""

from __future__ import annotations

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.sites.settings")
django.setup()

from benchmarks.sites.consumers import GroupConsumer, list_topics  # noqa: E402 - needs the settings
from djwsbridge.consumers import UserConsumer  # noqa: E402
from djwsbridge.middleware import TokenAuthMiddleware, finish_requests  # noqa: E402
from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan  # noqa: E402
from djwsbridge.transport.registry import register_topics  # noqa: E402

consumer: type[UserConsumer] = UserConsumer
if os.environ.get("BENCH_SITE") == "groups":
    consumer = GroupConsumer
    register_topics(list_topics)

application = ProtocolTypeRouter(
    {
        "lifespan": serve_lifespan,
        "http": finish_requests(get_asgi_application()),
        "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns(consumer))),
    }
)
