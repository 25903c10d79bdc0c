"""JWT access tokens whose users are remembered for a moment."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.runtime import Runtime
from djwsbridge.transport.auth.token import authenticate_token_here
from djwsbridge.transport.credential import CredentialWatch

pytestmark = pytest.mark.django_db(transaction=True)


@sync_to_async
def make(name: str) -> tuple[User, str]:
    """Return a new user and their token."""
    user = User.objects.create_user(name)
    return user, str(AccessToken.for_user(user))


async def test_a_user_who_is_remembered_is_not_looked_up(node: Runtime) -> None:
    user, token = await make("alice")
    assert (await authenticate_token_here(token)).user == user
    await User.objects.all().adelete()
    assert (await authenticate_token_here(token)).user.get_username() == "alice"


async def test_nobody_is_taken_for_the_one_whose_key_is_their_name(
    node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin, _ = await make("admin")
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "username")
    mallory, token = await make(str(admin.pk))
    node.people.put(str(admin.pk), admin, asked_at=node.loop.time())  # somebody wrote to them
    assert (await authenticate_token_here(token)).user == mallory
    assert node.people.get(str(mallory.pk), now=node.loop.time()) == mallory


async def test_tokens_may_name_the_primary_key_by_its_alias(
    node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "pk")
    user, token = await make("alice")
    assert (await authenticate_token_here(token)).user == user


async def test_who_was_remembered_is_looked_at_again_within_the_interval(node: Runtime) -> None:
    _, token = await make("alice")
    watch = CredentialWatch()
    watch.accept(await authenticate_token_here(token), now=100.0)
    assert (
        watch.quiet_for(now=100.0) <= 30.0
    )  # DJWSBRIDGE_REVALIDATE_INTERVAL, less what is remembered
