"""Logout, a new password, deactivation, a blacklisted token: what reaches open connections, and how fast.

Django's own signals say that something about a user has changed; every node then looks again at the credentials of that
user's connections. What changes without a signal (a queryset's `update`, an expired session) is found by the look that
every connection takes once a minute anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from djwsbridge import publish
from djwsbridge.accounts import has_one_manager, token_rows, user_rows
from djwsbridge.transport.auth.identity import Identity, Method, session_digest
from djwsbridge.transport.auth.rehash import is_rehashed, note_rehash
from djwsbridge.transport.auth.session import authenticate_session
from djwsbridge.transport.auth.token import BLACKLIST, find_blacklisted

__all__ = ["connect_signals", "find_valid_users", "kinds_of_user", "tables_of_user"]


def find_valid_users(identities: Sequence[Identity]) -> list[AbstractBaseUser | None]:
    """Look at credentials again: return the user of each as they are now, None where it is not good any more.

    Talks to the database.
    """
    users = user_rows().in_bulk({identity.user.pk for identity in identities})
    by_token = [identity for identity in identities if identity.method is Method.TOKEN]
    of_tokens = users
    if by_token and not has_one_manager():
        of_tokens = token_rows().in_bulk({identity.user.pk for identity in by_token})
    blacklisted = find_blacklisted(identity.token_id for identity in by_token)
    found: list[AbstractBaseUser | None] = []
    for identity in identities:
        known = of_tokens if identity.method is Method.TOKEN else users
        is_refused = identity.token_id in blacklisted
        found.append(None if is_refused else _fit(identity, known.get(identity.user.pk)))
    return found


def _fit(identity: Identity, user: AbstractBaseUser | None) -> AbstractBaseUser | None:
    """Return a user as the database has them now, if the credential is still theirs."""
    if user is None or not user.is_active:
        return None
    if identity.session_key is not None:
        return user if authenticate_session(identity.session_key) is not None else None
    is_same = user.get_session_auth_hash() == identity.fingerprint
    return user if is_same or is_rehashed(identity.fingerprint, user) else None


def connect_signals() -> None:
    """Listen to what Django and simplejwt tell about users; called once, when the app is ready."""
    for model in kinds_of_user():
        pre_save.connect(note_rehash, sender=model, dispatch_uid="djwsbridge.rehashed")
        post_save.connect(_on_user_saved, sender=model, dispatch_uid="djwsbridge.user_saved")
    for model in tables_of_user():
        post_delete.connect(_on_user_deleted, sender=model, dispatch_uid="djwsbridge.user_deleted")
    user_logged_out.connect(_on_logged_out, dispatch_uid="djwsbridge.logged_out")
    if apps.is_installed(BLACKLIST):
        post_save.connect(
            _on_blacklisted, sender=BlacklistedToken, dispatch_uid="djwsbridge.blacklisted"
        )


def kinds_of_user() -> list[type[AbstractBaseUser]]:
    """Return the user model and every model derived from it: each names itself as the sender of `post_save`."""
    users = get_user_model()
    return [model for model in apps.get_models() if issubclass(model, users)]


def tables_of_user() -> list[type[AbstractBaseUser]]:
    """Return the user model and its proxies, the senders of deletions: with a derived row its user is deleted, too."""
    table = get_user_model()._meta.concrete_model
    return [model for model in kinds_of_user() if model._meta.concrete_model is table]


def _on_user_saved(
    instance: AbstractBaseUser, *, created: bool, update_fields: Any = None, **_: object
) -> None:
    # Every login saves `last_login`; nothing else about the user has changed then.
    if not created and set(update_fields or ()) != {"last_login"}:
        publish.user_changed(instance.pk)


def _on_user_deleted(instance: AbstractBaseUser, **_: object) -> None:
    publish.user_changed(instance.pk)


def _on_logged_out(request: HttpRequest | None, user: AbstractBaseUser | None, **_: object) -> None:
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    if user is not None and session_key:
        publish.user_changed(user.pk, session=session_digest(session_key))


def _on_blacklisted(instance: Any, **_: object) -> None:
    if instance.token.user_id is not None:
        publish.user_changed(instance.token.user_id)
