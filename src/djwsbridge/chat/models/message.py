"""One stored piece of content in a room."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from djwsbridge.chat.models.room import Room

__all__ = ["Message"]


class Message(models.Model):
    """A message, numbered by its room; a sender's `client_message_id` is stored once, for ever."""

    # Neither it nor `sender` has an index of its own: those of the constraints begin with them.
    room = models.ForeignKey(
        Room, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    seq = models.PositiveBigIntegerField()
    # None when the account was deleted; the message stays, or its number would leave a hole.
    sender = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    # Empty when it was erased; never else.
    body = models.TextField()
    client_message_id = models.UUIDField()
    # The database's clock. It is shown; it orders nothing.
    created = models.DateTimeField()

    class Meta:
        """`(room, seq)` orders a room, `(sender, client_message_id)` makes a retry harmless."""

        constraints = (
            models.UniqueConstraint(fields=("room", "seq"), name="djwsbridge_message_seq"),
            models.UniqueConstraint(
                fields=("sender", "client_message_id"), name="djwsbridge_message_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.room_id}.{self.seq}"
