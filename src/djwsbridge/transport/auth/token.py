"""JWT access tokens, by simplejwt and its own settings."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import router
from jwt import ImmatureSignatureError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import (
    ExpiredTokenError,
    InvalidToken,
    TokenBackendError,
    TokenError,
)
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken
from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, Token

from djwsbridge import runtime
from djwsbridge.accounts import token_rows
from djwsbridge.notices import show
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.threads import run_service
from djwsbridge.transport.auth.identity import Identity, Method, refusal
from djwsbridge.transport.together import Together

if TYPE_CHECKING:
    from django.db.models import Field

__all__ = [
    "BLACKLIST",
    "TokenAuthentication",
    "authenticate_token",
    "authenticate_token_here",
    "find_blacklisted",
]

BLACKLIST = "rest_framework_simplejwt.token_blacklist"

# By how much the clock of a token's issuer may be ahead of this machine's (RFC 7519, section 4.1.5: "no more than a few
# minutes"). It lengthens no token's life: `exp` is left to simplejwt and its LEEWAY.
CLOCK_LEEWAY = timedelta(minutes=2)
_NO_USER = "It names no user who exists: look at USER_ID_CLAIM and USER_ID_FIELD of SIMPLE_JWT"


class TokenAuthentication(JWTAuthentication):
    """simplejwt's authentication of HTTP requests, with the leeway that sockets have.

    It reads users where they are written.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # All that simplejwt asks of its user model.
        model = SimpleNamespace(objects=token_rows(), DoesNotExist=get_user_model().DoesNotExist)
        self.user_model = cast("Any", model)

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Return the token.

        Raises:
            InvalidToken: it is no good.
        """
        try:
            return _validate(raw_token)
        except CloseConnection:
            return super().get_validated_token(raw_token)  # says so in simplejwt's words


def authenticate_token(raw: str) -> Identity:
    """Return who a JWT stands for. Talks to the database.

    Raises:
        CloseConnection: 4401 for a token that is no good, 4403 for a user who is not active.
    """
    token = _validate(raw)
    _refuse_blacklisted(token)
    return _identify(token, _find_user(token))


def find_blacklisted(token_ids: Iterable[str | None]) -> set[str]:
    """Return which of these tokens, by `jti`, are on simplejwt's blacklist, where that is written."""
    wanted = {token_id for token_id in token_ids if token_id is not None}
    if not wanted or not apps.is_installed(BLACKLIST):
        return set()
    rows = BlacklistedToken._default_manager.using(router.db_for_write(BlacklistedToken))
    return set(rows.filter(token__jti__in=wanted).values_list("token__jti", flat=True))


async def authenticate_token_here(raw: str) -> Identity:
    """Do what `authenticate_token` does, in the event loop as far as that needs no I/O.

    A user who was looked up a moment ago costs no query; those who come together share one.

    Raises:
        CloseConnection: see there.
        CommandError: `busy`, too many come at once.
        OperationalError: the database is down, or does not answer.
    """
    if not _needs_no_io():
        return await run_service(authenticate_token, raw)
    node, token = runtime.current(), _validate(raw)
    now = node.loop.time()
    user: AbstractBaseUser | None = None
    if _names_the_key():
        user = node.people.get(str(token.get(api_settings.USER_ID_CLAIM)), now=now)
    if user is None:
        user = await _look_up.ask(node, token)
        node.people.put(str(user.pk), user, asked_at=now)
    return _identify(token, user)


def _refuse_blacklisted(token: Token) -> None:
    """Look at the blacklist again, if simplejwt has read it from a replica.

    Raises:
        CloseConnection: 4401, the token is on it.
    """
    if not apps.is_installed(BLACKLIST) or not isinstance(token, BlacklistMixin):
        return
    is_behind = router.db_for_read(BlacklistedToken) != router.db_for_write(BlacklistedToken)
    if is_behind and find_blacklisted([token.get(api_settings.JTI_CLAIM)]):
        raise refusal(ErrorCode.TOKEN_INVALID)


def _needs_no_io() -> bool:
    """Say whether a token is checked without a database (a blacklist, a password) and without a key server."""
    return (
        all(token_class is AccessToken for token_class in api_settings.AUTH_TOKEN_CLASSES)
        and not api_settings.JWK_URL
        and not api_settings.CHECK_REVOKE_TOKEN
    )


def _names_the_key() -> bool:
    """Say whether tokens name the primary key, by which users are remembered, and not a name that somebody may take."""
    key = get_user_model()._meta.pk
    return api_settings.USER_ID_FIELD in {"pk", key.name, key.attname}


def _identify(token: Token, user: AbstractBaseUser) -> Identity:
    if not user.is_active:
        raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    return Identity(
        user,
        Method.TOKEN,
        fingerprint=user.get_session_auth_hash(),
        expires_in=float(token["exp"]) - time.time(),
        token_id=token.get(api_settings.JTI_CLAIM),
    )


def _validate(raw: str | bytes) -> Token:
    error_code, why = ErrorCode.TOKEN_INVALID, ""
    for token_class in api_settings.AUTH_TOKEN_CLASSES:
        try:
            return _read(token_class, raw)
        except ExpiredTokenError:
            error_code = ErrorCode.TOKEN_EXPIRED
        except (TokenError, ValueError, TypeError) as error:
            why = why or _root_of(error)
    raise refusal(error_code, why=why)


def _root_of(error: BaseException) -> str:
    """Return what PyJWT has found, which is more than simplejwt's "Token is invalid"; it quotes nothing of a token."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"The library that reads it says {show(str(error))}"


def _read(token_class: type[Token], raw: Any) -> Token:
    """Return a token as simplejwt checks it, or as it would check it by the clock of the token's issuer."""
    try:
        return token_class(raw)
    except TokenError as error:
        if not _is_early(error):
            raise
    return _read_early(token_class, raw)


def _is_early(error: TokenError) -> bool:
    """Say whether a token is signed as it should be, and was refused because its `iat` or `nbf` is yet to come."""
    reason = error.__cause__  # the backend's error, whose cause is PyJWT's
    return reason is not None and isinstance(reason.__cause__, ImmatureSignatureError)


def _read_early(token_class: type[Token], raw: Any) -> Token:
    """Check a token that seems to come from the future, with `CLOCK_LEEWAY`.

    Raises:
        TokenError: it is no good, or its issuer means it to be used later.
    """
    token = token_class(raw, verify=False)
    backend = copy.copy(token.get_token_backend())
    backend.leeway = backend.get_leeway() + CLOCK_LEEWAY
    try:
        token.payload = backend.decode(raw)
    except TokenBackendError as error:
        raise TokenError("The token is not valid.") from error
    not_before = int(token.get("nbf", 0))
    if not_before > max(time.time(), int(token.get("iat", not_before))):
        raise TokenError("The token is not valid yet, by the clock of its issuer either.")
    token.verify()  # among others that it has not expired, with simplejwt's own leeway
    return token


def _find_user(token: Token) -> AbstractBaseUser:
    try:
        user: AbstractBaseUser = TokenAuthentication().get_user(token)
    except InvalidToken as error:
        raise refusal(ErrorCode.TOKEN_INVALID, why=_root_of(error)) from None
    except AuthenticationFailed as error:
        if isinstance(error.detail, dict) and error.detail.get("code") == "user_inactive":
            raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN) from None
        raise refusal(ErrorCode.TOKEN_INVALID, why=_NO_USER) from None
    except (ValueError, TypeError, OverflowError, ValidationError):
        # A claim that cannot be a key of this user model, such as "abc" or 10³⁰.
        raise refusal(ErrorCode.TOKEN_INVALID, why=_NO_USER) from None
    return user


def _find_users(tokens: Sequence[Token]) -> list[AbstractBaseUser | Exception]:
    """Return for each token its user, or why there is none; in one query, where all of them could be users."""
    model, field = get_user_model(), api_settings.USER_ID_FIELD
    try:
        column = cast(
            "Field[Any, Any]", model._meta.pk if field == "pk" else model._meta.get_field(field)
        )
        keys = [column.to_python(token[api_settings.USER_ID_CLAIM]) for token in tokens]
        found = {
            getattr(user, field): user for user in token_rows().filter(**{f"{field}__in": keys})
        }
    except (KeyError, ValueError, TypeError, OverflowError, ValidationError):
        return [_find_or_refuse(token) for token in tokens]
    return [found.get(key) or refusal(ErrorCode.TOKEN_INVALID, why=_NO_USER) for key in keys]


def _find_or_refuse(token: Token) -> AbstractBaseUser | Exception:
    try:
        return _find_user(token)
    except CloseConnection as reason:
        return reason


_look_up = Together(_find_users)
