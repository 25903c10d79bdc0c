"""The WebSocket routes of the library."""

from __future__ import annotations

import re
from urllib.parse import quote

from django.conf import settings as django_settings
from django.urls import URLPattern, get_script_prefix, re_path

from djwsbridge.conf import settings
from djwsbridge.consumers import UserConsumer
from djwsbridge.publish import will_serve
from djwsbridge.transport import registry
from djwsbridge.transport.node import is_draining, serve_lifespan

__all__ = ["get_websocket_urlpatterns", "is_draining", "serve_lifespan", "socket_path"]


def socket_path() -> str:
    """Return the address of the user's socket, such as `/ws/bridge/`, for a page.

    Where the site is under a path, it begins with that: FORCE_SCRIPT_NAME, or the prefix of the current request.
    """
    prefix = (django_settings.FORCE_SCRIPT_NAME or get_script_prefix()).rstrip("/")
    return f"{quote(prefix)}/{socket_route()}"


def socket_route() -> str:
    """Return the path of the user's socket within the site, such as `ws/bridge/`."""
    parts = [settings.WS_PREFIX.strip("/"), settings.WS_PATH.strip("/")]
    return "".join(f"{part}/" for part in parts if part)


def get_websocket_urlpatterns(consumer: type[UserConsumer] = UserConsumer) -> list[URLPattern]:
    """Return the routes for Channels' `URLRouter`: the user's socket, and those of installed apps.

    Args:
        consumer: the project's own class, when it has derived one.

    Raises:
        ImproperlyConfigured: "djwsbridge" is not in INSTALLED_APPS.
    """
    will_serve()
    path = re.escape(socket_route().strip("/"))
    return [re_path(rf"^{path}/?$", consumer.as_asgi()), *registry.routes()]  # type: ignore[arg-type]
