"""The session cookie."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from djwsbridge.transport.auth.handshake import HandshakeRefused, authenticate_handshake
from djwsbridge.transport.auth.identity import Identity, Method
from djwsbridge.transport.auth.revocation import find_valid_users
from djwsbridge.transport.auth.session import authenticate_session


def scope_of(scheme: str = "ws", **headers: str) -> dict[str, Any]:
    """Return the part of a handshake that tells where the site is."""
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"scheme": scheme, "headers": raw, "query_string": b"", "subprotocols": []}


@pytest.fixture(autouse=True)
def _hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["example.com", "[2001:db8::1]"]


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="correct horse")


@pytest.mark.database
def test_a_session_names_its_user(alice: User, client: Client) -> None:
    client.force_login(alice)
    key = client.session.session_key or ""
    identity = authenticate_session(key)
    assert identity is not None
    assert (identity.user, identity.method, identity.session_key) == (alice, Method.SESSION, key)
    assert key not in repr(identity)
    assert find_valid_users([identity]) == [alice]


@pytest.mark.database
def test_tokens_are_looked_at_together(alice: User, django_assert_num_queries: Any) -> None:
    gone, away, changed = (User.objects.create_user(name) for name in ("gone", "away", "changed"))
    users = [alice, gone, away, changed, alice]
    identities = [
        Identity(user, Method.TOKEN, user.get_session_auth_hash(), token_id=f"jti {number}")
        for number, user in enumerate(users)
    ]
    User.objects.filter(pk=gone.pk).delete()
    User.objects.filter(pk=away.pk).update(is_active=False)
    User.objects.filter(pk=changed.pk).update(password="another")
    with django_assert_num_queries(1):
        assert find_valid_users(identities) == [alice, None, None, None, alice]


@pytest.mark.database
def test_a_session_of_nobody_is_none(db: None) -> None:
    anonymous = SessionStore()
    anonymous.create()
    for key in (anonymous.session_key or "", "no such session", "", "x" * 300):
        assert authenticate_session(key) is None


@pytest.mark.database
def test_a_session_ends_with_the_password(alice: User, client: Client) -> None:
    client.force_login(alice)
    key = client.session.session_key or ""
    identity = authenticate_session(key)
    alice.set_password("another horse")
    alice.save()
    assert authenticate_session(key) is None
    assert identity is not None
    assert find_valid_users([identity]) == [None]


@pytest.mark.django_db(transaction=True)
async def test_a_user_known_by_other_means_is_not_taken_for_a_session() -> None:
    """An outer middleware of the developer's own has no session: it must not end after a minute."""
    user = await User.objects.acreate(username="alice")
    scope = {**scope_of(host="example.com", origin="http://example.com"), "user": user}
    identity = await authenticate_handshake(scope)
    assert identity is not None
    assert (identity.session_key, identity.session) == (None, None)

    assert await sync_to_async(find_valid_users)([identity]) == [user]
    with pytest.raises(HandshakeRefused):
        await authenticate_handshake({**scope, "headers": [(b"origin", b"http://evil.com")]})
