"""The one door to the engine: everything that is pushed goes through here, so `grep publish` finds every producer."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from rest_framework.utils.encoders import JSONEncoder

from djwsbridge import runtime
from djwsbridge.control import (
    CONTROL_TOPIC,
    Control,
    SubscribeUser,
    UnsubscribeUser,
    UserChanged,
    write_control,
)
from djwsbridge.crash import CrashPoint, crash
from djwsbridge.durable import Appended, NewEvent, installed_log
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.errors import PayloadError
from djwsbridge.protocol.frames import TOPIC_PATTERN
from djwsbridge.threads import run_service

__all__ = [
    "apublish",
    "encode",
    "publish",
    "publish_events",
    "subscribe_user",
    "unsubscribe_user",
    "user_changed",
]


_TOPIC = re.compile(TOPIC_PATTERN)


class _Encoder(JSONEncoder):
    """Django REST framework's encoder, plus plain enums."""

    def default(self, o: Any) -> Any:
        if isinstance(o, enum.Enum):
            return o.value
        return super().default(o)


def encode(payload: object) -> msgspec.Raw:
    """Write a payload as JSON, the way Django REST framework renders it.

    Raises:
        PayloadError: it holds something that JSON cannot express; the text says what.
    """
    try:
        text = json.dumps(
            payload, cls=_Encoder, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
        return msgspec.Raw(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"This payload cannot be sent as JSON: {error}") from error


def publish(
    topic: str | Sequence[str],
    type: str,
    payload: Mapping[str, Any] | msgspec.Struct | msgspec.Raw,
    *,
    durable: bool = False,
    now: bool = False,
) -> None:
    """Push an event to everybody who listens to a topic, on every node.

    It leaves when the current transaction commits, and not at all when that is rolled back. Works from any thread, with
    or without a running event loop, in any process.

    Args:
        topic: such as `room.42`; or several, the same event on each.
        type: what happened, such as `message.sent`.
        payload: becomes `data`; may hold what Django REST framework can render. A `msgspec.Raw` is JSON that is ready.
        durable: number it and keep it in the log, in the current transaction or one of its own, so that whoever is away
            gets it on coming back. Needs `djwsbridge.log` in INSTALLED_APPS; from async code use `apublish`.
        now: leave at once, whatever becomes of the transaction; not for what is durable.

    Raises:
        PayloadError: the payload cannot be written as JSON; raised here, not later.
        EngineUnavailable: outside of a server process, the engine did not take it.
        ImproperlyConfigured: it is to be durable, and there is no log.
        ValueError: `durable` and `now` together.
    """
    topics = (topic,) if isinstance(topic, str) else topic
    data = _data(topics, payload)
    if not durable:
        _hand_over([(one, encode_push(type, topic=one, data=data)) for one in topics], now=now)
    elif now:
        raise ValueError("What is durable leaves after its commit, not now.")
    else:
        publish_events([NewEvent(one, type, lambda _seq, _moment: data) for one in topics])


def publish_events(events: Sequence[NewEvent]) -> list[Appended]:
    """Number and store events in the current transaction, or in one of their own, and push them after its commit.

    Call it last in a transaction: the topics are locked from here to the commit.

    Returns:
        The events with their numbers, in the same order.

    Raises:
        ImproperlyConfigured: `djwsbridge.log` is not in INSTALLED_APPS.
    """
    log = installed_log()
    if log is None:
        raise ImproperlyConfigured('Durable events need "djwsbridge.log" in INSTALLED_APPS.')
    with transaction.atomic(using=log.using(), savepoint=False):
        appended = log.append(events)
        crash(CrashPoint.BEFORE_COMMIT)
        transaction.on_commit(partial(crash, CrashPoint.AFTER_COMMIT), using=log.using())
        pushes = [(event.topic, event.text) for event in appended]
        # Robust: the transaction has committed by then; what follows it must not fail because of a push.
        # A lambda, because Django names the function that has failed, and a partial has no name.
        transaction.on_commit(lambda: runtime.hand_over_all(pushes), using=log.using(), robust=True)
    return appended


async def apublish(
    topic: str,
    type: str,
    payload: Mapping[str, Any] | msgspec.Struct | msgspec.Raw,
    *,
    durable: bool = False,
) -> None:
    """Push an event at once and return when the engine has taken it; when it is durable, when it was committed.

    Async code has no transaction of its own in Django, so there is none to wait for. See `publish` for the arguments.

    Raises:
        PayloadError: the payload cannot be written as JSON.
        EngineUnavailable: the engine did not take it.
        ImproperlyConfigured: it is to be durable, and there is no log.
    """
    if durable:
        await run_service(publish, topic, type, payload, durable=True)
    else:
        await runtime.publish(topic, encode_push(type, topic=topic, data=_data((topic,), payload)))


def _data(
    topics: Sequence[str], payload: Mapping[str, Any] | msgspec.Struct | msgspec.Raw
) -> msgspec.Raw:
    """Check what is to be published while its publisher can still be told."""
    for topic in topics:
        if _TOPIC.search(topic) is None:
            raise ValueError(
                f"{topic!r} cannot be a topic: 1 to 80 letters, digits, `.`, `_` or `-`."
            )
    if isinstance(payload, msgspec.Raw):
        return payload
    if not isinstance(payload, msgspec.Struct):
        return encode(payload)
    try:
        return msgspec.Raw(msgspec.json.encode(payload))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"This payload cannot be sent as JSON: {error}") from error


def subscribe_user(user_id: object, topic: str) -> None:
    """Let every open connection of a user listen to a topic, after commit."""
    _tell(SubscribeUser(str(user_id), topic))


def unsubscribe_user(user_id: object, topic: str) -> None:
    """End the subscriptions of a user's connections to a topic, after commit: access is lost."""
    _tell(UnsubscribeUser(str(user_id), topic))


def user_changed(user_id: object, *, session: str | None = None) -> None:
    """Have every node look again at a user's credentials, after commit.

    Args:
        user_id: the user's primary key.
        session: digest of a session that has just ended.
    """
    _tell(UserChanged(str(user_id), session))


def _tell(control: Control) -> None:
    _hand_over([(CONTROL_TOPIC, write_control(control))])


def _hand_over(pushes: Sequence[tuple[str, str]], *, now: bool = False) -> None:
    connection = None if now else _open_transaction()
    if connection is None:
        runtime.hand_over_all(pushes)
    else:
        # Robust: the transaction has committed by then; what follows it must not fail because of a push.
        connection.on_commit(lambda: runtime.hand_over_all(pushes), robust=True)


def _open_transaction() -> BaseDatabaseWrapper | None:
    """Return the connection whose transaction is open: the default one, else any.

    Asked of the connections themselves: `transaction.on_commit` may open the database, which async code must not do and
    a project without a database cannot.
    """
    candidates = [transaction.get_connection(), *connections.all(initialized_only=True)]
    return next((one for one in candidates if one.in_atomic_block), None)
