"""How often somebody may try: counted in the cache, and in this process while that cannot be reached."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache

__all__ = ["Limit", "forget", "is_one_too_many"]

logger = logging.getLogger("config.tries")


@dataclass(frozen=True)
class Limit:
    """At most `count` within `seconds`, which begin with the first one."""

    name: str
    count: int
    seconds: int


_here = LocMemCache("tries", {})


def is_one_too_many(limit: Limit, *parts: str) -> bool:
    """Count one try, of whom or what the parts say, and say whether there were too many."""
    key = _key(limit, parts)
    try:
        count = _count(cache, key, limit)
    except Exception as error:  # noqa: BLE001  each backend has its own; whoever can log in without it shall
        logger.warning("Tries are counted in this process alone: %r", error)
        count = _count(_here, key, limit)
    return count > limit.count


def forget(limit: Limit, *parts: str) -> None:
    """Begin to count anew."""
    key = _key(limit, parts)
    _here.delete(key)
    try:
        cache.delete(key)
    except Exception as error:  # noqa: BLE001  as above
        logger.warning("Tries are not forgotten: %r", error)


def _count(store: BaseCache, key: str, limit: Limit) -> int:
    store.add(key, 0, limit.seconds)
    try:
        return store.incr(key)
    except ValueError:  # it has expired since
        return 1


def _key(limit: Limit, parts: tuple[str, ...]) -> str:
    """Return a key of the length and letters that every cache takes, in which nobody reads a name."""
    return f"tries:{limit.name}:{hashlib.sha256(repr(parts).encode(errors='replace')).hexdigest()}"
