"""The settings, read when they are needed: `settings.WS_PATH` is `DJWSBRIDGE_WS_PATH` or its default.

docs/reference/settings.md describes each; a test compares the two.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from djwsbridge.protocol.server import Limits, RateLimit

__all__ = ["PREFIX", "settings"]

PREFIX = "DJWSBRIDGE_"
ENVELOPE_BYTES = 1_024  # of a push around its data, at most: type, topic, epoch and number
T = TypeVar("T")


class Setting(Generic[T]):
    """One setting with its default."""

    def __init__(self, default: T) -> None:
        self.default = default
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Settings, owner: type[Settings] | None = None) -> T:
        # Django searches for a setting that is not set each time, which costs more than to handle a whole frame. Found
        # once, it hides this descriptor.
        value: T = getattr(django_settings, PREFIX + self.name, self.default)
        vars(instance)[self.name] = value
        return value


class Settings:
    """All settings of the library, each read when it is first needed, and again when a test has changed one."""

    # Where the socket is: /<prefix>/<path>/
    WS_PREFIX = Setting("ws")
    WS_PATH = Setting("bridge")

    # The first seed: which values of `type` are allowed (None: all), and the developer's own models.
    ALLOWED_TYPES = Setting[Sequence[str] | None](None)
    CHAT_MODEL = Setting[str | None](None)
    MESSAGE_MODEL = Setting[str | None](None)
    # Dotted path of a function(sender, recipient, frame) → dict of further fields of the message model.
    MESSAGE_DEFAULTS = Setting[str | None](None)
    # Likewise, of the chat model, for a chat that is made.
    CHAT_DEFAULTS = Setting[str | None](None)
    # Dotted path of a function(sender, recipient, frame) → the chat of a message; None for the one of these two.
    GET_CHAT = Setting[str | None](None)

    # "redis", "channel_layer", "memory", or None: the channel layer if CHANNEL_LAYERS names one, else memory.
    ENGINE = Setting[str | None](None)
    # For the engine "redis": redis://, rediss://, redis+sentinel://, redis+cluster://.
    REDIS_URL = Setting[str | None](None)
    # What redis-py's `Sentinel` takes as `sentinel_kwargs`: how to reach the sentinels themselves.
    REDIS_SENTINEL_KWARGS = Setting[Mapping[str, Any]]({})
    # Of the names of its channels and keys: two sites on one Redis have two.
    REDIS_PREFIX = Setting[str]("djwsbridge:")
    # Topic prefix → dotted path of a function(user, topic) → bool: who may subscribe to the developer's own topics.
    TOPIC_RULES = Setting[Mapping[str, str]]({})

    # Who may open a socket with a session cookie: exact origins; None: the site itself and CSRF_TRUSTED_ORIGINS.
    ALLOWED_ORIGINS = Setting[Sequence[str] | None](None)
    # Whether `?ticket=` is read from the address (query strings end up in logs).
    ALLOW_QUERY_TICKET = Setting(default=False)
    TICKET_TTL = Setting(30.0)  # seconds in which a ticket must be used
    TOKEN_LEEWAY = Setting(
        30.0
    )  # seconds after its expiry in which a connection may still refresh its token
    TOKEN_WARNING = Setting(60.0)  # seconds before the expiry at which the client is told
    REVALIDATE_INTERVAL = Setting(
        60.0
    )  # seconds between two looks at the credential of an open connection
    # Addresses of the proxies whose X-Forwarded-For is believed.
    TRUSTED_PROXIES = Setting[Sequence[str]](())

    LOG_DAYS = Setting(30.0)  # days that events are kept in the log; messages are kept for ever

    FRAME_BYTES = Setting(65_536)
    # Of the data of one push, as JSON. It must fit into a send queue, and into one message of Daphne: 1 MiB each,
    # together with what else an answer to `connect` says.
    PAYLOAD_BYTES = Setting(262_144)
    CONNECT_TIMEOUT = Setting(5.0)  # seconds
    HEARTBEAT_INTERVAL = Setting(25.0)  # seconds; told to the client
    SILENCE_TIMEOUT = Setting(60.0)  # seconds
    FRAME_RATE = Setting((120, 60.0))  # frames, seconds
    # Bytes that a user may recover by `topic.recover`, seconds in which as many come back; per node.
    RECOVERY_BYTES = Setting((33_554_432, 60.0))
    SEND_RATE = Setting((20, 10.0))  # messages, seconds; per user and node
    HANDSHAKE_RATE = Setting((1_000, 1.0))  # WebSocket handshakes of a node, seconds
    CONNECTIONS_PER_USER = Setting[int | None](10)  # per node
    CONNECTIONS_PER_ADDRESS = Setting[int | None](50)  # per node
    SUBSCRIPTIONS = Setting(1_000)  # per connection
    CURSORS = Setting(200)  # in one `connect`
    # Waiting for one connection; beyond it the reader is slow and gets no more pushes, until it has read what waits.
    SEND_QUEUE_BYTES = Setting(1_048_576)
    SLOW_TIMEOUT = Setting(
        30.0
    )  # seconds in which a slow reader must read something; else it is closed

    # People online on one topic up to which each is told of the others' coming and going: it costs their square.
    PRESENCE_LIMIT = Setting(200)

    # The chat: whether a new user's name may look like an existing one (one Cyrillic letter in `paypal`).
    REFUSE_LOOKALIKE_NAMES = Setting(default=True)
    DIRECT_RATE = Setting((20, 3600.0))  # private conversations that a user begins, seconds
    ROOM_RATE = Setting((30, 3600.0))  # groups that a user makes over HTTP, seconds; per node

    DRAIN_SECONDS = Setting(10.0)  # in which the connections of a process that ends are sent away

    SERVICE_THREADS = Setting(8)  # in which services talk to the database

    @functools.cached_property
    def limits(self) -> Limits:
        """Return the bounds of one connection as the protocol wants them: one object for all connections."""
        return Limits(
            frame_bytes=self.FRAME_BYTES,
            connect_timeout=self.CONNECT_TIMEOUT,
            silence_timeout=self.SILENCE_TIMEOUT,
            frames=RateLimit(*self.FRAME_RATE),
        )

    @functools.cached_property
    def push_bytes(self) -> int:
        """Return how large a push can be as it goes over the wire."""
        return self.PAYLOAD_BYTES + ENVELOPE_BYTES

    @functools.cached_property
    def send_limit(self) -> RateLimit:
        """Return how many messages a user may send."""
        return RateLimit(*self.SEND_RATE)

    @functools.cached_property
    def recovery_limit(self) -> RateLimit:
        """Return how many bytes a user may recover."""
        return RateLimit(*self.RECOVERY_BYTES)


settings = Settings()


def _forget(**_: object) -> None:
    vars(settings).clear()


setting_changed.connect(_forget, dispatch_uid="djwsbridge.settings")
