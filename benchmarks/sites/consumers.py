"""A room per group of Django's: what a member sends, all members get."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from djwsbridge.consumers import DONE, UserConsumer
from djwsbridge.protocol.frames import PlainMessage
from djwsbridge.publish import publish

__all__ = ["GroupConsumer"]


class GroupConsumer(UserConsumer):
    """The socket of a user who hears the topics of their groups."""

    def topics(self) -> Iterable[str]:
        """Return a topic for each group of the user."""
        keys = self.user.groups.values_list("pk", flat=True)  # type: ignore[attr-defined]
        return [*super().topics(), *map(_topic, keys)]

    def receive(self, message: PlainMessage) -> Awaitable[None]:
        """Publish a message to the group that it is addressed to, for who is in it."""
        topic = _topic(message.recipient)
        if topic in self.connection.topics:
            publish(topic, "message", {"type": message.type, "content": message.body}, now=True)
        return DONE


def _topic(group: object) -> str:
    return f"group.{group}"
