"""Which pages may open a socket with their visitor's session (against cross-site WebSocket hijacking)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings as django_settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from djwsbridge.conf import PREFIX, settings
from djwsbridge.notices import show

__all__ = ["ANY", "OWN_SETTING", "OriginDenied", "check_origin", "find_fault", "listed_origins"]

ANY = "*"  # in DJWSBRIDGE_ALLOWED_ORIGINS: every page
OWN_SETTING = f"{PREFIX}ALLOWED_ORIGINS"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What an origin looks like (RFC 6454, section 6.2), in lower case. App shells and browser extensions have schemes of
# their own: `capacitor://localhost`, `app://.`, `chrome-extension://…`.
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f/?#@:*\\\[\]]+)(?::([0-9]{1,5}))?"
)
_MAX_PORT = 65_535
# Schemes that no origin has: those of sockets, and that of local files, which all share one identity.
_NO_ORIGINS = frozenset({"ws", "wss", "file"})
_SUBDOMAINS = "://*."

Origin = tuple[str, str, int | None]


@dataclass(frozen=True)
class OriginDenied:
    """Why a page may not use its visitor's session.

    Attributes:
        reason: a word: `origin_missing`, `origin` or `host`.
        text: what has come, what was expected, and which setting mends it; for the log and the developer.
    """

    reason: str
    text: str


def check_origin(origin: str | None, scope: Mapping[str, Any]) -> OriginDenied | None:
    """Return why a page of this origin may not open a socket with the visitor's session; None if it may.

    Scheme, host and port are compared exactly (RFC 6454, section 5), with DJWSBRIDGE_ALLOWED_ORIGINS or, by default,
    with the site itself and with Django's CSRF_TRUSTED_ORIGINS.
    """
    setting, listed = listed_origins()
    if setting == OWN_SETTING and ANY in listed:
        return None
    host = "" if setting == OWN_SETTING else _host_of(scope)
    own = _own_origin(host, scope)
    allowed = [*listed, *([own] if own else [])]
    parts = _split(origin or "")
    if parts is not None and any(_matches(parts, pattern) for pattern in allowed):
        return None
    if not origin:
        return OriginDenied("origin_missing", _describe_missing(allowed))
    if host and not own:
        return OriginDenied("host", _describe_host(host, origin))
    return OriginDenied("origin", _describe_foreign(origin, allowed, setting, own))


def listed_origins() -> tuple[str, Collection[str]]:
    """Return the name and the value of the setting that lists origins."""
    listed = settings.ALLOWED_ORIGINS
    if listed is None:
        return "CSRF_TRUSTED_ORIGINS", django_settings.CSRF_TRUSTED_ORIGINS
    # A text, or anything else that is no list, is an error of `check`; a `*` somewhere in a text lets no page in.
    return OWN_SETTING, listed if isinstance(listed, (list, tuple, set, frozenset)) else []


# -- the origins that are expected ------------------------------------------------------------------------------------


def _host_of(scope: Mapping[str, Any]) -> str:
    headers = dict(scope.get("headers", ()))
    name = b"host"
    if django_settings.USE_X_FORWARDED_HOST and b"x-forwarded-host" in headers:
        name = b"x-forwarded-host"
    return str(headers.get(name, b"").decode("latin-1"))


def _own_origin(host: str, scope: Mapping[str, Any]) -> str | None:
    """Return the origin of the site; None if its Host header may not be believed."""
    allowed_hosts = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed_hosts:
        allowed_hosts = [".localhost", "127.0.0.1", "[::1]"]
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, allowed_hosts):
        return None
    return f"{'https' if _is_secure(scope) else 'http'}://{host}"


def _is_secure(scope: Mapping[str, Any]) -> bool:
    if django_settings.SECURE_PROXY_SSL_HEADER:
        headers = dict(scope.get("headers", ()))
        name, secure_value = django_settings.SECURE_PROXY_SSL_HEADER
        header = name.removeprefix("HTTP_").replace("_", "-").lower().encode()
        if header in headers:
            value = headers[header].decode("latin-1").split(",", 1)[0].strip()
            return bool(value == secure_value)
    return scope.get("scheme") in ("wss", "https")


# -- comparison -------------------------------------------------------------------------------------------------------


def _split(text: str) -> Origin | None:
    """Return scheme, host and port of an origin; None for everything that is not exactly one."""
    found = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if found is None or found[1] in _NO_ORIGINS:
        return None
    port = int(found[3]) if found[3] else _DEFAULT_PORTS.get(found[1])
    return None if port is not None and port > _MAX_PORT else (found[1], found[2], port)


def _is_pattern(entry: str) -> bool:
    return _split(entry.replace(_SUBDOMAINS, "://", 1)) is not None


def _matches(origin: Origin, pattern: str) -> bool:
    """Compare with one allowed origin; `https://*.example.com` stands for its subdomains, as in Django."""
    allowed = _split(pattern.replace(_SUBDOMAINS, "://", 1))
    if allowed is None or (origin[0], origin[2]) != (allowed[0], allowed[2]):
        return False
    if _SUBDOMAINS in pattern:
        return is_same_domain(origin[1], f".{allowed[1]}")
    return origin[1] == allowed[1]


# -- words for the developer ------------------------------------------------------------------------------------------


def _describe_missing(allowed: Sequence[str]) -> str:
    return (
        "a session cookie came without an Origin header. Browsers send one; a program sends one of "
        f"{list(allowed)!a}, or a token instead of the cookie"
    )


def _describe_host(host: str, origin: str) -> str:
    return (
        f"the Host header {show(host)} is not in ALLOWED_HOSTS, so the page {show(origin)} cannot be the site's own. "
        "Add the host to ALLOWED_HOSTS, or let the proxy in front pass on the Host that the browser has sent"
    )


def _describe_foreign(origin: str, allowed: Sequence[str], setting: str, own: str | None) -> str:
    text = (
        f"a session cookie came from a page of {show(origin)}, and {list(allowed)!a} may use it. "
    )
    if own is not None and _split(origin) == _split(own.replace("http://", "https://", 1)):
        return text + (
            "The page is the site's own, by HTTPS: let the proxy that ends TLS send X-Forwarded-Proto, and set "
            "SECURE_PROXY_SSL_HEADER"
        )
    if own is not None:
        text += "If it is the site's own page, let the proxy in front pass on the Host header. "
    return text + f"If it is another page of yours, add its origin to {setting}"


# -- entries of settings ----------------------------------------------------------------------------------------------


def find_fault(entry: object) -> str | None:
    """Return why no page's origin can equal an entry of a list of origins, and what to write; None for a good one."""
    if not isinstance(entry, str):
        return f"{entry!a} is no text"
    if _is_pattern(entry):
        return None
    if entry.strip().lower() in {"null", "file://", "file:///"}:
        return f"{entry!a} is what all local files and sandboxed pages send: remove it, and give such a page a token"
    corrected = _correct(entry)
    advice = f"write {corrected!a}" if corrected else "write it like 'https://app.example.com'"
    return f"{entry!a} {_name_fault(entry)}: {advice}"


def _name_fault(entry: str) -> str:
    scheme, found, rest = entry.partition("://")
    faults = (
        (any(letter.isspace() for letter in entry), "holds a space"),
        (not found, "has no scheme"),
        (scheme.lower() in _NO_ORIGINS, "has a scheme that no page has"),
        ("@" in rest, "names a user"),
        (bool(re.search(r"[/?#\\]", rest)), "goes on behind the host"),
        ("*" in rest, "has a * where none can be"),
        (not entry.isascii(), "is not written as browsers send it"),
    )
    return next((fault for applies, fault in faults if applies), "is no origin")


def _correct(entry: str) -> str | None:
    """Return the origin that an entry probably means."""
    scheme, found, rest = "".join(entry.split()).partition("://")
    if not found:
        scheme, rest = "https", scheme
        if rest.startswith(("localhost", "127.")):
            scheme = "http"
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    try:
        host = host.encode("idna").decode()
    except UnicodeError:
        return None
    scheme = {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme)
    corrected = f"{scheme}://{host}"
    return corrected if _is_pattern(corrected) else None
