"""What a text must be to be stored and shown.

The rules hold for every dialect and for the HTTP API: one place decides.
"""

from __future__ import annotations

import re
import unicodedata

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = [
    "DEFAULT_IGNORABLE",
    "MAX_BODY_BYTES",
    "MAX_BODY_CHARACTERS",
    "check_body",
    "check_storable",
    "is_blank",
    "is_invisible",
]

MAX_BODY_CHARACTERS = 8_000  # about four printed pages
MAX_BODY_BYTES = 32_768  # UTF-8; four bytes a character at the limit above

#: Ranges of Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 17: programs draw nothing for them.
#: The general category does not tell: U+3164 is a letter, and U+2065 is not assigned.
DEFAULT_IGNORABLE = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers, letters
    (0x17B4, 0x17B5),  # inherent vowels of Khmer
    (0x180B, 0x180F),  # variation selectors and the vowel separator of Mongolian
    (0x200B, 0x200F),  # zero width space and joiners, marks of the writing direction
    (0x202A, 0x202E),  # embeddings and overrides of the writing direction
    (0x2060, 0x206F),  # word joiner, invisible operators, isolates; U+2065 is reserved
    (0x3164, 0x3164),  # Hangul filler, a letter
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # zero width no-break space
    (0xFFA0, 0xFFA0),  # half-width Hangul filler, a letter
    (0xFFF0, 0xFFF8),  # reserved
    (0x1BCA0, 0x1BCA3),  # format controls of shorthand
    (0x1D173, 0x1D17A),  # format controls of music
    (0xE0000, 0xE0FFF),  # tags, more variation selectors, reserved
)

# Letters and symbols that are drawn as a blank, by their very names, and are not in the property above.
BLANK_LETTERS = (
    "\u2800\U00013441\U00013442\U0001d159"  # Braille blank, two hieroglyphic blanks, null notehead
)

# Formats that are drawn, in front of digits or alone: Prepended_Concatenation_Mark in PropList.txt of Unicode 17.
VISIBLE_FORMATS = frozenset(
    map(
        chr,
        (*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD),
    )
)

BLANK_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})  # separators, controls, formats
MARK_CATEGORIES = frozenset({"Mn", "Me", "Mc"})

_DRAWN_AS_NOTHING = re.compile(
    "[{}{}]".format("".join(f"{chr(a)}-{chr(b)}" for a, b in DEFAULT_IGNORABLE), BLANK_LETTERS)
)


def is_blank(character: str) -> bool:
    """Say whether a character draws nothing, whatever stands beside it."""
    if unicodedata.category(character) in BLANK_CATEGORIES:
        return character not in VISIBLE_FORMATS
    return _DRAWN_AS_NOTHING.match(character) is not None


def is_invisible(text: str) -> bool:
    """Say whether a text leaves nothing on the screen: it has only blanks, and marks that no letter carries."""
    return all(
        unicodedata.category(character) in MARK_CATEGORIES or is_blank(character)
        for character in text
    )


def check_storable(text: str) -> None:
    """Refuse what PostgreSQL or UTF-8 cannot hold: NUL and lone surrogates.

    Raises:
        CommandError: `bad_text`.
    """
    if "\x00" in text:
        raise CommandError(ErrorCode.BAD_TEXT)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(ErrorCode.BAD_TEXT) from None


def check_body(
    body: object,
    *,
    max_characters: int = MAX_BODY_CHARACTERS,
    max_bytes: int = MAX_BODY_BYTES,
) -> str:
    """Return the body of a message if it may be stored as it is.

    Raises:
        CommandError: `bad_field` (not a string), `bad_text`, `too_large` or `empty_body`.
    """
    if not isinstance(body, str):
        raise CommandError(ErrorCode.BAD_FIELD, field="body")
    if len(body) > max_characters:
        raise CommandError(ErrorCode.TOO_LARGE, limit=max_characters)
    check_storable(body)
    if len(body) * 4 > max_bytes and len(body.encode()) > max_bytes:
        raise CommandError(ErrorCode.TOO_LARGE, limit=max_bytes)
    if is_invisible(body):
        raise CommandError(ErrorCode.EMPTY_BODY)
    return body
