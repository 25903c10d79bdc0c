"""Names in addresses: whatever characters a name has, it is one segment of a path, and is read from there as it was.

Quoting with `%` is not enough. Servers decode `%2F` before they look for the route, and browsers take `%2E%2E` for a
step up. So these characters are written as `~` and two hexadecimal digits. `nameInAddress` in state/people.js does the
same.

A page and a redirect write addresses for the request that they answer (`page_url`). What is stored or published is read
by others, on other pages: its addresses follow from the settings alone (`settled_url`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.urls import (
    LocalePrefixPattern,
    NoReverseMatch,
    URLPattern,
    URLResolver,
    get_resolver,
    get_script_prefix,
    reverse,
    set_script_prefix,
)
from django.utils.translation import override

from djwsbridge.chat.names import RESERVED_SLUGS
from djwsbridge.chat.values import UserRef

__all__ = ["NameConverter", "RoomNameConverter", "page_url", "settled_url"]

# A slash of either kind, the escape itself, and a segment that means "here" or "one up".
UNSAFE = re.compile(r"[~/\\]|\A\.\.?\Z")
ESCAPED = re.compile("~(7e|2f|5c|2e)")
MARK = "~"  # at the end: the segment would be empty, or another address, without it


class NameConverter:
    """A user's name in a route."""

    regex = "[^/]+"
    #: Segments that need the mark at their end.
    taken = frozenset({""})

    def to_url(self, value: object) -> str:
        """Write a name as a segment; Django quotes the rest of it.

        Args:
            value: the name, or what a template of the project has instead: a number, a UUID, None.
        """
        name = "" if value is None else str(value)
        segment = UNSAFE.sub(lambda found: "".join(f"~{ord(one):02x}" for one in found[0]), name)
        return segment + MARK if segment in self.taken else segment

    def to_python(self, value: str) -> str:
        """Read the name from a segment; what is no escape stands for itself."""
        if value.endswith(MARK) and value.removesuffix(MARK) in self.taken:
            return value.removesuffix(MARK)
        return ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


class RoomNameConverter(NameConverter):
    """A room's slug or title in a route, beside addresses that are no rooms."""

    taken = frozenset({"", *RESERVED_SLUGS})


def page_url(slug: str, peer: UserRef | None) -> str:
    """Return the address of a room's page for the current request: in its language, its URLconf, under its prefix.

    Args:
        slug: of the room.
        peer: the other person of a direct room, else None.

    Raises:
        NoReverseMatch: the request's URLconf has no chat pages.
    """
    return _url_of(slug, peer, None)


def settled_url(slug: str, peer: UserRef | None) -> str:
    """Return the address of a room's page as the settings alone give it; empty when they give none.

    It is the same whichever request, task or command asks: under FORCE_SCRIPT_NAME, by ROOT_URLCONF, and without the
    language that `i18n_patterns` puts first, so that LocaleMiddleware leads each reader to their own.
    """
    chosen = (settings.FORCE_SCRIPT_NAME, settings.LANGUAGE_CODE, settings.ROOT_URLCONF)
    return _settled_url(slug, peer, *chosen)


@functools.lru_cache(
    maxsize=16_384
)  # a person may have ten thousand rooms, and a list shows them all
def _settled_url(
    slug: str, peer: UserRef | None, prefix: str | None, language: str, urlconf: str
) -> str:
    with _set_aside_request(prefix, language):
        try:
            return _url_of(slug, peer, _without_languages(urlconf))
        except NoReverseMatch:
            return ""


def _url_of(slug: str, peer: UserRef | None, urlconf: Any) -> str:
    if peer and peer.id is not None and peer.name:
        return reverse("djwsbridge_chat:direct", urlconf, args=[peer.name])
    return reverse("djwsbridge_chat:room", urlconf, args=[slug])


@contextmanager
def _set_aside_request(prefix: str | None, language: str) -> Iterator[None]:
    """Let `reverse` see this prefix and language instead of those of the current request."""
    own_prefix = get_script_prefix()
    set_script_prefix(prefix or "/")
    try:
        with override(language):
            yield
    finally:
        set_script_prefix(own_prefix)


@functools.lru_cache(maxsize=1)
def _without_languages(urlconf: str) -> str | tuple[URLPattern | URLResolver, ...]:
    """Return a URLconf whose addresses begin with no language: the given one, unless it has `i18n_patterns`."""
    patterns = get_resolver(urlconf).url_patterns
    settled = [inner for each in patterns for inner in _inside_language(each)]
    return urlconf if settled == patterns else tuple(settled)


def _inside_language(pattern: URLPattern | URLResolver) -> list[URLPattern | URLResolver]:
    if isinstance(pattern, URLResolver) and isinstance(pattern.pattern, LocalePrefixPattern):
        return pattern.url_patterns
    return [pattern]
