"""Every query of the Store way: private messages in the developer's own Chat and Message models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction
from django.db.models import Exists, F, Model, OuterRef
from django.utils.module_loading import import_string

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.utils import filter_valid_fields, get_chat_model, get_message_model

__all__ = ["find_private_chat", "find_user", "get_or_create_private_chat", "is_on", "store_message"]


def is_on() -> bool:
    """Say whether the project has named its models."""
    return bool(settings.CHAT_MODEL and settings.MESSAGE_MODEL)


def find_user(user_id: int | str) -> AbstractBaseUser | None:
    """Return an active user by primary key; None for an id that is nobody's or of another kind."""
    model = get_user_model()
    try:
        user = model._default_manager.filter(pk=user_id).first()
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
        frame: all that the sender's client sent, for DJWSBRIDGE_MESSAGE_DEFAULTS; nothing of it is stored by itself.

    Raises:
        CommandError: `bad_field`, the content or type does not fit the model.
    """
    model = get_message_model()
    # Read before the transaction: on SQLite, one that reads first and then writes can fail for no fault of its own.
    chat = find_private_chat(sender, recipient)
    fields = _defaults(sender, recipient, frame)
    with transaction.atomic(using=router.db_for_write(model)):
        chat = chat or get_or_create_private_chat(sender, recipient)
        fields |= {"chat": chat, "sender": sender, "content": content}
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
    members = through._default_manager.filter(**{chat_name: OuterRef("pk")})
    return (
        model._default_manager.filter(
            Exists(members.filter(**{user_name: one.pk})),
            Exists(members.filter(**{user_name: other.pk})),
            ~Exists(members.exclude(**{f"{user_name}__in": [one.pk, other.pk]})),
        )
        .order_by("pk")
        .first()
    )


def get_or_create_private_chat(one: AbstractBaseUser, other: AbstractBaseUser) -> Model:
    """Return the chat of these two, made if it is missing; call it in a transaction.

    However many first messages race, there is one chat: the rows of the two users are locked, always in the same order.
    """
    _lock(one, other)
    chat = find_private_chat(one, other)
    if chat is None:
        chat = get_chat_model()._default_manager.create()
        chat.participants.add(one, other)  # type: ignore[attr-defined]
    return chat


def _lock(*users: AbstractBaseUser) -> None:
    model = get_user_model()
    rows = model._default_manager.filter(pk__in={user.pk for user in users}).order_by("pk")
    features = connections[rows.db].features
    if features.has_select_for_update:
        # The weakest that they cannot both have: rows that refer to these users are stored all the same.
        no_key = features.has_select_for_no_key_update
        list(rows.select_for_update(no_key=no_key).values_list("pk"))
    else:
        # SQLite knows one lock, that of the only writer. A write that changes nothing takes it, whatever the project's
        # `transaction_mode` is.
        rows.order_by().update(**{model.USERNAME_FIELD: F(model.USERNAME_FIELD)})


def _defaults(
    sender: AbstractBaseUser, recipient: AbstractBaseUser, frame: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the further fields that the project's own function fills."""
    path = settings.MESSAGE_DEFAULTS
    if not path:
        return {}
    return dict(import_string(path)(sender=sender, recipient=recipient, frame=frame))


def _validate(message: Model) -> None:
    """Check what came from outside against the model's own fields, before the database does."""
    outside = {"content", "type"}
    exclude = {field.name for field in message._meta.fields} - outside
    try:
        message.clean_fields(exclude=exclude)
    except ValidationError as error:
        raise CommandError(ErrorCode.BAD_FIELD, field=min(error.message_dict)) from None
