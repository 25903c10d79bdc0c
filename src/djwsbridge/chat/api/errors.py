"""Errors over HTTP: the codes of the wire protocol, each with its status."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions, status

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.transport.failures import failure_of

__all__ = ["describe", "status_of", "to_command_error"]

#: The status of each code; any other code is the fault of the request: 400.
STATUSES: Mapping[ErrorCode, int] = MappingProxyType(
    {
        ErrorCode.AUTH_REQUIRED: status.HTTP_401_UNAUTHORIZED,
        ErrorCode.TOKEN_INVALID: status.HTTP_401_UNAUTHORIZED,
        ErrorCode.REVOKED: status.HTTP_401_UNAUTHORIZED,
        ErrorCode.FORBIDDEN: status.HTTP_403_FORBIDDEN,
        ErrorCode.NOT_FOUND: status.HTTP_404_NOT_FOUND,
        ErrorCode.CONFLICT: status.HTTP_409_CONFLICT,
        ErrorCode.IDEMPOTENCY_CONFLICT: status.HTTP_409_CONFLICT,
        ErrorCode.TOO_LARGE: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
        ErrorCode.RATE_LIMITED: status.HTTP_429_TOO_MANY_REQUESTS,
        ErrorCode.INTERNAL: status.HTTP_500_INTERNAL_SERVER_ERROR,
        ErrorCode.BUSY: status.HTTP_503_SERVICE_UNAVAILABLE,
        ErrorCode.DB_UNAVAILABLE: status.HTTP_503_SERVICE_UNAVAILABLE,
        ErrorCode.COMMIT_UNKNOWN: status.HTTP_503_SERVICE_UNAVAILABLE,
    }
)

#: What the framework refuses by itself, most special first.
FRAMEWORK_ERRORS: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (exceptions.NotAuthenticated, ErrorCode.AUTH_REQUIRED),
    (exceptions.AuthenticationFailed, ErrorCode.TOKEN_INVALID),
    (exceptions.PermissionDenied, ErrorCode.FORBIDDEN),
    (PermissionDenied, ErrorCode.FORBIDDEN),
    (exceptions.NotFound, ErrorCode.NOT_FOUND),
    (Http404, ErrorCode.NOT_FOUND),
    (exceptions.Throttled, ErrorCode.RATE_LIMITED),
    (exceptions.MethodNotAllowed, ErrorCode.UNKNOWN_TYPE),
    (exceptions.APIException, ErrorCode.BAD_FRAME),
)


def to_command_error(error: Exception) -> CommandError:
    """Return the error that a client is told; of what nobody has raised on purpose, what a socket would be told."""
    if isinstance(error, CommandError):
        return error
    for kind, code in FRAMEWORK_ERRORS:
        if isinstance(error, kind):
            return CommandError(code)
    return failure_of(error)


def status_of(error: CommandError) -> int:
    """Return the HTTP status that goes with an error."""
    return STATUSES.get(error.code, status.HTTP_400_BAD_REQUEST)


def describe(error: CommandError) -> dict[str, object]:
    """Return the body that tells an error."""
    return {
        "error": {
            "code": error.code.value,
            "message": error.message,
            "retryable": error.retryable,
            **error.details,
        }
    }
