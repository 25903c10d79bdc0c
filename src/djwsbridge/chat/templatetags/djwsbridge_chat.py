"""What the chat's templates need besides Django's own."""

from __future__ import annotations

from django import template

__all__ = ["badge", "register", "tone"]

register = template.Library()

MOST_SHOWN = 99  # unread messages; beyond it nobody counts


@register.filter
def badge(count: int | str) -> str:
    """Write a count of unread messages as the page does, too; of no room it is empty, and stays so."""
    return f"{MOST_SHOWN}+" if isinstance(count, int) and count > MOST_SHOWN else str(count)


@register.filter
def tone(user_id: object) -> str:
    """Choose one of the avatar tones for a person, the one that `dom.js` chooses for them, too."""
    total = 7
    for letter in "null" if user_id is None else str(user_id):
        total = (total * 31 + ord(letter)) % 997
    return f"tone-{total % 8}"
