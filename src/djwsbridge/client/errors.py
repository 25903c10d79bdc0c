"""What the client raises besides `CommandError`, the error that the server answers with.

* DjwsbridgeError
    * CommandError                a command failed; see `code` and `retryable`
    * ClientError
        * ConnectionLostError     the connection ended before the reply; the outcome is unknown
        * ReplyTimeoutError       no reply in time; the outcome is unknown (also a TimeoutError)
        * StoppedError            the client has stopped and will not come back
        * OutboxFullError         too many messages wait to be sent
        * BadFrameError           the server sent something that is no frame
        * HandshakeRefusedError   the server answered the handshake with an HTTP status, and opened no socket
"""

from __future__ import annotations

from djwsbridge.protocol.codes import CloseCode
from djwsbridge.protocol.errors import CommandError, DjwsbridgeError

__all__ = [
    "BadFrameError",
    "ClientError",
    "ConnectionLostError",
    "HandshakeRefusedError",
    "OutboxFullError",
    "ReplyTimeoutError",
    "StoppedError",
    "retry_after",
]


# What a refused handshake means, as the close code that says the same; any other status is a lost connection.
_STATUS_CODES = {
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.UNAUTHORIZED,
    429: CloseCode.RATE_LIMITED,
    503: CloseCode.TRY_LATER,
}
_NOT_LET_IN = (
    "The credential is not accepted, or a cookie came without an Origin that the server allows"
)
_HINTS = {
    400: "The request is no handshake that the server understands",
    401: _NOT_LET_IN,
    403: f"{_NOT_LET_IN}; a server such as Daphne answers so to everything that it refuses",
    404: "There is no WebSocket at this address: compare its path with DJWSBRIDGE_WS_PREFIX and DJWSBRIDGE_WS_PATH",
    426: "A proxy in front of the server does not pass WebSockets on",
    429: "Too many connections, or too many wrong credentials, come from this address",
}


class ClientError(DjwsbridgeError):
    """The base of what goes wrong on this side of the connection."""

    #: Whether the same call may succeed later.
    retryable = True


class ConnectionLostError(ClientError):
    """The connection ended before the reply: nobody knows whether the command was carried out.

    Args:
        close_code: what the server closed with; None when the connection just broke.
    """

    def __init__(self, close_code: int | None = None) -> None:
        self.close_code = close_code
        super().__init__("The connection was lost before the reply.")


class ReplyTimeoutError(ClientError, TimeoutError):
    """The server did not answer in time: nobody knows whether the command was carried out."""

    def __init__(self) -> None:
        super().__init__("The server did not answer in time.")


class StoppedError(ClientError):
    """The client has stopped: it was closed, or the server said that coming back is no use.

    Args:
        close_code: why, as a close code.
        reason: the name of that close code.
        message: the server's own sentence; None when it sent none.
    """

    retryable = False

    def __init__(self, close_code: int | None, reason: str, message: str | None = None) -> None:
        self.close_code = close_code
        self.reason = reason
        super().__init__(message or f"The client has stopped: {reason}.")


class HandshakeRefusedError(ClientError):
    """The server answered the handshake with an HTTP status, and opened no socket.

    Args:
        status: of the answer.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        self.close_code: CloseCode | None = _STATUS_CODES.get(status)
        hint = _HINTS.get(status, "The server, or a proxy in front of it, is not ready")
        super().__init__(
            f"The WebSocket was refused with HTTP {status}. {hint}. The server's log says why."
        )


class OutboxFullError(ClientError):
    """Too many messages wait to be sent; this one was not taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} messages wait to be sent already.")


class BadFrameError(ClientError):
    """The server sent something that is no frame of the protocol."""

    retryable = False


def retry_after(error: CommandError | ClientError) -> float:
    """Return the seconds that the server asks to wait before the same command is sent again."""
    milliseconds = error.details.get("retry_after_ms") if isinstance(error, CommandError) else None
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0
