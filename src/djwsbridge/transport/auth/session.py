"""Django's session cookie."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.models import AbstractBaseUser
from django.utils.crypto import constant_time_compare

from djwsbridge.transport.auth.identity import Identity, Method, session_digest

__all__ = ["authenticate_session", "session_identity"]


def authenticate_session(session_key: str) -> Identity | None:
    """Return who a session belongs to; None when nobody is logged in by it. Talks to the database.

    Reads as `django.contrib.auth.get_user` does, but writes nothing: that function may give the session another key,
    which only an HTTP response could tell the browser.
    """
    session = import_module(django_settings.SESSION_ENGINE).SessionStore(session_key)
    try:
        user_id = get_user_model()._meta.pk.to_python(session[SESSION_KEY])
        backend_path = session[BACKEND_SESSION_KEY]
    except KeyError:
        return None
    if backend_path not in django_settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(backend_path).get_user(user_id)
    if user is None or not _is_fresh(user, session.get(HASH_SESSION_KEY, "")):
        return None
    return session_identity(user, session_key)


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
