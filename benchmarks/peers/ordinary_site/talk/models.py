"""A message, as a tutorial would store it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

__all__ = ["Message"]


class Message(models.Model):
    """One message in a room."""

    room = models.CharField(max_length=100, db_index=True)
    sender = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    content = models.TextField()
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.content
