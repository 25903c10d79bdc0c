"""The one door to the engine: everything that is pushed goes through here, so `grep publish` finds every producer."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import transaction
from rest_framework.utils.encoders import JSONEncoder

from djwsbridge import runtime
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.errors import PayloadError
from djwsbridge.runtime import Control, SubscribeUser, UnsubscribeUser, UserChanged

__all__ = [
    "apublish",
    "encode",
    "publish",
    "subscribe_user",
    "unsubscribe_user",
    "user_changed",
]


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


def _text(
    topic: str, type: str, payload: Mapping[str, Any] | msgspec.Struct, seq: int | None
) -> str:
    data: object = payload if isinstance(payload, msgspec.Struct) else encode(payload)
    return encode_push(type, topic=topic, seq=seq, data=data)


def publish(
    topic: str,
    type: str,
    payload: Mapping[str, Any] | msgspec.Struct,
    *,
    seq: int | None = None,
    now: bool = False,
) -> None:
    """Push an event to everybody who listens to a topic, on every node.

    It leaves when the current transaction commits, and not at all when that is rolled back. Works from any thread, with
    or without a running event loop, in any process.

    Args:
        topic: such as `room.42`.
        type: what happened, such as `message.sent`.
        payload: becomes `data`; may hold what Django REST framework can render.
        seq: its number in the topic, when it has one.
        now: leave at once, whatever becomes of the transaction.

    Raises:
        PayloadError: the payload cannot be written as JSON; raised here, not later.
        EngineUnavailable: outside of a server process, the engine did not take it.
    """
    _hand_over(topic, _text(topic, type, payload, seq), now=now)


async def apublish(
    topic: str,
    type: str,
    payload: Mapping[str, Any] | msgspec.Struct,
    *,
    seq: int | None = None,
) -> None:
    """Push an event at once and return when the engine has taken it.

    Async code has no transaction of its own in Django, so there is none to wait for. See `publish` for the arguments.

    Raises:
        PayloadError: the payload cannot be written as JSON.
        EngineUnavailable: the engine did not take it.
    """
    await runtime.publish(topic, _text(topic, type, payload, seq))


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
    text = msgspec.json.encode(control).decode()
    _hand_over(runtime.CONTROL_TOPIC, text, now=False)


def _hand_over(topic: str, text: str, *, now: bool) -> None:
    # Asked of the connection itself: `transaction.on_commit` may open the database, which async code must not do and a
    # project without a database cannot.
    connection = transaction.get_connection()
    if now or not connection.in_atomic_block:
        runtime.hand_over(topic, text)
    else:
        # Robust: the transaction has committed by then; what follows it must not fail because of a push.
        connection.on_commit(lambda: runtime.hand_over(topic, text), robust=True)
