"""Every exception that the library raises on purpose.

* DjwsbridgeError
    * CommandError            a command failed; the connection lives
    * CloseConnection         the connection ends with a close code
    * PayloadError            a payload that cannot be sent: it is no JSON, or too large (also a TypeError)
    * EngineUnavailable       a push could not be handed to the engine
"""

from __future__ import annotations

from djwsbridge.protocol.codes import ERROR_TEXTS, RETRYABLE, CloseCode, ErrorCode

__all__ = [
    "CloseConnection",
    "CommandError",
    "DjwsbridgeError",
    "EngineUnavailable",
    "PayloadError",
]


class DjwsbridgeError(Exception):
    """The base of every exception of this library."""


class CommandError(DjwsbridgeError):
    """A command that failed, with the code that its sender is told.

    Args:
        code: one of the closed list of error codes.
        message: a sentence for people; the code's own sentence when omitted. It never holds an exception text, SQL, a
            path, or a hint whether an object exists.
        details: further fields of the error in the reply, such as `retry_after_ms` or `field`.
    """

    def __init__(
        self, code: ErrorCode, message: str | None = None, /, **details: int | str | list[str]
    ) -> None:
        self.code = code
        self.message = message or ERROR_TEXTS[code]
        self.details = details
        # The id of the command that failed; None when the frame was too broken to tell.
        self.command_id: int | None = None
        super().__init__(f"{code.value}: {self.message}")

    @property
    def retryable(self) -> bool:
        """Say whether the same command may succeed later."""
        return self.code in RETRYABLE


class CloseConnection(DjwsbridgeError):
    """A reason to end the connection: an error push with `error`, then `close_code`.

    Args:
        close_code: of the close frame.
        error: what the client is told.
        why: a sentence for the server's log, without its full stop; the client is never told.
    """

    def __init__(self, close_code: CloseCode, error: CommandError, *, why: str = "") -> None:
        self.close_code = close_code
        self.error = error
        self.why = why
        super().__init__(f"{close_code.value} {error}")


class PayloadError(DjwsbridgeError, TypeError):
    """A payload that JSON cannot express, or that is too large; raised where it was handed in."""


class EngineUnavailable(DjwsbridgeError):
    """The engine did not take a push: its server is down or did not answer in time."""
