"""This node's registry: which connections listen to which topic.

One thread, one event loop: the hub is only touched from the loop that serves the connections, so it needs no lock.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import Protocol

from djwsbridge.protocol.server import Dialect

__all__ = ["Hub", "Subscriber"]

logger = logging.getLogger("djwsbridge.hub")


class Subscriber(Protocol):
    """What the hub needs of a connection."""

    @property
    def dialect(self) -> Dialect:
        """Return how its frames look."""

    def push(self, text: str) -> None:
        """Take one frame for this connection. Must return at once and must not raise."""


class Hub:
    """Topic → subscriptions of this node."""

    def __init__(self) -> None:
        # Topic → dialect → subscribers in order of subscription. No empty inner mapping is kept.
        self._topics: dict[str, dict[Dialect, dict[Subscriber, None]]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def add(self, topic: str, subscriber: Subscriber) -> None:
        """Let a subscriber listen to a topic; twice is once."""
        self._topics.setdefault(topic, {}).setdefault(subscriber.dialect, {})[subscriber] = None

    def remove(self, topic: str, subscriber: Subscriber) -> None:
        """End a subscription, if there is one."""
        dialects = self._topics.get(topic)
        if dialects is None or subscriber not in dialects.get(subscriber.dialect, ()):
            return
        subscribers = dialects[subscriber.dialect]
        del subscribers[subscriber]
        if not subscribers:
            del dialects[subscriber.dialect]
            if not dialects:
                del self._topics[topic]

    def topics(self) -> Collection[str]:
        """Return the topics that somebody here listens to."""
        return self._topics.keys()

    def subscribers(self, topic: str) -> Iterator[Subscriber]:
        """Yield the subscribers of a topic; the caller may change the hub meanwhile."""
        for subscribers in list(self._topics.get(topic, {}).values()):
            yield from list(subscribers)

    def deliver(self, topic: str, text: str) -> None:
        """Hand a push to every subscriber of its topic, written once per dialect.

        Args:
            topic: where it was published.
            text: the push in the v1 dialect, as the engine carries it.
        """
        for dialect, subscribers in list(self._topics.get(topic, {}).items()):
            try:
                written = dialect.encode_push(text)
            except Exception:
                logger.exception("A push on %s cannot be written in dialect %r.", topic, dialect)
                continue
            if written is not None:
                for subscriber in list(subscribers):
                    subscriber.push(written)
