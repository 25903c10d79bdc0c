"""What a client has read, where the server cannot tell: the client gives back random numbers that it was sent.

No other frame of a client proves that it reads: it can send heartbeats without reading, and guess what an `ack` holds.
"""

from __future__ import annotations

import secrets
from collections import deque

__all__ = ["NUMBER_BYTES", "Proofs"]

NUMBER_BYTES = 8  # of a number that no client guesses
FRAME_CHARACTERS = (
    1_024  # of the longest frame that is searched for a number; a heartbeat needs a tenth
)


class Proofs:
    """The numbers that one client was sent and has not given back yet.

    Args:
        every: bytes after which the client is sent another one.
    """

    __slots__ = ("_asked", "_every", "_since")

    def __init__(self, *, every: int) -> None:
        self._every = every
        # Numbers in the order in which they were sent, each with the bytes that were sent since the one before.
        self._asked: deque[tuple[str, int]] = deque()
        # Bytes sent since the newest number was made.
        self._since = 0

    def count(self, size: int) -> str | None:
        """Count the bytes of a frame that was sent; return the number to send next, None while none is due."""
        self._since += size
        if self._since < self._every:
            return None
        number = secrets.token_hex(NUMBER_BYTES)
        self._asked.append((number, self._since))
        self._since = 0
        return number

    def take(self, text: str) -> int:
        """Search a frame of the client for a number; return how many bytes it proves to be read, 0 without one.

        The frame is not decoded: whoever writes the number has read it, whatever else the frame says. A number also
        proves what came before it, so that one which the client has passed over does no harm.
        """
        if len(text) > FRAME_CHARACTERS:
            return 0
        for position in reversed(range(len(self._asked))):
            if self._asked[position][0] in text:
                return sum(self._asked.popleft()[1] for _ in range(position + 1))
        return 0
