"""The admin of the chat: to look, not to touch, and never into private conversations.

Rows that were changed here would reach no open page, and a message that was deleted would leave
a hole in its room.
"""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.chat.values import RoomKind

__all__ = ["MessageAdmin", "RoomAdmin"]


class ReadOnly:
    """Refuse every change."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may delete."""
        return False


class MembershipInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """Who is in the room."""

    model = Membership
    fields = ("user", "role", "joined_seq", "read_seq", "created")
    extra = 0


@admin.register(Room)
class RoomAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The groups."""

    list_display = ("title", "slug", "created", "created_by")
    search_fields = ("title", "slug")
    fields = ("title", "slug", "created", "created_by")
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Room]:
        """Leave private conversations out."""
        return super().get_queryset(request).filter(kind=RoomKind.GROUP.value)


@admin.register(Message)
class MessageAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The messages of the groups."""

    list_display = ("room", "seq", "sender", "created")
    list_filter = (("room", admin.RelatedOnlyFieldListFilter),)
    list_select_related = ("room", "sender")
    fields = ("room", "seq", "sender", "body", "created")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Leave private conversations out."""
        return super().get_queryset(request).filter(room__kind=RoomKind.GROUP.value)
