"""Ready frames: how an application hands text to a server that lets it write WebSocket frames itself.

This is the ASGI extension `djwsbridge.wire`. A server that has it puts a function `attach` into
`scope["extensions"]["djwsbridge.wire"]`. An application that does not know it loses nothing: `receive` and `send` work
as everywhere. One that does calls `attach` after it has sent `websocket.accept`, gets a `Wire`, and may return: the
connection lives on without a task, a queue or a scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["WIRE_EXTENSION", "Attach", "Receiver", "Wire", "take_attach", "text_frame"]

WIRE_EXTENSION = "djwsbridge.wire"

_SHORT = 126  # bytes; from here on two bytes hold the length
_LONG = 65_536  # bytes; from here on eight bytes do
_TEXT = b"\x81"  # the last (and only) frame of a text message


class Receiver(Protocol):
    """What the application wants to be told. Called from the event loop; must return at once and must not raise."""

    def on_text(self, text: str) -> None:
        """Take one text message."""

    def on_binary(self) -> None:
        """Learn that a binary message has come."""

    def on_too_big(self) -> None:
        """Learn that a message over the limit is on its way; nothing after it is read."""

    def on_full(self) -> None:
        """Learn that more than `limit` bytes wait for a peer that does not read."""

    def on_drained(self) -> None:
        """Learn that nothing waits any more."""

    def on_pong(self) -> None:
        """Learn that the peer has answered `Wire.ping`."""

    def on_lost(self, code: int) -> None:
        """Learn that the connection is over; called once, and last.

        Args:
            code: of the peer's close frame, 1006 when there was none, 1012 when the server ends.
        """


class Attach(Protocol):
    """What the server offers."""

    def __call__(self, receiver: Receiver, *, limit: int, max_size: int) -> Wire:
        """Take the connection over from `receive` and `send`; called once, after `websocket.accept` was sent.

        Args:
            receiver: is told everything from now on, beginning with what has come in already.
            limit: bytes that may wait for the peer before `on_full`.
            max_size: bytes of the largest message that is taken.
        """


class Wire(Protocol):
    """One open WebSocket, written to in ready frames."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Return what writes one or more whole frames; it never waits, and does nothing after the end."""

    @property
    def waiting(self) -> int:
        """Return how many bytes the peer has not taken yet."""

    def pause_reading(self) -> None:
        """Take nothing more from the peer until `resume_reading`; twice is once."""

    def resume_reading(self) -> None:
        """Go on after `pause_reading`."""

    def ping(self) -> None:
        """Ask the peer whether it is there; `on_pong` tells when it has answered."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and end the connection when the peer has answered, or after a while."""

    def abort(self) -> None:
        """End the connection now; what waits is dropped."""


def take_attach(scope: Mapping[str, Any]) -> Attach | None:
    """Return what the server offers, None when it has no such thing; it is taken out of the scope.

    Whoever keeps the scope would otherwise keep all that the server needed for the handshake.
    """
    extension = scope.get("extensions", {}).pop(WIRE_EXTENSION, None)
    return None if extension is None else extension["attach"]


def text_frame(text: str) -> bytes:
    """Return a text message as one unmasked frame (RFC 6455, section 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < _SHORT:
        return b"%b%c%b" % (_TEXT, size, payload)
    if size < _LONG:
        return b"%b\x7e%b%b" % (_TEXT, size.to_bytes(2, "big"), payload)
    return b"%b\x7f%b%b" % (_TEXT, size.to_bytes(8, "big"), payload)
