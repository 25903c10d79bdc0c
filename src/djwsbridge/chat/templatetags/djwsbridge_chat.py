"""What the chat's templates need besides Django's own."""

from __future__ import annotations

from django import template

__all__ = ["register", "tone"]

register = template.Library()


@register.filter
def tone(user_id: object) -> str:
    """Choose one of the avatar tones for a person, the one that `dom.js` chooses for them, too."""
    total = 7
    for letter in "null" if user_id is None else str(user_id):
        total = (total * 31 + ord(letter)) % 997
    return f"tone-{total % 8}"
