"""Queries about what the chat keeps of one user."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError

from djwsbridge.accounts import user_rows
from djwsbridge.chat.models import Profile
from djwsbridge.chat.store.database import rows_of, using
from djwsbridge.protocol.topics import wire_id
from djwsbridge.transactions import statement_in, transaction_in

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["find_read_receipts", "save_last_seen", "save_read_receipts"]


def find_read_receipts(actor: AbstractBaseUser) -> bool:
    """Say whether others see how far an actor has read."""
    rows = rows_of(Profile).filter(user_id=actor.pk).values_list("read_receipts", flat=True)
    return next(iter(rows), True)


def save_read_receipts(actor: AbstractBaseUser, *, is_on: bool) -> None:
    """Store whether others see how far an actor has read."""
    with statement_in(using()):
        rows_of(Profile).update_or_create(user_id=actor.pk, defaults={"read_receipts": is_on})


def save_last_seen(moments: Mapping[Any, datetime]) -> None:
    """Store when each of some users, by key, was last here, unless a later moment is known.

    Accounts may have been deleted since, also while this is at work: that costs the others nothing.
    """
    try:
        _save_last_seen(moments)
    except IntegrityError:
        for key, moment in moments.items():
            with suppress(IntegrityError):
                _save_last_seen({key: moment})


def _save_last_seen(moments: Mapping[Any, datetime]) -> None:
    left = user_rows().filter(pk__in=moments.keys())
    # In one order everywhere, or two nodes lock each other out.
    keys = sorted(left.values_list("pk", flat=True), key=wire_id)
    profiles = [Profile(user_id=key, last_seen=moments[key]) for key in keys]
    with transaction_in(using()):
        rows = rows_of(Profile)
        rows.bulk_create(profiles, ignore_conflicts=True)
        locked = rows.select_for_update().filter(user_id__in=keys).order_by("user_id")
        known = dict(locked.values_list("user_id", "last_seen"))
        later = [
            profile
            for profile in profiles
            if (seen := known.get(profile.user_id)) is None or seen < moments[profile.user_id]
        ]
        rows.bulk_create(
            later, update_conflicts=True, unique_fields=["user"], update_fields=["last_seen"]
        )
