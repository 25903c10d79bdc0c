"""What a text must be to be stored and shown.

The rules hold for every dialect and for the HTTP API: one place decides.
"""

from __future__ import annotations

import unicodedata

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = [
    "INVISIBLE_CATEGORIES",
    "MAX_BODY_BYTES",
    "MAX_BODY_CHARACTERS",
    "check_body",
    "check_storable",
]

MAX_BODY_CHARACTERS = 8_000  # about four printed pages
MAX_BODY_BYTES = 32_768  # UTF-8; four bytes a character at the limit above

#: General categories that leave nothing on the screen: separators, controls, formats (zero width), lonely marks.
INVISIBLE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me", "Mc"})


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
    if all(unicodedata.category(character) in INVISIBLE_CATEGORIES for character in body):
        raise CommandError(ErrorCode.EMPTY_BODY)
    return body
