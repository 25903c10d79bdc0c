"""The one door to the engine: everything that is pushed goes through here, so `grep publish` finds every producer."""

from __future__ import annotations

import enum
import functools
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import IntegerField, Model, UUIDField
from rest_framework.utils.encoders import JSONEncoder

from djwsbridge import neighbours, runtime
from djwsbridge.conf import settings
from djwsbridge.control import (
    CONTROL_TOPIC,
    Control,
    SubscribeUser,
    UnsubscribeUser,
    UserChanged,
    write_control,
)
from djwsbridge.crash import CrashPoint, crash
from djwsbridge.documentation import see
from djwsbridge.durable import Appended, NewEvent, check_size, installed_log
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.errors import PayloadError
from djwsbridge.protocol.frames import TOPIC_PATTERN
from djwsbridge.tenancy import check_tenant, is_own_tenant
from djwsbridge.threads import run_service
from djwsbridge.transactions import transaction_in

__all__ = [
    "apublish",
    "encode",
    "publish",
    "publish_events",
    "subscribe_user",
    "unsubscribe_user",
    "user_changed",
]

logger = logging.getLogger("djwsbridge.publish")

_TOPIC = re.compile(TOPIC_PATTERN)
_LAYERS_OF_ONE_PROCESS = frozenset({"channels.layers.InMemoryChannelLayer"})


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
        PayloadError: the payload cannot be written as JSON, or is larger than DJWSBRIDGE_PAYLOAD_BYTES; raised here,
            not later.
        EngineUnavailable: outside of a server process, the engine did not take it.
        ImproperlyConfigured: it is to be durable, and there is no log; or this is code of another tenant.
        ValueError: `durable` and `now` together.
    """
    topics = (topic,) if isinstance(topic, str) else topic
    data = _data(topics, payload)
    if not durable:
        publish_written(topics, type, data, now=now)
    elif now:
        raise ValueError("What is durable leaves after its commit, not now.")
    else:
        publish_events([NewEvent(one, type, lambda _seq, _moment: data) for one in topics])


def publish_written(
    topics: Sequence[str], type: str, data: msgspec.Raw, *, now: bool = False
) -> None:
    """Push JSON that the library has written itself, and found to be no larger than DJWSBRIDGE_PAYLOAD_BYTES.

    See `publish`, which checks the JSON of other callers by reading all of it.

    Raises:
        EngineUnavailable: outside of a server process, the engine did not take it.
        ImproperlyConfigured: this is code of another tenant.
    """
    check_tenant()
    _warn_if_lost()
    _hand_over([(one, encode_push(type, topic=one, data=data)) for one in topics], now=now)


def publish_events(events: Sequence[NewEvent]) -> list[Appended]:
    """Number and store events in the current transaction, or in one of their own, and push them after its commit.

    Call it last in a transaction: the topics are locked from here to the commit.

    Returns:
        The events with their numbers, in the same order.

    Raises:
        PayloadError: the data of one is larger than DJWSBRIDGE_PAYLOAD_BYTES; nothing is stored.
        ImproperlyConfigured: `djwsbridge.log` is not in INSTALLED_APPS; or this is code of another tenant.
    """
    check_tenant()
    log = installed_log()
    if log is None:
        raise ImproperlyConfigured('Durable events need "djwsbridge.log" in INSTALLED_APPS.')
    watch_neighbours()
    alias = log.using()
    with transaction_in(alias, savepoint=False):
        appended = log.append(events)
        crash(CrashPoint.BEFORE_COMMIT)
        transaction.on_commit(partial(crash, CrashPoint.AFTER_COMMIT), using=alias)
        pushes = [(event.topic, event.text) for event in appended]
        # Robust: the transaction has committed by then; what follows it must not fail because of a push.
        # A lambda, because Django names the function that has failed, and a partial has no name.
        transaction.on_commit(lambda: runtime.hand_over_all(pushes), using=alias, robust=True)
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
        PayloadError: the payload cannot be written as JSON, or is larger than DJWSBRIDGE_PAYLOAD_BYTES.
        EngineUnavailable: the engine did not take it.
        ImproperlyConfigured: it is to be durable, and there is no log; or this is code of another tenant.
    """
    if durable:
        await run_service(publish, topic, type, payload, durable=True)
    else:
        check_tenant()
        text = encode_push(type, topic=topic, data=_data((topic,), payload))
        _warn_if_lost()
        await runtime.publish(topic, text)


def _data(
    topics: Sequence[str], payload: Mapping[str, Any] | msgspec.Struct | msgspec.Raw
) -> msgspec.Raw:
    """Check what is to be published while its publisher can still be told."""
    for topic in topics:
        _check_topic(topic)
    data = _written(payload)
    check_size(len(memoryview(data)))
    return data


def _check_topic(topic: str) -> None:
    if _TOPIC.search(topic) is None:
        raise ValueError(
            f"{topic!r:.200} cannot be a topic: 1 to 80 letters, digits, `.`, `_` or `-`."
        )


def _written(payload: Mapping[str, Any] | msgspec.Struct | msgspec.Raw) -> msgspec.Raw:
    """Return a payload as JSON, and see that ready JSON is some: in the log it would spoil what is read with it."""
    try:
        if isinstance(payload, msgspec.Raw):
            msgspec.json.decode(payload)
            return payload
        if isinstance(payload, msgspec.Struct):
            return msgspec.Raw(msgspec.json.encode(payload))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"This payload cannot be sent as JSON: {error}") from error
    return encode(payload)


def subscribe_user(user_id: object, topic: str) -> None:
    """Let every open connection of a user listen to a topic, after commit; see `user_key` for who that is.

    Raises:
        ImproperlyConfigured: this is code of another tenant.
    """
    check_tenant()
    _check_topic(topic)
    _tell(SubscribeUser(str(user_key(user_id)), topic))


def unsubscribe_user(user_id: object, topic: str) -> None:
    """End the subscriptions of a user's connections to a topic, after commit: access is lost.

    Raises:
        ImproperlyConfigured: this is code of another tenant.
    """
    check_tenant()
    _check_topic(topic)
    _tell(UnsubscribeUser(str(user_key(user_id)), topic))


def user_changed(user_id: object, *, session: str | None = None) -> None:
    """Have every node look again at a user's credentials, after commit.

    For a user of another tenant it does nothing, and the logger `djwsbridge.tenancy` says so: this process has no
    connection of theirs. It must not raise, because it runs whenever a user is saved.

    Args:
        user_id: the user, or the primary key.
        session: digest of a session that has just ended.
    """
    if not is_own_tenant():
        return
    _tell(UserChanged(str(user_key(user_id)), session))


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
    """Return the connection whose transaction is open; of several the log's, which apps like the chat work in.

    Asked of the connections themselves: `transaction.on_commit` may open the database, which async code must not do and
    a project without a database cannot.
    """
    found = [one for one in connections.all(initialized_only=True) if one.in_atomic_block]
    if len(found) <= 1:  # as nearly always
        return found[0] if found else None
    log = installed_log()
    preferred = (DEFAULT_DB_ALIAS if log is None else log.using(), DEFAULT_DB_ALIAS)
    by_alias = {one.alias: one for one in found}
    return next((by_alias[alias] for alias in preferred if alias in by_alias), found[0])


# -- whom it is for --------------------------------------------------------------------------------------------------


def user_key(user: object) -> object:
    """Return the primary key of a user, who is given as such or by that key. Asks no database.

    Raises:
        TypeError: it is no user: `None`, nobody who is logged in, an instance of another model.
        ValueError: it cannot be a key of the user model.
    """
    if type(user) is int and _has_integer_keys():
        return user  # as nearly always
    model = get_user_model()
    key = getattr(user, "pk", user)
    stranger = isinstance(user, Model) and not isinstance(user, model)
    if key is None or stranger or isinstance(key, (bool, float)):
        raise TypeError(f"This is for a user or the primary key of one, not for {user!r:.80}.")
    try:
        return model._meta.pk.to_python(key)
    except (ValidationError, TypeError, ValueError) as error:
        raise ValueError(f"{key!r:.80} cannot be the primary key of a {model.__name__}.") from error


@functools.cache
def _has_integer_keys() -> bool:
    return isinstance(get_user_model()._meta.pk, IntegerField)


@functools.cache
def has_text_keys() -> bool:
    """Say whether any text can be the key of a user, because keys are neither integers nor UUIDs."""
    key: Any = get_user_model()._meta.pk
    while key.remote_field is not None:  # a model that inherits from another one
        key = key.target_field
    return not isinstance(key, (IntegerField, UUIDField))


def _forget(**_: object) -> None:
    global _settled_pid  # noqa: PLW0603
    _settled_pid = 0
    _has_integer_keys.cache_clear()
    has_text_keys.cache_clear()


setting_changed.connect(_forget, dispatch_uid="djwsbridge.publish")


# -- whom it cannot reach --------------------------------------------------------------------------------------------

# Whether this process has made an application that serves WebSockets.
_serves = False
# Whether this process has looked, at its first push, whom it can reach.
_has_looked = False
# The process that knows whether it must watch its neighbours, and does so if it must; a child of it looks again.
_settled_pid = 0


def will_serve() -> None:
    """Note that this process is about to serve WebSockets, so that what it pushes can reach somebody.

    Raises:
        ImproperlyConfigured: the app that brings commands and checks is not installed.
    """
    global _serves  # noqa: PLW0603
    if apps.ready and not apps.is_installed("djwsbridge"):
        raise ImproperlyConfigured(
            'Add "djwsbridge" to INSTALLED_APPS, after "channels": no WebSocket can be served without.'
        )
    _serves = True


def is_local_to_a_process() -> bool:
    """Say whether pushes stay within one process."""
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    backend = layers.get("default", {}).get("BACKEND", "")
    local = not backend or backend in _LAYERS_OF_ONE_PROCESS
    return settings.ENGINE == "memory" or (settings.ENGINE != "redis" and local)


def watch_neighbours() -> None:
    """Look for other server processes from now on, if the pushes of this one stay within it."""
    global _settled_pid  # noqa: PLW0603
    if not _serves or _settled_pid == os.getpid():  # every durable push comes here
        return
    # Django's test environment has an outbox of mails: there, no process is meant to be reached.
    if is_local_to_a_process() and not hasattr(mail, "outbox"):
        neighbours.watch()
    _settled_pid = os.getpid()


def _warn_if_lost() -> None:
    """Say, at the first push of a process, if none of its pushes can reach a client."""
    global _has_looked  # noqa: PLW0603
    if _has_looked:
        return
    _has_looked = True
    watch_neighbours()
    if not _serves and is_local_to_a_process() and not hasattr(mail, "outbox"):
        logger.warning(
            "This push reaches nobody outside of this process: it serves no WebSocket itself, and its engine is for "
            "itself alone. %s",
            see("How to push"),
        )
