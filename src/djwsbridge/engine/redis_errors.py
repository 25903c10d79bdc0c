"""What is wrong with a Redis, in words that name the address and the reason, and never a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from redis.asyncio.sentinel import MasterNotFoundError

__all__ = ["NoPrimaryError", "explain", "place_of"]

# What an error, or one that caused it, says → the reason in words; the first that fits counts. redis-py has no types
# for most of these.
_REASONS = (
    (r"WRONGPASS|NOAUTH|AuthenticationError|invalid username-password", "wrong user or password"),
    (r"NOPERM", "this user may not do that"),
    (r"CERTIFICATE_VERIFY_FAILED", "TLS failed: its certificate cannot be verified"),
    (r"SSL", "TLS failed"),
    (r"gaierror|Name or service not known|name resolution", "no such host"),
    (r"ConnectionRefused|Connect call failed|Errno 111", "connection refused"),
    (
        r"Connection closed by server|ConnectionReset|Connection lost",
        "it closes the connection, as where TLS is wanted",
    ),
    (r"Timeout", "no answer in time"),
)


class NoPrimaryError(MasterNotFoundError):
    """No sentinel names a primary; the text has the reason of each in words, which redis-py does not tell."""


def place_of(url: str) -> str:
    """Return where a URL leads to, without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def explain(error: BaseException, place: str) -> str:
    """Return what an error of a Redis means.

    Args:
        error: as redis-py raised it.
        place: of the Redis; see `place_of`.
    """
    if isinstance(error, NoPrimaryError):
        return f"{place}: {error}"
    said = " / ".join(f"{type(one).__name__}: {one}" for one in _chain(error))
    reason = next((words for pattern, words in _REASONS if re.search(pattern, said)), "")
    own = str(error)
    detail = f" ({own})" if own and own != reason else ""
    return f"{place}: {reason or type(error).__name__}{detail}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what has caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
