"""Django's session cookie, and the exact origin check that goes with it (against cross-site WebSocket hijacking)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.models import AbstractBaseUser
from django.http.request import split_domain_port, validate_host
from django.utils.crypto import constant_time_compare
from django.utils.http import is_same_domain

from djwsbridge.conf import settings
from djwsbridge.transport.auth.identity import Identity, Method, session_digest

__all__ = ["authenticate_session", "is_allowed_origin", "session_identity"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


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


def is_allowed_origin(origin: str | None, scope: Mapping[str, Any]) -> bool:
    """Say whether a page of this origin may open a socket with the visitor's session.

    Scheme, host and port are compared exactly (RFC 6454, section 5), with DJWSBRIDGE_ALLOWED_ORIGINS or, by default,
    with the site itself and with Django's CSRF_TRUSTED_ORIGINS.
    """
    if settings.ALLOWED_ORIGINS is not None:
        if "*" in settings.ALLOWED_ORIGINS:
            return True
        allowed = settings.ALLOWED_ORIGINS
    else:
        allowed = [*django_settings.CSRF_TRUSTED_ORIGINS, *_own_origin(scope)]
    parts = _split(origin)
    return parts is not None and any(_matches(parts, pattern) for pattern in allowed)


def _own_origin(scope: Mapping[str, Any]) -> list[str]:
    """Return the origin of the site, as far as its Host header may be believed."""
    headers = dict(scope.get("headers", ()))
    host = headers.get(b"host", b"").decode("latin-1")
    if django_settings.USE_X_FORWARDED_HOST and b"x-forwarded-host" in headers:
        host = headers[b"x-forwarded-host"].decode("latin-1")
    allowed_hosts = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed_hosts:
        allowed_hosts = [".localhost", "127.0.0.1", "[::1]"]
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, allowed_hosts):
        return []
    return [f"{'https' if _is_secure(scope, headers) else 'http'}://{host}"]


def _is_secure(scope: Mapping[str, Any], headers: dict[bytes, bytes]) -> bool:
    if django_settings.SECURE_PROXY_SSL_HEADER:
        name, secure_value = django_settings.SECURE_PROXY_SSL_HEADER
        header = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        if header in headers:
            value = headers[header].decode("latin-1").split(",", 1)[0].strip()
            return value == secure_value
    return scope.get("scheme") in ("wss", "https")


def _split(origin: str | None) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin; None for everything that is not exactly one."""
    try:
        parts = urlsplit(origin or "")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.path or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]


def _matches(origin: tuple[str, str, int], pattern: str) -> bool:
    """Compare with one allowed origin; `https://*.example.com` stands for its subdomains, as in Django."""
    allowed = _split(pattern.replace("://*.", "://", 1))
    if allowed is None or (origin[0], origin[2]) != (allowed[0], allowed[2]):
        return False
    if "://*." in pattern:
        return is_same_domain(origin[1], f".{allowed[1]}")
    return origin[1] == allowed[1]
