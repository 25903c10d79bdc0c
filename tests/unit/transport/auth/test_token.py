"""JWT access tokens whose users are remembered for a moment."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.protocol.errors import CloseConnection
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


def decodes_of(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect what PyJWT is asked to decode."""
    decoded: list[object] = []
    decode = jwt.decode

    def note(token: object, *args: Any, **options: Any) -> Any:
        decoded.append(token)
        return decode(token, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(jwt, "decode", note)
    return decoded


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"iat": 90}, None),
        ({"iat": 90, "nbf": 90}, None),
        ({"iat": 90, "nbf": -10}, None),
        ({"iat": None, "nbf": 90}, None),
        ({"iat": 300}, "token_invalid"),
        ({"iat": 300, "nbf": 300}, "token_invalid"),
        ({"iat": 0, "nbf": 60}, "token_invalid"),
        ({"iat": 60, "nbf": 90}, "token_invalid"),
        ({"iat": None, "nbf": 300}, "token_invalid"),
        ({"iat": 90, "exp": -1}, "token_invalid"),
        ({"iat": 90, "token_type": "refresh"}, "token_invalid"),
        ({"iat": 0, "exp": -1}, "token_expired"),
    ],
    ids=str,
)
async def test_the_clock_of_the_issuer_may_be_ahead(
    node: Runtime, claims: dict[str, Any], fault: str | None
) -> None:
    user, _ = await make("alice")
    token, now = AccessToken.for_user(user), int(time.time())
    for name, value in claims.items():
        if value is None:
            del token[name]
        else:
            token[name] = value if isinstance(value, str) else now + value
    if fault is None:
        assert (await authenticate_token_here(str(token))).user == user
    else:
        with pytest.raises(CloseConnection, match=fault):
            await authenticate_token_here(str(token))


async def test_a_token_of_another_key_is_refused_whenever_it_was_made(node: Runtime) -> None:
    claims = {**AccessToken().payload, "iat": int(time.time()) + 90, "user_id": "1"}
    with pytest.raises(CloseConnection, match="token_invalid"):
        await authenticate_token_here(jwt.encode(claims, "x" * 64, algorithm="HS256"))


async def test_a_token_is_decoded_once(node: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = await make("alice")
    decoded = decodes_of(monkeypatch)
    await authenticate_token_here(token)
    assert decoded == [token]
