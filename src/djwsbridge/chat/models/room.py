"""A conversation: a group that anybody may join, or the direct room of two people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from djwsbridge.chat.names import SLUG_LENGTH, TITLE_KEY_LENGTH, TITLE_LENGTH
from djwsbridge.chat.values import RoomKind

__all__ = ["Room"]

DIRECT_KEY_LENGTH = 160  # characters; two keys of 36 (UUID) and a colon, and room for longer ones


class Room(models.Model):
    """A conversation; its topic `room.<id>` in the log numbers what happens in it."""

    kind = models.CharField(max_length=8, choices=[(kind.value, kind.value) for kind in RoomKind])
    # Shown as it was written; empty for a direct room, which is named after the other person.
    title = models.CharField(max_length=TITLE_LENGTH, blank=True)
    # The title without differences of case, which is unique. None for a direct room.
    title_key = models.CharField(
        max_length=TITLE_KEY_LENGTH, unique=True, null=True, blank=True, editable=False
    )
    # The address of the page. A direct room has a random one.
    slug = models.CharField(max_length=SLUG_LENGTH, unique=True)
    # "<lower id>:<higher id>" of a direct room's people: one room per pair. None for a group.
    direct_key = models.CharField(
        max_length=DIRECT_KEY_LENGTH, unique=True, null=True, blank=True, editable=False
    )
    created = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )

    class Meta:
        """Groups are listed by title."""

        ordering = ("title", "id")

    def __str__(self) -> str:
        return self.title or self.slug
