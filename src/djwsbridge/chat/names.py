"""The rules for names: titles of groups, their slugs, the topics of rooms, and usernames that look alike."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from confusable_homoglyphs.confusables import confusables_data
from django.utils.text import slugify

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import is_blank, is_invisible

__all__ = [
    "RESERVED_SLUGS",
    "SKELETON_LENGTH",
    "SLUG_LENGTH",
    "TITLE_KEY_LENGTH",
    "TITLE_LENGTH",
    "check_title",
    "room_id_of",
    "room_topic",
    "skeleton",
    "slug_candidates",
    "title_key",
]

TITLE_LENGTH = 128  # characters
TITLE_KEY_LENGTH = 3 * TITLE_LENGTH  # casefolding makes at most three characters of one
SLUG_LENGTH = 160  # characters
SLUG_STEM_LENGTH = 80  # characters that come from the title; the rest is room for a number

SKELETON_LENGTH = 512  # characters; what comes after them tells no names apart

# Slugs that would hide behind other addresses of the chat's URLconf.
RESERVED_SLUGS = frozenset({"api", "direct", "rooms"})

# A title is one line; half a surrogate pair cannot be stored.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

# Overrides and isolates of the writing direction can make one title look like another.
FORBIDDEN_CHARACTERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

LEFT_TO_RIGHT_MARK = "\u200e"  # the data of confusables wraps right-to-left characters in it


def check_title(title: str) -> str:
    """Return the title of a group as it is stored: composed (NFC) and trimmed.

    Raises:
        CommandError: `bad_name` when it is empty, too long or not one visible line.
    """
    cleaned = unicodedata.normalize("NFC", title).strip()
    categories = {unicodedata.category(char) for char in cleaned}
    if (
        len(cleaned) > TITLE_LENGTH
        or is_invisible(cleaned)
        or not FORBIDDEN_CATEGORIES.isdisjoint(categories)
        or not FORBIDDEN_CHARACTERS.isdisjoint(cleaned)
    ):
        raise CommandError(ErrorCode.BAD_NAME)
    return cleaned


def title_key(title: str) -> str:
    """Return what two titles have in common when they differ in case alone."""
    return unicodedata.normalize("NFC", title.casefold())


def slug_candidates(title: str) -> Iterator[str]:
    """Yield slugs for a title, best first: `books`, `books-2`, and so on without end."""
    stem = slugify(title, allow_unicode=True)[:SLUG_STEM_LENGTH].strip("-_") or "room"
    if stem not in RESERVED_SLUGS:
        yield stem
    for number in range(2, 10):
        yield f"{stem}-{number}"
    while True:
        yield f"{stem}-{secrets.token_hex(4)}"


def room_topic(room_id: int) -> str:
    """Return the topic of a room's members."""
    return f"room.{room_id}"


def room_id_of(topic: str) -> int:
    """Return the room of a topic; 0, which is none, for a topic of something else."""
    kind, _, number = topic.partition(".")
    is_room = kind == "room" and number.isascii() and number.isdigit()
    return int(number) if is_room else 0


def skeleton(name: str) -> str:
    """Return what a name looks like (Unicode TS #39): equal skeletons are easily confused.

    Blanks are left out, spaces too: some letters and symbols are drawn as a space, others as nothing at all.
    """
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFD", "".join(map(_prototype, decomposed)))[:SKELETON_LENGTH]


@lru_cache(maxsize=4096)
def _prototype(char: str) -> str:
    """Return what stands for all the characters that look like `char`.

    The data is a set of stars: a prototype lists every character that looks like it, and each of
    these lists its prototype. The longest list therefore belongs to the prototype; of a pair it is
    the longer glyph.
    """
    if is_blank(char):
        return ""
    alike = [char, *(row["c"].strip(LEFT_TO_RIGHT_MARK) for row in _row(char))]
    prototype = max(alike, key=lambda glyph: (len(_row(glyph)), len(glyph), glyph))
    return prototype if len(prototype) == 1 else skeleton(prototype)


def _row(glyph: str) -> list[dict[str, str]]:
    wrapped = f"{LEFT_TO_RIGHT_MARK}{glyph}{LEFT_TO_RIGHT_MARK}"
    rows: list[dict[str, str]] = confusables_data.get(glyph) or confusables_data.get(wrapped) or []
    return rows
