"""What the first seed offers under this name: pushing to a user, and its two pluggable models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model

from djwsbridge.conf import settings
from djwsbridge.publish import apublish, publish, user_key
from djwsbridge.runtime import user_topic

__all__ = [
    "asend_ws_message",
    "filter_valid_fields",
    "get_chat_model",
    "get_message_model",
    "send_ws_message",
]


def send_ws_message(
    user_id: object, data: Mapping[str, Any], *, durable: bool = False, now: bool = False
) -> None:
    """Push data to every open connection of a user.

    Call it from anywhere: a view, a signal, a task, a shell, another process; from sync and from async code. Inside
    `transaction.atomic()` it leaves after the commit, and not at all after a rollback.

    Args:
        user_id: the user, or the primary key.
        data: any keys and values that Django REST framework can render; arrives as it is at clients of the plain
            dialect, and as the `data` of a `signal` push at clients of v1.
        durable: keep it in the user's topic, so that devices which are away get it on coming back; needs
            `djwsbridge.log` in INSTALLED_APPS.
        now: leave at once instead, whatever becomes of the transaction.

    Raises:
        TypeError: this is no user.
        ValueError: this cannot be the key of one.
        PayloadError: the data cannot be written as JSON, or is larger than DJWSBRIDGE_PAYLOAD_BYTES.
        EngineUnavailable: outside of a server process, the engine did not take it.
    """
    publish(user_topic(user_key(user_id)), "signal", _checked(data), durable=durable, now=now)


async def asend_ws_message(
    user_id: object, data: Mapping[str, Any], *, durable: bool = False
) -> None:
    """Push data to every open connection of a user, from async code; returns when the engine has taken it.

    See `send_ws_message` for the arguments.

    Raises:
        TypeError: this is no user.
        ValueError: this cannot be the key of one.
        PayloadError: the data cannot be written as JSON, or is larger than DJWSBRIDGE_PAYLOAD_BYTES.
        EngineUnavailable: the engine did not take it.
    """
    await apublish(user_topic(user_key(user_id)), "signal", _checked(data), durable=durable)


def get_chat_model() -> type[Model]:
    """Return the model that DJWSBRIDGE_CHAT_MODEL names.

    Raises:
        ImproperlyConfigured: the setting is missing, or there is no such model.
    """
    return _get_model("DJWSBRIDGE_CHAT_MODEL", settings.CHAT_MODEL)


def get_message_model() -> type[Model]:
    """Return the model that DJWSBRIDGE_MESSAGE_MODEL names.

    Raises:
        ImproperlyConfigured: the setting is missing, or there is no such model.
    """
    return _get_model("DJWSBRIDGE_MESSAGE_MODEL", settings.MESSAGE_MODEL)


def filter_valid_fields(model_class: type[Model], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data if all its keys are fields of a model.

    Raises:
        ValueError: some are not; the text names them.
    """
    unknown = sorted(key for key in data if not _has_field(model_class, key))
    if unknown:
        raise ValueError(f"Invalid fields for model {model_class.__name__}: {', '.join(unknown)}")
    return dict(data)


def _checked(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise TypeError(f"The data of a push is a dict, not {type(data).__name__}.")
    return data


def _get_model(setting: str, path: str | None) -> type[Model]:
    if not path:
        raise ImproperlyConfigured(f"{setting} is not set.")
    try:
        return apps.get_model(path)
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(f"{setting} is {path!r}, and there is no such model.") from error


def _has_field(model: type[Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
