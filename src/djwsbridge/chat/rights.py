"""Listen to deletions and deactivations that a project makes with its ORM, and hand them to the services.

A project has no other door for that than its ORM (the admin, a command, `User.delete()`), so these are Django's own
signals, as in `transport.auth.revocation`. Django sends them in the transaction of a deletion and before its
statements. Rows that change without a signal (`QuerySet.update`, `_raw_delete`, other programs) still stop later
messages, but no device is told and no lock is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models.signals import post_save, pre_delete

from djwsbridge.chat import services
from djwsbridge.transport.auth.revocation import kinds_of_user, tables_of_user

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

__all__ = ["connect_signals"]


def connect_signals() -> None:
    """Listen to the deletions and deactivations of a project; called when the app is ready."""
    for model in kinds_of_user():
        post_save.connect(_on_user_saved, sender=model, dispatch_uid="djwsbridge_chat.user_saved")
    for model in tables_of_user():
        pre_delete.connect(
            _on_user_deleted, sender=model, dispatch_uid="djwsbridge_chat.user_deleted"
        )
    room, membership = (apps.get_model("djwsbridge_chat", name) for name in ("Room", "Membership"))
    pre_delete.connect(_on_room_deleted, sender=room, dispatch_uid="djwsbridge_chat.room")
    pre_delete.connect(_on_membership_deleted, sender=membership, dispatch_uid="djwsbridge_chat")


def _on_user_saved(instance: AbstractBaseUser, *, created: bool, raw: bool, **_: object) -> None:
    if not (created or raw or instance.is_active):
        services.hold_messages(user=instance)


def _on_user_deleted(instance: AbstractBaseUser, **_: object) -> None:
    services.delete_user(user=instance)


def _on_room_deleted(instance: Model, **_: object) -> None:
    services.delete_room(room_id=instance.pk)


def _on_membership_deleted(instance: Any, *, origin: Any, **_: object) -> None:
    model = getattr(origin, "model", type(origin))
    # Of a user or a room that is deleted with its memberships, the functions above take care.
    if model is type(instance):
        services.delete_membership(user=instance.user, room_id=instance.room_id)
