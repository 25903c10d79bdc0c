"""The lasting link between a room and a user."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from djwsbridge.chat.models.room import Room

__all__ = ["Membership", "Role"]


class Role(models.TextChoices):
    """What a member may do in the room."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Membership(models.Model):
    """A user's place in a room: role, and what was delivered and read (pointers that only grow)."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)
    # The room's last seq at the moment of joining.
    joined_seq = models.PositiveBigIntegerField(default=0)
    delivered_seq = models.PositiveBigIntegerField(default=0)
    read_seq = models.PositiveBigIntegerField(default=0)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        """One row per room and user."""

        constraints = (
            models.UniqueConstraint(fields=("room", "user"), name="djwsbridge_member_once"),
            models.CheckConstraint(
                condition=models.Q(read_seq__lte=models.F("delivered_seq")),
                name="djwsbridge_read_is_delivered",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} in {self.room_id}"
