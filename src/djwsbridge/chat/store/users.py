"""Queries about users: who they are, and what their names look like."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast

from djwsbridge.accounts import name_in_column, name_of, user_rows
from djwsbridge.chat.models import NameSkeleton
from djwsbridge.chat.store.database import rows_of, using
from djwsbridge.chat.values import UserRef
from djwsbridge.protocol.topics import wire_id
from djwsbridge.transactions import statement_in

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "DELETED_USER",
    "find_user",
    "find_username",
    "is_active_user",
    "names_without_skeleton",
    "save_skeletons",
    "skeleton_exists",
    "user_ref",
    "wire_id",
]

DELETED_USER = UserRef(id=None, name="Deleted user")

#: How a field refuses a text that cannot be one of its values, such as "abc" for a number or half a UUID.
NO_SUCH_VALUE = (TypeError, ValueError, OverflowError, ValidationError)


def user_ref(user: AbstractBaseUser | None) -> UserRef:
    """Return a user as others see them."""
    if user is None:
        return DELETED_USER
    return UserRef(id=wire_id(user.pk), name=name_of(user))


def find_user(user_id: int | str | None) -> AbstractBaseUser | None:
    """Return an active user by key, or None when there is none (or no such key can exist)."""
    try:
        return _active_users().filter(pk=user_id).first()
    except NO_SUCH_VALUE:
        return None


def find_username(username: str, *, active_only: bool = True) -> AbstractBaseUser | None:
    """Return the user of a name as it is written or else, as Django's forms store names: trimmed and in NFKC."""
    if "\0" in username:  # PostgreSQL takes no such text
        return None
    users = _active_users() if active_only else user_rows()
    for name in dict.fromkeys((username, unicodedata.normalize("NFKC", username.strip()))):
        with contextlib.suppress(*NO_SUCH_VALUE):
            found = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
            if found is not None:
                return found
    return None


def _active_users() -> QuerySet[AbstractBaseUser]:
    return user_rows().filter(is_active_user())


def is_active_user(path: str = "") -> Q:
    """Return the condition that a user is active; a user model without such a field has active users only.

    Args:
        path: leads from the rows that are filtered to the user, such as `user__`.
    """
    fields = get_user_model()._meta.get_fields()
    has_field = any(field.name == "is_active" for field in fields)
    return Q((f"{path}is_active", True)) if has_field else Q()


def names_without_skeleton(*, limit: int) -> list[tuple[Any, str, str]]:
    """Return up to `limit` users whose present name has no skeleton: key, the column's own text, and name.

    The database compares the column's own text, which differs from the name where SQLite stores a UUID.
    """
    field = get_user_model().USERNAME_FIELD
    rows = user_rows().filter(**{f"{field}__isnull": False})
    rows = rows.annotate(djwsbridge_text=Cast(field, TextField()))
    known = rows_of(NameSkeleton).filter(user=OuterRef("pk"), name=OuterRef("djwsbridge_text"))
    found = rows.filter(~Exists(known)).values_list("pk", "djwsbridge_text", field)[:limit]
    return [(key, text, name_in_column(value)) for key, text, value in found]


def save_skeletons(rows: Iterable[tuple[Any, str, str]]) -> None:
    """Store (user key, the column's own text of the name, skeleton) for each row."""
    skeletons = [
        NameSkeleton(user_id=user_id, name=name, skeleton=skeleton)
        for user_id, name, skeleton in rows
    ]
    with statement_in(using()):
        rows_of(NameSkeleton).bulk_create(
            skeletons,
            update_conflicts=True,
            unique_fields=["user"],
            update_fields=["name", "skeleton"],
        )


def skeleton_exists(skeleton: str) -> bool:
    """Say whether some user's name has this skeleton."""
    return rows_of(NameSkeleton).filter(skeleton=skeleton).exists()
