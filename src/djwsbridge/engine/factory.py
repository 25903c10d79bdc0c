"""Build the engine that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from djwsbridge.conf import settings
from djwsbridge.engine.base import Engine
from djwsbridge.engine.channel_layer import ChannelLayer, ChannelLayerEngine
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.engine.sealed import Seal, SealedEngine

__all__ = ["ENGINES", "build_engine"]


def build_engine() -> Engine:
    """Build the engine that the settings name.

    Raises:
        ImproperlyConfigured: there is no such engine, or the channel layer is missing.
    """
    name = settings.ENGINE
    if name is None:
        name = "channel_layer" if _channel_layer() is not None else "memory"
    if name not in ENGINES:
        raise ImproperlyConfigured(
            f"DJWSBRIDGE_ENGINE is {name!r}; it can be one of: {', '.join(sorted(ENGINES))}."
        )
    return ENGINES[name]()


def _build_channel_layer() -> Engine:
    layer = _channel_layer()
    if layer is None:
        raise ImproperlyConfigured(
            "DJWSBRIDGE_ENGINE is 'channel_layer', but CHANNEL_LAYERS names no default layer."
        )
    engine = ChannelLayerEngine(layer)
    return engine if isinstance(layer, InMemoryChannelLayer) else _seal(engine)


def _build_redis() -> Engine:
    from djwsbridge.engine.redis import RedisEngine  # noqa: PLC0415  redis is optional

    if not settings.REDIS_URL:
        raise ImproperlyConfigured(
            "DJWSBRIDGE_ENGINE is 'redis', but DJWSBRIDGE_REDIS_URL is not set."
        )
    sentinel = settings.REDIS_SENTINEL_KWARGS
    return _seal(
        RedisEngine(settings.REDIS_URL, prefix=settings.REDIS_PREFIX, sentinel_kwargs=sentinel)
    )


def _channel_layer() -> ChannelLayer | None:
    layer: ChannelLayer | None = get_channel_layer()
    return layer


def _seal(engine: Engine) -> Engine:
    """Return an engine whose pushes show that they come from this site."""
    secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
    return SealedEngine(engine, Seal(secrets))


_bus = MemoryBus()
ENGINES: dict[str, Callable[[], Engine]] = {
    "channel_layer": _build_channel_layer,
    "redis": _build_redis,
    "memory": lambda: MemoryEngine(_bus),
}
