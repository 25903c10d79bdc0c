"""One-time tickets: what a browser on another origin, or without cookies, opens a socket with.

A ticket is asked for over HTTPS by whoever is logged in there, lives for half a minute and is used once. It is signed,
so that every node can read it; that it was used is kept in Django's cache, which several nodes have to share.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.core.cache import cache

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.transport.auth.identity import Identity, Method, refusal

__all__ = ["issue_ticket", "redeem_ticket"]

_SALT = "djwsbridge.ticket"


def issue_ticket(
    user: AbstractBaseUser, *, session: str | None = None, expires_at: float | None = None
) -> str:
    """Return a new ticket.

    Args:
        user: for whom.
        session: digest of the session that asks, which ends the connection when it ends.
        expires_at: when the credential that asks ends, in seconds of the Unix clock.
    """
    claims = {
        "user": str(user.pk),
        "nonce": secrets.token_urlsafe(16),
        "session": session,
        "expires_at": expires_at,
    }
    return signing.dumps(claims, salt=_SALT)


def redeem_ticket(ticket: str) -> Identity:
    """Return whom a ticket was issued for, and make it worthless. Talks to the database and the cache.

    Raises:
        CloseConnection: 4401 (`ticket_expired`, `ticket_used`, `token_invalid`) or 4403.
    """
    try:
        claims = signing.loads(
            ticket, salt=_SALT, max_age=dt.timedelta(seconds=settings.TICKET_TTL)
        )
    except signing.SignatureExpired:
        raise refusal(ErrorCode.TICKET_EXPIRED) from None
    except (signing.BadSignature, ValueError):
        raise refusal(ErrorCode.TOKEN_INVALID) from None
    if not cache.add(f"djwsbridge.ticket.{claims['nonce']}", 1, timeout=settings.TICKET_TTL * 2):
        raise refusal(ErrorCode.TICKET_USED)
    user = get_user_model().objects.filter(pk=claims["user"]).first()
    if user is None:
        raise refusal(ErrorCode.TOKEN_INVALID)
    if not user.is_active:
        raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    expires_at = claims["expires_at"]
    return Identity(
        user,
        Method.TICKET,
        fingerprint=user.get_session_auth_hash(),
        expires_in=None if expires_at is None else expires_at - time.time(),
        session=claims["session"],
    )
