"""What the core asks its shell to do, and tells it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from djwsbridge.client.errors import ClientError, HandshakeRefusedError
from djwsbridge.client.frames import Message
from djwsbridge.protocol.errors import CommandError

__all__ = [
    "Action",
    "Answered",
    "CloseSocket",
    "MessageFailed",
    "MessageSent",
    "OpenSocket",
    "RenewToken",
    "SendText",
    "State",
    "StateChange",
]


class State(enum.Enum):
    """Where a client is in its life."""

    STOPPED = "stopped"
    CONNECTING = "connecting"  # from opening the socket to the answer to `connect`
    ONLINE = "online"
    WAITING = "waiting"  # for the next attempt


@dataclass(frozen=True)
class StateChange:
    """The client has entered a state.

    Attributes:
        state: the new one.
        close_code: when waiting or stopped: why; None when the connection just broke or was never made.
        reason: the name of the close code; `not_opened` when the function that gets the credential has failed.
        message: the server's own sentence, what a refused handshake means, or what that function has raised; None when
            there is none of these.
        delay: when waiting: seconds until the next attempt.
        refused: the HTTP answer, when the server has opened no socket; else None.
    """

    state: State
    close_code: int | None = None
    reason: str | None = None
    message: str | None = None
    delay: float | None = None
    refused: HandshakeRefusedError | None = None


@dataclass(frozen=True)
class OpenSocket:
    """Open a socket and call `opened`, or `closed` when that fails; `fresh` asks for a new credential."""

    fresh: bool


@dataclass(frozen=True)
class CloseSocket:
    """Close the socket, or stop opening it; nothing that still comes from it counts."""


@dataclass(frozen=True)
class SendText:
    """Write a text frame."""

    text: str


@dataclass(frozen=True)
class RenewToken:
    """Get a new token, if there is a way, and send it by `auth.refresh`."""


@dataclass(frozen=True)
class Answered:
    """A command of the application has an answer."""

    key: int
    result: Mapping[str, Any] | CommandError | ClientError


@dataclass(frozen=True)
class MessageSent:
    """A message is stored."""

    client_message_id: str
    message: Message


@dataclass(frozen=True)
class MessageFailed:
    """A message is not stored and will not be tried again."""

    client_message_id: str
    error: CommandError | ClientError


Action = (
    StateChange
    | OpenSocket
    | CloseSocket
    | SendText
    | RenewToken
    | Answered
    | MessageSent
    | MessageFailed
)
