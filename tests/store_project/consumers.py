"""A consumer that a developer has derived, as docs/howto shows."""

from __future__ import annotations

from typing import Any

from djwsbridge.consumers import UserConsumer
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import PlainMessage
from djwsbridge.utils import asend_ws_message

__all__ = ["StrictConsumer"]


class StrictConsumer(UserConsumer):
    """Greets, forbids writing to `bob` and a word, and tells `carol` who has left."""

    async def connected(self) -> None:
        """Greet whoever comes."""
        await asend_ws_message(self.user.pk, {"type": "welcome", "name": self.user.get_username()})

    async def disconnected(self, close_code: int) -> None:
        """Tell carol."""
        await asend_ws_message(3, {"type": "left", "user": self.user.pk, "code": close_code})

    def may_write(self, recipient: Any) -> bool:
        """Leave bob alone."""
        return super().may_write(recipient) and recipient.get_username() != "bob"

    def store(self, message: PlainMessage, recipient: Any) -> object:
        """Store in capitals, and not everything."""
        if message.body == "forbidden word":
            raise CommandError(ErrorCode.FORBIDDEN)
        stored: Any = super().store(message, recipient)
        type(stored).objects.filter(pk=stored.pk).update(content=stored.content.upper())
        return stored
