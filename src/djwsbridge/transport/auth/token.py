"""JWT access tokens, by simplejwt and its own settings. Everything here talks to the database."""

from __future__ import annotations

import time

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.transport.auth.identity import Identity, Method, refusal

__all__ = ["authenticate_token"]


def authenticate_token(raw: str) -> Identity:
    """Return who a JWT stands for.

    Raises:
        CloseConnection: 4401 for a token that is no good, 4403 for a user who is not active.
    """
    token = _validate(raw)
    user = _find_user(token)
    if not user.is_active:
        raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    return Identity(
        user,
        Method.TOKEN,
        fingerprint=user.get_session_auth_hash(),
        expires_in=float(token["exp"]) - time.time(),
        token_id=token.get(api_settings.JTI_CLAIM),
    )


def _validate(raw: str) -> Token:
    error_code = ErrorCode.TOKEN_INVALID
    for token_class in api_settings.AUTH_TOKEN_CLASSES:
        try:
            token: Token = token_class(raw)
        except ExpiredTokenError:
            error_code = ErrorCode.TOKEN_EXPIRED
        except (TokenError, ValueError, TypeError):
            pass
        else:
            return token
    raise refusal(error_code)


def _find_user(token: Token) -> AbstractBaseUser:
    try:
        user: AbstractBaseUser = JWTAuthentication().get_user(token)
    except InvalidToken:
        raise refusal(ErrorCode.TOKEN_INVALID) from None
    except AuthenticationFailed as error:
        if isinstance(error.detail, dict) and error.detail.get("code") == "user_inactive":
            raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN) from None
        raise refusal(ErrorCode.TOKEN_INVALID) from None
    except (ValueError, TypeError, OverflowError, ValidationError):
        # A claim that cannot be a key of this user model, such as "abc" or 10³⁰.
        raise refusal(ErrorCode.TOKEN_INVALID) from None
    return user
