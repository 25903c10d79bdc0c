"""A login that hashes the same password anew is no new password: connections that are open stay.

Django does that when the hasher, or its number of rounds, has changed since the password was set: after most updates of
Django, at each user's next login. The hash is all that connections know of a password. So the process of the login
notes in the cache, which nodes share, which hash has become which. Without the cache nothing is noted: the connections
end, as after a new password, and the login goes on.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.hashers import get_hasher, identify_hasher
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache

from djwsbridge.accounts import user_rows
from djwsbridge.conf import settings
from djwsbridge.notices import Notices

__all__ = ["is_rehashed", "note_rehash"]

notices = Notices(logging.getLogger("djwsbridge.connection"))


def note_rehash(instance: AbstractBaseUser, update_fields: Any = None, **_: object) -> None:
    """Note that a user who is about to be saved has the same password with another hash; receives `pre_save`.

    `AbstractBaseUser.check_password` has just called `set_password` and forgotten the password again, which `save`
    would otherwise see. A new password is not saved like that.
    """
    is_upgrade = set(update_fields or ()) == {"password"}
    if not is_upgrade or vars(instance).get("_password", "") is not None:
        return
    stored = user_rows().filter(pk=instance.pk).values_list("password", flat=True).first()
    if stored is None or not _is_outdated(stored):
        return
    before = copy.copy(instance)
    before.password = stored
    # Every connection looks at its credential within the interval.
    timeout = 2 * settings.REVALIDATE_INTERVAL + 60.0
    name = _name(before.get_session_auth_hash())
    with _without_cache():
        cache.set(name, _digest(instance.get_session_auth_hash()), timeout=timeout)


def is_rehashed(fingerprint: str, user: AbstractBaseUser) -> bool:
    """Say whether a user had this fingerprint a moment ago, and has had no new password since.

    When the cache fails, the answer is no: a connection whose password has changed must not stay open for it.
    """
    noted = None
    with _without_cache():
        noted = cache.get(_name(fingerprint))
    return noted is not None and noted == _digest(user.get_session_auth_hash())


@contextmanager
def _without_cache() -> Iterator[None]:
    """Go on when the cache fails, and log that once a minute. Each backend has exceptions of its own."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        notices.write(
            "cache",
            "Django's cache failed. Until it works again, a login that hashes the same password anew closes the user's "
            f"connections: {error!r}",
        )


def _is_outdated(encoded: str) -> bool:
    """Say whether Django hashes a password anew when it sees it; see `django.contrib.auth.hashers.verify_password`."""
    preferred = get_hasher("default")
    try:
        known = identify_hasher(encoded)
    except ValueError:
        return False  # no usable password
    return known.algorithm != preferred.algorithm or preferred.must_update(encoded)


def _name(fingerprint: str) -> str:
    return f"djwsbridge.rehashed.{_digest(fingerprint)}"


def _digest(fingerprint: str) -> str:
    return hashlib.sha256(fingerprint.encode()).hexdigest()
