"""What other apps add to the core: commands, topics, rules, routes. Filled in `AppConfig.ready`, read later."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils.module_loading import import_string

from djwsbridge.conf import settings
from djwsbridge.durable import installed_log
from djwsbridge.protocol.codec import Codec
from djwsbridge.protocol.frames import Command, PlainMessage

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.urls import URLPattern

    from djwsbridge.transport.connection import Connection

__all__ = [
    "Handler",
    "codec",
    "counts_as_send",
    "find_topic_rule",
    "handler_of",
    "may_be_announced",
    "names_topics",
    "register_announcements",
    "register_command",
    "register_routes",
    "register_topic_rule",
    "register_topic_state",
    "register_topics",
    "register_visits",
    "routes",
    "tell_came",
    "tell_left",
    "topic_states",
    "topics_of",
]

C = TypeVar("C", bound=Command)
#: Carries out one command; returns the `ok` of its reply, or a coroutine or future of it.
Handler = Callable[["Connection", C], object]
#: Users → for each, by primary key, the topics to listen to.
TopicList = Callable[[Sequence["AbstractBaseUser"]], Mapping[Any, Iterable[str]]]
#: What an app has to say of topics: topic → further fields of its object in a reply.
States = Mapping[str, Mapping[str, object]]
#: Who asks, and for which topics.
Asked = tuple["AbstractBaseUser", Sequence[str]]
TopicState = Callable[[Sequence[Asked]], Sequence[States]]
Visit = Callable[["Connection"], None]
TopicRule = Callable[["AbstractBaseUser", str], bool]

_handlers: dict[type[Command], Handler[Any]] = {}
# Classes of frames that count against the limit for messages.
_sends: set[type[Command | PlainMessage]] = {PlainMessage}
# Functions in order of registration. Django calls `ready` again when INSTALLED_APPS changes under test, so that twice
# has to be once here.
_topics: dict[TopicList, None] = {}
# Prefixes of topics that may be announced.
_announced: set[str] = set()
_rules: dict[str, TopicRule] = {}
_states: dict[str, TopicState] = {}
_came: dict[Visit, None] = {}
_left: dict[Visit, None] = {}
_routes: dict[Callable[[], list[URLPattern]], None] = {}


def register_command(
    command: type[C], handler: Handler[C], *, counts_as_send: bool = False
) -> None:
    """Let connections carry out a command.

    Args:
        command: its class.
        handler: what carries it out.
        counts_as_send: whether it counts against DJWSBRIDGE_SEND_RATE, the limit for messages.

    Raises:
        ValueError: another class has the same tag.
    """
    for known in _handlers:
        if known is not command and known.__struct_config__.tag == command.__struct_config__.tag:
            raise ValueError(f"{known} and {command} have the same tag.")
    _handlers[command] = handler
    if counts_as_send:
        _sends.add(command)
    codec.cache_clear()


def register_topics(function: TopicList) -> None:
    """Name topics that every connection of a user listens to from its `connect` on; twice is once.

    Args:
        function: sync; users → primary key → topics, who has none may be left out. Users who come together are asked
            about together.
    """
    _topics[function] = None


def register_announcements(prefix: str) -> None:
    """Let the topics `<prefix>.<anything>` be announced to a connection that has more topics than it may listen to.

    Such a connection is told in `topics.moved` that these topics have new events. It does not get the events.

    Args:
        prefix: what stands before the first dot. All that happens on these topics has to be durable.
    """
    _announced.add(prefix)


def may_be_announced(topic: str) -> bool:
    """Say whether a topic may be announced where there is no room to listen to it. Only a log tells that it moved."""
    return topic.partition(".")[0] in _announced and installed_log() is not None


def register_topic_rule(prefix: str, rule: TopicRule) -> None:
    """Decide who may `subscribe` to the topics `<prefix>.<anything>`.

    Args:
        prefix: what stands before the first dot.
        rule: sync, (user, topic) → may they?
    """
    _rules[prefix] = rule


def register_topic_state(prefix: str, function: TopicState) -> None:
    """Add to what a client is told of the topics `<prefix>.<anything>` when it connects or recovers.

    Args:
        prefix: what stands before the first dot.
        function: sync; takes (user, topics) of those who ask together, and returns for each of them topic → further
            fields of its object in the reply.
    """
    _states[prefix] = function


def register_visits(*, came: Visit, left: Visit) -> None:
    """Hear of every connection of a user; twice is once. Neither may wait for anything, or fail.

    Args:
        came: called when its user is there and all is subscribed.
        left: called when it has gone.
    """
    _came[came] = None
    _left[left] = None


def register_routes(function: Callable[[], list[URLPattern]]) -> None:
    """Add WebSocket routes to `djwsbridge.routing.get_websocket_urlpatterns`; twice is once."""
    _routes[function] = None


@functools.cache
def codec() -> Codec:
    """Return the v1 dialect with all commands registered so far."""
    return Codec(_handlers)


def handler_of(command: Command) -> Handler[Any]:
    """Return the handler of a decoded command."""
    return _handlers[type(command)]


def counts_as_send(frame: Command | PlainMessage) -> bool:
    """Say whether a frame counts against the limit for messages."""
    return type(frame) in _sends


def names_topics() -> bool:
    """Say whether any app names topics."""
    return bool(_topics)


def topics_of(users: Sequence[AbstractBaseUser]) -> list[list[str]]:
    """Return the topics that apps have named for each of some users. Talks to the database."""
    named = [function(users) for function in _topics]
    return [[topic for topics in named for topic in topics.get(user.pk, ())] for user in users]


def find_topic_rule(topic: str) -> TopicRule | None:
    """Return the rule for a topic: an app's, or the project's own (DJWSBRIDGE_TOPIC_RULES)."""
    prefix = topic.partition(".")[0]
    if prefix in _rules:
        return _rules[prefix]
    path = settings.TOPIC_RULES.get(prefix)
    return import_string(path) if path else None


def topic_states(asked: Sequence[Asked]) -> list[dict[str, Mapping[str, object]]]:
    """Return what apps have to say of topics to each of those who ask. Talks to the database."""
    found: list[dict[str, Mapping[str, object]]] = [{} for _ in asked]
    for prefix, function in _states.items():
        named = [
            (user, [topic for topic in topics if topic.startswith(f"{prefix}.")])
            for user, topics in asked
        ]
        if any(topics for _, topics in named):
            for states, more in zip(found, function(named), strict=True):
                states.update(more)
    return found


def tell_came(connection: Connection) -> None:
    """Tell apps that a user is there."""
    for function in _came:
        function(connection)


def tell_left(connection: Connection) -> None:
    """Tell apps that a connection of a user has gone."""
    for function in _left:
        function(connection)


def routes() -> list[URLPattern]:
    """Return the WebSocket routes that apps have added."""
    return [route for function in _routes for route in function()]
