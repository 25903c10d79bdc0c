"""What each username looks like, so that a look-alike can be refused."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from djwsbridge.chat.names import SKELETON_LENGTH

__all__ = ["NameSkeleton"]


class NameSkeleton(models.Model):
    """The skeleton (Unicode TS #39) of one user's name, kept up when names are checked."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    # The name that the skeleton was made from: a renamed user is noticed by the difference.
    name = models.TextField()
    skeleton = models.CharField(max_length=SKELETON_LENGTH, db_index=True)

    def __str__(self) -> str:
        return self.name
