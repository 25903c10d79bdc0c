"""Queries about what the chat keeps of one user."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model

from djwsbridge.chat.models import Profile

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["find_read_receipts", "save_last_seen", "save_read_receipts"]


def find_read_receipts(actor: AbstractBaseUser) -> bool:
    """Say whether others see how far an actor has read."""
    rows = Profile.objects.filter(user_id=actor.pk).values_list("read_receipts", flat=True)
    return next(iter(rows), True)


def save_read_receipts(actor: AbstractBaseUser, *, is_on: bool) -> None:
    """Store whether others see how far an actor has read."""
    Profile.objects.update_or_create(user_id=actor.pk, defaults={"read_receipts": is_on})


def save_last_seen(moments: Mapping[Any, datetime]) -> None:
    """Store when each of some users, by key, was last here; accounts may have been deleted since."""
    left = get_user_model()._default_manager.filter(pk__in=moments.keys())
    keys = left.values_list("pk", flat=True)
    Profile.objects.bulk_create(
        [Profile(user_id=key, last_seen=moments[key]) for key in keys],
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["last_seen"],
    )
