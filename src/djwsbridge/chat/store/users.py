"""Queries about users: who they are, and what their names look like."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet

from djwsbridge.chat.models import NameSkeleton
from djwsbridge.chat.store.database import rows_of, using
from djwsbridge.chat.values import UserRef

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


def user_ref(user: AbstractBaseUser | None) -> UserRef:
    """Return a user as others see them."""
    if user is None:
        return DELETED_USER
    return UserRef(id=wire_id(user.pk), name=user.get_username())


def wire_id(key: object) -> int | str:
    """Return a user's key as it goes over the wire."""
    return key if isinstance(key, int) else str(key)


def find_user(user_id: int | str | None) -> AbstractBaseUser | None:
    """Return an active user by key, or None when there is none (or no such key can exist)."""
    try:
        return _active_users().filter(pk=user_id).first()
    except (TypeError, ValueError, ValidationError):
        return None


def find_username(username: str, *, active_only: bool = True) -> AbstractBaseUser | None:
    """Return the user of a name as it is written or else, as Django's forms store names: trimmed and in NFKC."""
    if "\0" in username:  # PostgreSQL takes no such text
        return None
    users = _active_users() if active_only else _users()
    for name in dict.fromkeys((username, unicodedata.normalize("NFKC", username.strip()))):
        found = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
        if found is not None:
            return found
    return None


def _users() -> QuerySet[AbstractBaseUser]:
    return cast("QuerySet[AbstractBaseUser]", get_user_model()._default_manager.all())


def _active_users() -> QuerySet[AbstractBaseUser]:
    return _users().filter(is_active_user())


def is_active_user(path: str = "") -> Q:
    """Return the condition that a user is active; a user model without such a field has active users only.

    Args:
        path: leads from the rows that are filtered to the user, such as `user__`.
    """
    fields = get_user_model()._meta.get_fields()
    has_field = any(field.name == "is_active" for field in fields)
    return Q((f"{path}is_active", True)) if has_field else Q()


def names_without_skeleton(*, limit: int) -> list[tuple[Any, str]]:
    """Return up to `limit` users (key and name) whose present name has no skeleton."""
    users = get_user_model()
    known = rows_of(NameSkeleton).filter(user=OuterRef("pk"), name=OuterRef(users.USERNAME_FIELD))
    rows = users._default_manager.using(using()).filter(~Exists(known))
    return list(rows.values_list("pk", users.USERNAME_FIELD)[:limit])


def save_skeletons(rows: Iterable[tuple[Any, str, str]]) -> None:
    """Store (user key, name, skeleton) for each row."""
    rows_of(NameSkeleton).bulk_create(
        (
            NameSkeleton(user_id=user_id, name=name, skeleton=skeleton)
            for user_id, name, skeleton in rows
        ),
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["name", "skeleton"],
    )


def skeleton_exists(skeleton: str) -> bool:
    """Say whether some user's name has this skeleton."""
    return rows_of(NameSkeleton).filter(skeleton=skeleton).exists()
