"""The interface of an engine."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Sequence
from typing import ParamSpec

from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["Deliver", "Engine", "OnBack", "attempt"]

logger = logging.getLogger("djwsbridge.engine")

P = ParamSpec("P")

#: Called by an engine in its event loop for every push on a topic that the node is subscribed to: (topic, text).
Deliver = Callable[[str, str], None]
#: Called by an engine in its event loop when its link has come back: anything may have been lost before.
OnBack = Callable[[], None]


class Engine(abc.ABC):
    """Carry pushes to every node whose connections listen to a topic, this node included.

    Promised: what one task publishes on one topic arrives in that order; a node that is subscribed gets a push once.
    Not promised: that a push arrives at all. A push is a hint; the truth is in the database.

    An engine belongs to one event loop: all its methods are called there.
    """

    # Whether `count` counts, as long as the engine can be reached.
    counts = False
    # Whether its methods wait for something outside of the process, which may hang.
    waits = True

    @abc.abstractmethod
    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        """Begin to deliver what is published on the topics that are subscribed to from now on.

        Args:
            deliver: called for every push.
            on_back: called when the link has come back after pushes may have been lost.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """End all subscriptions and let go of everything; the engine is not used again."""

    @abc.abstractmethod
    async def subscribe(self, topic: str) -> None:
        """Return when every later push on the topic will be delivered; twice is once.

        Raises:
            EngineUnavailable: it could not be made; to be called again when the engine is back.
        """

    @abc.abstractmethod
    async def unsubscribe(self, topic: str) -> None:
        """Stop the deliveries of a topic; harmless when there are none.

        Raises:
            EngineUnavailable: the engine could not be told; deliveries may go on.
        """

    async def count(self, key: str, *, seconds: float) -> int | None:
        """Count one thing over all nodes, for limits that several nodes share.

        Args:
            key: what is counted, such as the messages of a user.
            seconds: the length of the window; it begins with the first thing counted.

        Returns:
            How many there were in the present window, this one included; None when this engine counts nothing, or
            cannot be reached in a few milliseconds.
        """
        return None

    @abc.abstractmethod
    async def publish(self, topic: str, text: str) -> None:
        """Return when the engine has taken a push.

        Works before `start` too: a process that only publishes needs no deliveries.

        Raises:
            EngineUnavailable: it was not taken.
        """

    def offer(self, topic: str, text: str) -> bool:
        """Take a push at once, if this engine can do so without waiting for anything; say whether it was taken.

        The caller offers nothing while an earlier push is still to be taken.
        """
        return False

    async def publish_all(
        self, pushes: Sequence[tuple[str, str]]
    ) -> Sequence[EngineUnavailable | None]:
        """Publish several pushes (topic, text) in their order.

        Returns:
            For each None, or why it was not taken.
        """
        outcomes: list[EngineUnavailable | None] = []
        for topic, text in pushes:
            try:
                await self.publish(topic, text)
            except EngineUnavailable as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes


def attempt(handle: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call what handles one message or one event of an engine.

    When it fails, that is logged and nothing else: who receives for a node goes on, or the node would be deaf.
    """
    try:
        handle(*args, **kwargs)
    except Exception:
        logger.exception("An engine goes on without what could not be handled.")
