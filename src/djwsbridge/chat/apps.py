"""Join the chat to the core: its commands, topics, rules and routes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.urls import URLPattern

__all__ = ["ChatConfig"]


class ChatConfig(AppConfig):
    """The Django app of the chat."""

    name = "djwsbridge.chat"
    label = "djwsbridge_chat"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Import the models, once it is sure that they can be.

        Raises:
            ImproperlyConfigured: the packages of the extra `[chat]` are missing.
        """
        if find_spec("confusable_homoglyphs") is None:
            raise ImproperlyConfigured('The chat needs: pip install "djwsbridge[chat]"')
        super().import_models()

    def ready(self) -> None:
        """Register with the core, which never names the chat."""
        from djwsbridge.chat import commands, handlers, node, services  # noqa: PLC0415 - needs the models
        from djwsbridge.chat.checks import check_log, check_policy  # noqa: PLC0415
        from djwsbridge.chat.rights import connect_signals  # noqa: PLC0415
        from djwsbridge.durable import register_eraser  # noqa: PLC0415
        from djwsbridge.transport import registry  # noqa: PLC0415

        checks.register(check_log, checks.Tags.compatibility)
        checks.register(check_policy, checks.Tags.security)
        registry.register_command(commands.SendMessage, handlers.send_message, counts_as_send=True)
        registry.register_command(commands.ListMessages, handlers.list_messages)
        registry.register_command(commands.Acknowledge, handlers.acknowledge)
        registry.register_command(commands.MarkRead, handlers.mark_read)
        registry.register_command(commands.SetTyping, handlers.set_typing)
        registry.register_command(commands.ListMembers, handlers.list_members)
        registry.register_routes(_routes)
        registry.register_topics(_topics_of)
        registry.register_announcements("room")
        registry.register_visits(came=node.note_arrival, left=node.note_departure)
        registry.register_topic_rule(
            "room", lambda user, topic: services.may_subscribe(actor=user, topic=topic)
        )
        registry.register_topic_state("room", lambda asked: services.describe_topics(asked=asked))
        connect_signals()
        register_eraser("room", lambda topic, seqs: services.erase_messages(topic=topic, seqs=seqs))


def _routes() -> list[URLPattern]:
    from djwsbridge.chat.consumers import routes  # noqa: PLC0415 - needs the apps to be ready

    return routes()


def _topics_of(users: Sequence[AbstractBaseUser]) -> Mapping[Any, Iterable[str]]:
    from djwsbridge.chat import services  # noqa: PLC0415 - needs the models

    return services.list_topics(actors=users)
