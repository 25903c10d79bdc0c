"""What people choose for themselves, and when they were last here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from djwsbridge.chat import store
from djwsbridge.chat.services.access import require_member
from djwsbridge.chat.services.rooms import MEMBERS_LISTED, count_members
from djwsbridge.chat.values import Me, Typing, UserRef

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["list_last_seen", "record_seen", "set_read_receipts", "typing_notice", "view_me"]


def view_me(*, actor: AbstractBaseUser) -> Me:
    """Return the actor as they see themselves."""
    user = store.user_ref(actor)
    return Me(user.id, user.name, store.find_read_receipts(actor))


def set_read_receipts(*, actor: AbstractBaseUser, is_on: bool) -> Me:
    """Let others see how far the actor has read, or not, from now on."""
    store.save_read_receipts(actor, is_on=is_on)
    user = store.user_ref(actor)
    return Me(user.id, user.name, is_on)


def list_last_seen(
    *, actor: AbstractBaseUser, room_id: int
) -> tuple[list[tuple[UserRef, datetime | None]], int]:
    """Return the members of one of the actor's rooms, when each was last seen, if ever, and how many there are.

    Raises:
        CommandError: `not_found`.
    """
    require_member(actor, room_id)
    found = store.list_last_seen(room_id, limit=MEMBERS_LISTED)
    return found, count_members(room_id, listed=len(found))


def typing_notice(*, actor: AbstractBaseUser, room_id: int) -> Typing:
    """Return what the members of a room are told while the actor is writing; asks no database."""
    return Typing(room_id, store.user_ref(actor))


def record_seen(moments: Mapping[Any, datetime]) -> None:
    """Note when each of some users, by key, was last here."""
    store.save_last_seen(moments)
