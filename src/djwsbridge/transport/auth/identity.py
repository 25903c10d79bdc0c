"""The outcome of authentication."""

from __future__ import annotations

import enum
import hashlib
import time
from dataclasses import dataclass, field

from django.contrib.auth.models import AbstractBaseUser
from django.utils.crypto import constant_time_compare

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError

__all__ = ["Identity", "Method", "fingerprint_of", "has_fingerprint", "refusal", "session_digest"]


class Method(enum.Enum):
    """How somebody has shown who they are."""

    TOKEN = "token"  # noqa: S105  a word
    SESSION = "session"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and the credential by which they are known.

    Attributes:
        user: the actor of everything that the connection asks for.
        expires_in: seconds from the moment of authentication until the credential ends; None when it has no end.
        session_key: of Django's session, when that is the credential.
        session: digest of that key, which other nodes may see; also known for tickets that a session has asked for.
        token_id: `jti` of the token, for a look at simplejwt's blacklist.
        fingerprint: changes with the password (`get_session_auth_hash`).
    """

    user: AbstractBaseUser
    method: Method
    fingerprint: str = field(repr=False)
    expires_in: float | None = None
    session_key: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    token_id: str | None = None

    @property
    def expires_at(self) -> float | None:
        """Return the end of the credential in seconds of the Unix clock, for people and clients."""
        return None if self.expires_in is None else time.time() + self.expires_in


def session_digest(session_key: str) -> str:
    """Return a name for a session by which it cannot be used."""
    return hashlib.sha256(session_key.encode()).hexdigest()


def fingerprint_of(user: AbstractBaseUser) -> str:
    """Return a text that changes with the password of a user, and may be shown to the user."""
    return hashlib.sha256(user.get_session_auth_hash().encode()).hexdigest()


def has_fingerprint(user: AbstractBaseUser, fingerprint: str) -> bool:
    """Say whether `fingerprint_of` says this of a user here, or on a server with one of SECRET_KEY_FALLBACKS."""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    known = [hashlib.sha256(one.encode()).hexdigest() for one in hashes]
    return any(constant_time_compare(fingerprint, one) for one in known)


def refusal(
    error_code: ErrorCode, close_code: CloseCode = CloseCode.UNAUTHORIZED, *, why: str = ""
) -> CloseConnection:
    """Return the reason to close a connection whose credential is no good; `why` is for the log."""
    return CloseConnection(close_code, CommandError(error_code), why=why)
