"""Which part of a handshake is a credential."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.runtime import Runtime
from djwsbridge.transport.auth.handshake import authenticate_handshake

pytestmark = pytest.mark.django_db(transaction=True)


def scope_of(authorization: str) -> dict[str, Any]:
    return {"headers": [(b"authorization", authorization.encode())], "query_string": b""}


@pytest.mark.parametrize("types", ["JWT", ("JWT", "Bearer")], ids=["text", "tuple"])
@pytest.mark.parametrize("scheme", ["JWT", "jwt", "Bearer"])
async def test_a_token_comes_with_the_schemes_that_simplejwt_knows(
    node: Runtime, settings: Any, types: object, scheme: str
) -> None:
    settings.SIMPLE_JWT = {"AUTH_HEADER_TYPES": types}
    user = await User.objects.acreate(username="alice")
    identity = await authenticate_handshake(scope_of(f"{scheme} {AccessToken.for_user(user)}"))
    assert identity is not None
    assert identity.user == user


@pytest.mark.parametrize("authorization", ["Basic c3RhZ2luZzpzZWNyZXQ=", "Token abc", "a.b.c", ""])
async def test_another_scheme_is_no_credential(node: Runtime, authorization: str) -> None:
    assert await authenticate_handshake(scope_of(authorization)) is None


async def test_a_bearer_without_a_token_is_a_bad_credential(node: Runtime) -> None:
    with pytest.raises(CloseConnection):
        await authenticate_handshake(scope_of("Bearer "))
