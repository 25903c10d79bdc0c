"""System checks of the Store way: what `manage.py check` says about the models that a project names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections, router
from django.db.models import (
    NOT_PROVIDED,
    AutoField,
    Field,
    ForeignKey,
    ManyToManyField,
    Model,
    OneToOneField,
)
from django.utils.module_loading import import_string

from djwsbridge.conf import PREFIX, settings
from djwsbridge.durable import installed_log
from djwsbridge.store import leads_to_users
from djwsbridge.utils import get_chat_model, get_message_model

__all__ = ["check_store", "must_be_filled"]

_FUNCTIONS = {"CHAT_DEFAULTS": "dict", "GET_CHAT": "chat"}


@register(Tags.compatibility)
def check_store(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return why a message could not be stored, before the first one comes."""
    found = [*_check_functions(), *_check_autocommit()]
    try:
        chat, message = get_chat_model(), get_message_model()
    except ImproperlyConfigured:  # `djwsbridge.checks` says so
        return found
    parts: tuple[Callable[[type[Model], type[Model]], Iterable[CheckMessage]], ...] = (
        _check_required,
        _check_relations,
        _check_databases,
    )
    return [*found, *(one for part in parts for one in part(chat, message))]


def _check_functions() -> Iterator[CheckMessage]:
    for name, returned in _FUNCTIONS.items():
        path = getattr(settings, name)
        try:
            fault = "" if not path or callable(import_string(path)) else f"{path} is no function"
        except ImportError as error:
            fault = str(error)
        if fault:
            yield Error(
                f"{PREFIX}{name} cannot be used: {fault}",
                hint=f"It is the dotted path of a function(sender, recipient, frame) -> {returned}.",
                id="djwsbridge.E013",
            )


def _check_required(chat: type[Model], message: type[Model]) -> Iterator[CheckMessage]:
    """Look for columns of a chat that nothing fills; DJWSBRIDGE_GET_CHAT makes chats in its own way."""
    if settings.GET_CHAT:
        return
    if not settings.CHAT_DEFAULTS:
        hint = "Give it a default, or name a function in DJWSBRIDGE_CHAT_DEFAULTS."
        yield from _unfilled(chat, (), hint)
    participants = _field(chat, "participants")
    if isinstance(participants, ManyToManyField):
        through = participants.remote_field.through
        ends = (participants.m2m_field_name(), participants.m2m_reverse_field_name())
        hint = "Give it a default, or name a function in DJWSBRIDGE_GET_CHAT that makes the chat."
        yield from _unfilled(through, ends, hint)


def _unfilled(model: Any, filled: Iterable[str], hint: str) -> Iterator[CheckMessage]:
    for field in model._meta.concrete_fields:
        if field.name not in filled and must_be_filled(field):
            yield Error(
                f"{model.__name__}.{field.name} is required, and nothing fills it.",
                hint=hint,
                obj=model,
                id="djwsbridge.E014",
            )


def must_be_filled(field: Field[Any, Any]) -> bool:
    """Say whether a row cannot be stored, or only with an empty value, unless something fills a field."""
    if field.null or field.has_default():
        return False
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return False
    if getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED:
        return False
    if (
        field.primary_key
    ):  # the database numbers rows, and a row that is a part of another one has its key
        return not isinstance(field, (AutoField, OneToOneField))
    return not (field.blank and field.empty_strings_allowed)


def _check_relations(chat: type[Model], message: type[Model]) -> Iterator[CheckMessage]:
    """Look for relations that lead to another model, such as the profile of a user."""
    users = get_user_model().__name__
    participants, sender = _field(chat, "participants"), _field(message, "sender")
    chooses = bool(settings.GET_CHAT)
    if isinstance(participants, ManyToManyField) and not (chooses or leads_to_users(participants)):
        hint = "Let it lead to AUTH_USER_MODEL, or name a function in DJWSBRIDGE_GET_CHAT."
        yield _leads_elsewhere(chat, "participants", users, hint)
    fills = bool(settings.MESSAGE_DEFAULTS)
    if sender is not None and not (_is_key_to_users(sender) or (fills and sender.is_relation)):
        hint = "Let it lead to AUTH_USER_MODEL, or fill it with DJWSBRIDGE_MESSAGE_DEFAULTS."
        yield _leads_elsewhere(message, "sender", users, hint)
    of_chat = _field(message, "chat")
    if of_chat is not None and not _is_key_to(of_chat, chat):
        hint = "Let it be a foreign key to the model that DJWSBRIDGE_CHAT_MODEL names."
        yield _leads_elsewhere(message, "chat", chat.__name__, hint)


def _leads_elsewhere(model: type[Model], name: str, wanted: str, hint: str) -> Error:
    text = f"{model.__name__}.{name} does not lead to {wanted}."
    return Error(text, hint=hint, obj=model, id="djwsbridge.E015")


def _is_key_to_users(field: Any) -> bool:
    return isinstance(field, ForeignKey) and leads_to_users(field)


def _is_key_to(field: Any, model: type[Model]) -> bool:
    return isinstance(field, ForeignKey) and issubclass(model, field.related_model)


def _field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None  # `djwsbridge.checks` says so


def _check_databases(chat: type[Model], message: type[Model]) -> Iterator[CheckMessage]:
    written = {model: router.db_for_write(model) for model in (message, chat, get_user_model())}
    if len(set(written.values())) > 1:
        places = ", ".join(f"{model.__name__} to `{alias}`" for model, alias in written.items())
        yield Error(
            f"The models of one message are written to several databases: {places}.",
            hint=(
                "Let the routers in DATABASE_ROUTERS name one database for them: a chat, its participants and its "
                "message are stored in one transaction."
            ),
            id="djwsbridge.E016",
        )


def _check_autocommit() -> Iterator[CheckMessage]:
    """Look for databases in which nothing is committed: what is told as stored would be gone with the connection."""
    log = installed_log()
    used = {router.db_for_write(get_user_model())} | ({log.using()} if log is not None else set())
    for alias in sorted(used):
        if connections.settings.get(alias, {}).get("AUTOCOMMIT") is False:
            yield Error(
                f"AUTOCOMMIT of the database `{alias}` is off, so no transaction of the library is committed.",
                hint="Take AUTOCOMMIT out of DATABASES; ATOMIC_REQUESTS makes one transaction of each request.",
                id="djwsbridge.E017",
            )
