"""One-time tickets: what a browser on another origin, or without cookies, opens a socket with.

A user who is logged in asks for a ticket over HTTPS. It lives for half a minute and is used once. It is signed, so that
every node can read it. That it was used is kept in Django's cache, which several nodes have to share. Its age is
measured by the database's clock, because the clocks of two nodes may differ by more than a ticket lives.
"""

from __future__ import annotations

import datetime as dt
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.core.cache import cache
from django.db.models.functions import Now

from djwsbridge.accounts import user_rows
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.tenancy import current_tenant
from djwsbridge.transport.auth.identity import Identity, Method, has_fingerprint, refusal

__all__ = ["issue_ticket", "issuing_time", "redeem_ticket"]

logger = logging.getLogger("djwsbridge.ticket")

_SALT = "djwsbridge.ticket"
_NOT_SIGNED = "The ticket is not signed with this process's SECRET_KEY"
# Seconds for which a used ticket is remembered beyond its life: caches in a database or in files go by the clock of the
# process that asks.
_REMEMBERED = 600.0


def issue_ticket(
    user: AbstractBaseUser,
    *,
    session: str | None = None,
    expires_at: float | None = None,
    issued_at: float | None = None,
    fingerprint: str | None = None,
) -> str:
    """Return a new ticket.

    Args:
        user: for whom.
        session: digest of the session that asks, which ends the connection when it ends.
        expires_at: when the credential that asks ends, in seconds of the Unix clock.
        issued_at: what `issuing_time` says; None to go by the clock of this machine.
        fingerprint: what `fingerprint_of` says of the user; a new password makes the ticket worthless then.
    """
    claims = {
        "user": str(user.pk),
        "nonce": secrets.token_urlsafe(16),
        "session": session,
        "expires_at": expires_at,
        "issued_at": issued_at,
        "fingerprint": fingerprint,
        "tenant": current_tenant(),
    }
    return signing.dumps(claims, salt=_SALT)


def issuing_time(user: AbstractBaseUser) -> float | None:
    """Return the time by the clock of the users' database; None when it does not know the user. Talks to it."""
    now = _rows(user.pk).values_list("djwsbridge_now", flat=True).first()
    return None if now is None else now.timestamp()


def redeem_ticket(ticket: str) -> Identity:
    """Return whom a ticket was issued for, and make it worthless. Talks to the database and the cache.

    Raises:
        CloseConnection: 4401 (`ticket_expired`, `ticket_used`, `revoked`, `token_invalid`) or 4403.
    """
    claims = _read(ticket)
    _check_tenant(claims)
    user = _rows(claims["user"]).first()
    if user is None:
        raise refusal(ErrorCode.TOKEN_INVALID, why="The user of the ticket does not exist")
    issued_at = claims.get("issued_at")
    if issued_at is not None and user.djwsbridge_now.timestamp() - issued_at > settings.TICKET_TTL:
        raise refusal(ErrorCode.TICKET_EXPIRED)
    remembered = settings.TICKET_TTL + _REMEMBERED
    if not cache.add(f"djwsbridge.ticket.{claims['nonce']}", 1, timeout=remembered):
        raise refusal(ErrorCode.TICKET_USED)
    if not user.is_active:
        raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    fingerprint = claims.get("fingerprint")
    if fingerprint and not has_fingerprint(user, fingerprint):
        raise refusal(ErrorCode.REVOKED)
    expires_at = claims["expires_at"]
    return Identity(
        user,
        Method.TICKET,
        fingerprint=user.get_session_auth_hash(),
        expires_in=None if expires_at is None else expires_at - time.time(),
        session=claims["session"],
    )


def _read(ticket: str) -> dict[str, Any]:
    """Return what a ticket says.

    Raises:
        CloseConnection: nobody here has signed it, or it is old by the only clock that it knows.
    """
    try:
        claims: dict[str, Any] = signing.loads(ticket, salt=_SALT)
        if claims.get("issued_at") is None:
            signing.loads(ticket, salt=_SALT, max_age=dt.timedelta(seconds=settings.TICKET_TTL))
    except signing.SignatureExpired:
        raise refusal(ErrorCode.TICKET_EXPIRED) from None
    except (signing.BadSignature, ValueError):
        raise refusal(ErrorCode.TOKEN_INVALID, why=_NOT_SIGNED) from None
    return claims


def _check_tenant(claims: Mapping[str, Any]) -> None:
    """Refuse a ticket whose user is one of another tenant: here the key stands for another person.

    Raises:
        CloseConnection: it is.
    """
    here = current_tenant()
    issued_by = claims.get("tenant", here)  # a ticket of an earlier release does not say it
    if issued_by != here:
        logger.warning("A ticket that `%s` has issued was refused: this is `%s`.", issued_by, here)
        raise refusal(ErrorCode.TOKEN_INVALID)


def _rows(key: Any) -> Any:
    """Return the row of a user, with the time of the database in `djwsbridge_now`."""
    return user_rows().filter(pk=key).annotate(djwsbridge_now=Now())
