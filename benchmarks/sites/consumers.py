"""A room per group of Django's: what a member sends, all members get."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from django.contrib.auth.models import AbstractBaseUser, User

from djwsbridge.consumers import DONE, UserConsumer
from djwsbridge.protocol.frames import PlainMessage
from djwsbridge.publish import publish

__all__ = ["GroupConsumer", "list_topics"]


class GroupConsumer(UserConsumer):
    """The socket of a user who hears the topics of their groups."""

    def receive(self, message: PlainMessage) -> Awaitable[None]:
        """Publish a message to the group that it is addressed to, for who is in it."""
        topic = _topic(message.recipient)
        if topic in self.connection.topics:
            publish(topic, "message", {"type": message.type, "content": message.body}, now=True)
        return DONE


def list_topics(users: Sequence[AbstractBaseUser]) -> dict[int, list[str]]:
    """Return a topic for each group of each user."""
    found: dict[int, list[str]] = {}
    memberships = User.groups.through._default_manager.filter(user_id__in=[one.pk for one in users])
    for user_id, group_id in memberships.values_list("user_id", "group_id"):
        found.setdefault(user_id, []).append(_topic(group_id))
    return found


def _topic(group: object) -> str:
    return f"group.{group}"
