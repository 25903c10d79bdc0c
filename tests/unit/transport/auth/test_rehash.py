"""A login that hashes the same password anew: what a cache changes about it that cannot be reached."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from djwsbridge.notices import Notices
from djwsbridge.transport.auth import rehash
from djwsbridge.transport.auth.identity import Identity, Method
from djwsbridge.transport.auth.revocation import find_valid_users
from tests.servers import free_port

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture
def alice(settings: Any) -> User:
    """Return a user whose password was hashed by a hasher that is not preferred any more."""
    hashers = ("PBKDF2PasswordHasher", "MD5PasswordHasher")
    settings.PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}" for name in hashers]
    return User.objects.create(
        username="alice", password=make_password("correct horse", hasher="md5")
    )


@pytest.fixture
def lost_cache(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Django's cache be a Redis that does not run, of which nothing was logged yet."""
    backend = "django.core.cache.backends.redis.RedisCache"
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": url}}
    notices = Notices(logging.getLogger("djwsbridge.connection"))
    monkeypatch.setattr(rehash, "notices", notices)


def identity_of(user: User) -> Identity:
    return Identity(user, Method.TOKEN, fingerprint=user.get_session_auth_hash(), token_id="7")


def test_a_login_that_hashes_anew_keeps_the_connection_where_the_cache_works(alice: User) -> None:
    open_one = identity_of(alice)
    assert authenticate(username="alice", password="correct horse") == alice
    assert find_valid_users([open_one]) == [alice]


@pytest.mark.usefixtures("lost_cache")
def test_without_the_cache_a_login_that_hashes_anew_works(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    assert authenticate(username="alice", password="correct horse") == alice
    alice.refresh_from_db()
    assert alice.password.startswith("pbkdf2_sha256$")
    (record,) = [one for one in caplog.records if "Django's cache failed" in one.message]
    assert record.levelno == logging.WARNING


@pytest.mark.usefixtures("lost_cache")
def test_without_the_cache_a_new_password_ends_the_users_connections(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    bob = User.objects.create_user("bob", password="battery staple")
    open_ones = [identity_of(alice), identity_of(bob), identity_of(alice)]
    alice.set_password("a second one")
    alice.save()
    assert find_valid_users(open_ones) == [None, bob, None]
    assert len([one for one in caplog.records if "Django's cache failed" in one.message]) == 1
