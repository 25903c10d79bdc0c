"""What a connection needs of the class that a developer may derive from (`djwsbridge.consumers`)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from djwsbridge.protocol.frames import PlainMessage

__all__ = ["Consumer"]


class Consumer(Protocol):
    """The rules of one connection that a developer may change."""

    async def find_topics(self) -> list[str]:
        """Return the topics to listen to besides the user's own."""

    async def connected(self) -> None:
        """Called when the user is known and everything is subscribed."""

    async def disconnected(self, close_code: int) -> None:
        """Called when it is over, if `connected` was."""

    def receive(self, message: PlainMessage) -> Awaitable[None]:
        """Carry out a frame of the plain dialect, or `user.send`."""
