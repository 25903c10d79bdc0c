"""Django's session cookie."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.models import AbstractBaseUser
from django.db import router
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from djwsbridge.accounts import as_written, is_read_elsewhere
from djwsbridge.transport.auth.identity import Identity, Method, session_digest

__all__ = ["authenticate_session", "session_identity"]


def authenticate_session(session_key: str) -> Identity | None:
    """Return who a session belongs to; None when nobody is logged in by it. Talks to the database.

    Reads as `django.contrib.auth.get_user` does, but writes nothing: that function may give the session another key,
    which only an HTTP response could tell the browser.
    """
    session = _load(session_key)
    try:
        user_id = get_user_model()._meta.pk.to_python(session[SESSION_KEY])
        backend_path = session[BACKEND_SESSION_KEY]
    except KeyError:
        return None
    if backend_path not in django_settings.AUTHENTICATION_BACKENDS:
        return None
    user: AbstractBaseUser | None = load_backend(backend_path).get_user(user_id)
    if user is not None and is_read_elsewhere(user):
        user = as_written(user)
    # A backend may let inactive users in (`AllowAllUsersModelBackend`); a connection of theirs would not last.
    if user is None or not user.is_active or not _is_fresh(user, session.get(HASH_SESSION_KEY, "")):
        return None
    return session_identity(user, session_key)


def _load(session_key: str) -> Mapping[str, Any]:
    """Return what a session holds, read where sessions are written: a replica may not know yet that one has ended."""
    session = import_module(django_settings.SESSION_ENGINE).SessionStore(session_key)
    model = getattr(session, "model", None)  # that of the engines "db" and "cached_db"
    if model is None or router.db_for_read(model) == router.db_for_write(model):
        return cast("Mapping[str, Any]", session)
    rows = model._default_manager.using(router.db_for_write(model))
    row = rows.filter(session_key=session_key, expire_date__gt=timezone.now()).first()
    return {} if row is None else cast("Mapping[str, Any]", session.decode(row.session_data))


def _is_fresh(user: AbstractBaseUser, session_hash: str) -> bool:
    """Say whether a session was made with the user's present password."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, known) for known in hashes)


def session_identity(user: AbstractBaseUser, session_key: str | None) -> Identity:
    """Return the identity of a user whom Django's session has authenticated.

    Args:
        user: whom.
        session_key: None when an outer middleware knows the user by other means.
    """
    return Identity(
        user,
        Method.SESSION,
        fingerprint=user.get_session_auth_hash(),
        session_key=session_key,
        session=session_digest(session_key) if session_key else None,
    )
