"""What the chat keeps of one user."""

from __future__ import annotations

from django.conf import settings
from django.db import models

__all__ = ["Profile"]


class Profile(models.Model):
    """A user's choices, and when they were last here; a user without a row has the defaults."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    # Whether others see how far this user has read.
    read_receipts = models.BooleanField(default=True)
    # When the user's last connection to some node ended. None as long as none has.
    last_seen = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return str(self.user_id)
