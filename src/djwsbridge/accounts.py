"""The project's users: read from the database in which they are written, and named by a text.

A router may send reads to a replica, which is behind. From there a user who was deactivated is still active, a user who
has just registered is missing, and a password that was changed is still the old one.
"""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import router
from django.db.models import QuerySet
from django.db.models.query_utils import DeferredAttribute

__all__ = [
    "as_written",
    "has_one_manager",
    "is_read_elsewhere",
    "name_in_column",
    "name_of",
    "token_rows",
    "user_rows",
    "users_database",
]


def users_database() -> str:
    """Return the alias of the database in which users are written."""
    return router.db_for_write(get_user_model())


def user_rows() -> QuerySet[AbstractBaseUser]:
    """Return the users that the default manager shows: those who can log in by Django's own backends."""
    rows = get_user_model()._default_manager.using(users_database())
    return cast("QuerySet[AbstractBaseUser]", rows)


def token_rows() -> QuerySet[AbstractBaseUser]:
    """Return the users that simplejwt finds for a token: those that the manager `objects` shows."""
    model = get_user_model()
    rows = getattr(model, "objects", model._default_manager).using(users_database())
    return cast("QuerySet[AbstractBaseUser]", rows)


def has_one_manager() -> bool:
    """Say whether `user_rows` and `token_rows` are the same, as nearly everywhere."""
    model = get_user_model()
    return getattr(model, "objects", None) in (None, model._default_manager)


def is_read_elsewhere(user: AbstractBaseUser) -> bool:
    """Say whether a user was read from another database than the one in which users are written."""
    # `_state.db` is Django's documented mark of where a row is from.
    return user._state.db not in (None, users_database())  # noqa: SLF001


def as_written(user: AbstractBaseUser) -> AbstractBaseUser | None:
    """Return a user as the database of writes has them; None when it has no such row. Talks to the database.

    Other code has found the user, such as an authentication backend: what it hides is not for this function to decide.
    """
    rows = get_user_model()._base_manager.using(users_database())  # noqa: SLF001
    return cast("AbstractBaseUser | None", rows.filter(pk=user.pk).first())


def name_of(user: AbstractBaseUser) -> str:
    """Return the name of a user as text, whatever `USERNAME_FIELD` holds; empty when it holds nothing."""
    value: object = user.get_username()
    return "" if value is None else str(value)


def name_in_column(value: Any) -> str:
    """Return the text that `name_of` returns for a user with this value in the column of `USERNAME_FIELD`.

    A field may give the column's value to users as another object, such as a phone number in the site's format.
    """
    model = get_user_model()
    field: Any = model._meta.get_field(model.USERNAME_FIELD)
    if type(value) is str and field.descriptor_class is DeferredAttribute:  # nearly always
        return value
    if value is None:
        return ""
    user = model()
    setattr(user, field.attname, value)
    return name_of(user)
