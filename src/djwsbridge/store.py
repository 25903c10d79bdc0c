"""Every query of the Store way: private messages in the developer's own Chat and Message models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Exists, F, Model, OuterRef
from django.utils.module_loading import import_string

from djwsbridge.accounts import user_rows
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.transactions import transaction_in
from djwsbridge.utils import filter_valid_fields, get_chat_model, get_message_model

__all__ = [
    "find_private_chat",
    "find_user",
    "get_or_create_private_chat",
    "is_on",
    "leads_to_users",
    "store_message",
]


def is_on() -> bool:
    """Say whether the project has named its models."""
    return bool(settings.CHAT_MODEL and settings.MESSAGE_MODEL)


def find_user(user_id: int | str) -> AbstractBaseUser | None:
    """Return an active user by primary key; None for an id that is nobody's or of another kind."""
    try:
        user = user_rows().filter(pk=user_id).first()
    except (ValueError, TypeError, OverflowError, ValidationError):
        return None
    return user if user is not None and user.is_active else None


def store_message(
    *,
    sender: AbstractBaseUser,
    recipient: AbstractBaseUser,
    content: str,
    type: str | None,
    frame: Mapping[str, Any],
) -> Model:
    """Store a private message and return it; committed when this returns, unless the caller has a transaction open.

    Args:
        sender: who wrote it.
        recipient: for whom.
        content: the text.
        type: the kind of message; None for the model's default.
        frame: all that the sender's client sent, for the project's own functions; nothing of it is stored by itself.

    Raises:
        CommandError: `bad_field`, the content or type does not fit the model; and what the project's functions raise.
    """
    model = get_message_model()
    # Read before the transaction: on SQLite, one that reads first and then writes can fail for no fault of its own.
    chat = None if settings.GET_CHAT else find_private_chat(sender, recipient)
    people: dict[str, Any] = {"sender": sender, "recipient": recipient, "frame": frame}
    fields = dict(_call(settings.MESSAGE_DEFAULTS, **people) or {})
    with transaction_in(router.db_for_write(model)):
        chat = chat or _chosen_chat(people) or get_or_create_private_chat(**people)
        fields |= {**_reference(model, "chat", chat), "content": content}
        if leads_to_users(model._meta.get_field("sender")):
            fields |= _reference(model, "sender", sender)
        if type is not None and "type" in {field.name for field in model._meta.get_fields()}:
            fields["type"] = type
        message = model(**filter_valid_fields(model, fields))
        _validate(message)
        message.save(force_insert=True)
    return message


def find_private_chat(one: AbstractBaseUser, other: AbstractBaseUser) -> Model | None:
    """Return the chat of exactly these two; of exactly one, when they are the same person."""
    model = get_chat_model()
    participants = model._meta.get_field("participants")
    through = participants.remote_field.through  # type: ignore[union-attr]
    chat_name, user_name = participants.m2m_field_name(), participants.m2m_reverse_field_name()  # type: ignore[union-attr]
    # Both are read where they are written: a replica may not know the chat yet, and there would be another one.
    database = router.db_for_write(model)
    members = through._default_manager.using(database).filter(**{chat_name: OuterRef("pk")})
    return (
        model._default_manager.using(database)
        .filter(
            Exists(members.filter(**{user_name: one.pk})),
            Exists(members.filter(**{user_name: other.pk})),
            ~Exists(members.exclude(**{f"{user_name}__in": [one.pk, other.pk]})),
        )
        .order_by("pk")
        .first()
    )


def get_or_create_private_chat(
    sender: AbstractBaseUser, recipient: AbstractBaseUser, frame: Mapping[str, Any] | None = None
) -> Model:
    """Return the chat of these two, made if it is missing; call it in a transaction.

    However many first messages race, there is one chat: the rows of the two users are locked, always in the same order.

    Args:
        sender: who writes.
        recipient: for whom.
        frame: what the sender's client sent, for DJWSBRIDGE_CHAT_DEFAULTS.
    """
    _lock(sender, recipient)
    chat = find_private_chat(sender, recipient)
    if chat is None:
        people: dict[str, Any] = {"sender": sender, "recipient": recipient, "frame": frame or {}}
        fields = _call(settings.CHAT_DEFAULTS, **people) or {}
        chat = get_chat_model()._default_manager.create(**fields)
        # By their keys: the users may have been read from a replica, which Django takes for another database.
        chat.participants.add(sender.pk, recipient.pk)  # type: ignore[attr-defined]
    return chat


def leads_to_users(field: Any) -> bool:
    """Say whether a relation leads to the user model, or to a model that this one inherits from."""
    related: type[Model] | None = field.related_model
    return related is not None and issubclass(
        get_user_model()._meta.concrete_model or get_user_model(),
        related._meta.concrete_model or related,
    )


def _chosen_chat(people: Mapping[str, Any]) -> Model | None:
    """Return the chat that DJWSBRIDGE_GET_CHAT chooses for a message; None without it, or when it leaves the choice.

    The two users are locked: of two first messages the second one finds the chat that the first one has made.
    """
    if not settings.GET_CHAT:
        return None
    _lock(people["sender"], people["recipient"])
    return cast("Model | None", _call(settings.GET_CHAT, **people))


def _reference(model: type[Model], name: str, instance: Model) -> dict[str, Any]:
    """Return what makes a foreign key point to a row, wherever that was read: its column's name and value."""
    field: Any = model._meta.get_field(name)
    return {field.attname: getattr(instance, field.target_field.attname)}


def _lock(*users: AbstractBaseUser) -> None:
    rows = user_rows().filter(pk__in={user.pk for user in users}).order_by("pk")
    features = connections[rows.db].features
    if features.has_select_for_update:
        # The weakest that they cannot both have: rows that refer to these users are stored all the same.
        no_key = features.has_select_for_no_key_update
        list(rows.select_for_update(no_key=no_key).values_list("pk"))
    else:
        # SQLite knows one lock, that of the only writer. A write that changes nothing takes it, whatever the project's
        # `transaction_mode` is.
        name = get_user_model().USERNAME_FIELD
        rows.order_by().update(**{name: F(name)})


def _call(path: str | None, **arguments: Any) -> Any:
    """Return what a function of the project returns; None where a setting names none."""
    return import_string(path)(**arguments) if path else None


def _validate(message: Model) -> None:
    """Check what came from outside against the model's own fields, before the database does."""
    outside = {"content", "type"}
    exclude = {field.name for field in message._meta.fields} - outside
    try:
        message.clean_fields(exclude=exclude)
    except ValidationError as error:
        raise CommandError(ErrorCode.BAD_FIELD, field=min(error.message_dict)) from None
