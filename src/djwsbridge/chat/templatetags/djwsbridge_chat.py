"""What the chat's templates need besides Django's own."""

from __future__ import annotations

from django import template
from django.contrib.auth import get_user_model
from django.template.context import Context
from django.utils.html import format_html

__all__ = ["badge", "nonce_attribute", "register", "tone", "username_limit"]

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


@register.simple_tag(takes_context=True)
def nonce_attribute(context: Context) -> str:
    """Write the attribute by which a Content-Security-Policy lets an element in; empty if the request has no nonce.

    django-csp keeps the nonce in `request.csp_nonce`, Django's own middleware (6.0 and newer) in `request._csp_nonce`,
    which `django.middleware.csp.get_nonce` reads. Both make it when it is written for the first time, so that it goes
    into the header, and both call it false until then.
    """
    request = getattr(context, "request", None) or context.get("request")
    nonce = getattr(request, "csp_nonce", None)
    if nonce is None:
        nonce = getattr(request, "_csp_nonce", None)
    return "" if nonce is None else format_html(' nonce="{}"', nonce)


@register.simple_tag
def username_limit() -> str:
    """Write the attribute that ends a user's name where the model does; browsers count an emoji as two."""
    model = get_user_model()
    longest = getattr(model._meta.get_field(model.USERNAME_FIELD), "max_length", None)
    return "" if longest is None else format_html(' maxlength="{}"', str(2 * longest))
