"""What a text must be to be stored and shown."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import (
    DEFAULT_IGNORABLE,
    MAX_BODY_BYTES,
    MAX_BODY_CHARACTERS,
    check_body,
    check_storable,
    is_blank,
    is_invisible,
)
from tests.servers import ROOT

VECTORS: dict[str, Any] = json.loads((ROOT / "tests/wire/text.json").read_text())

# The letters, marks, symbols and unassigned code points that are drawn as nothing, or as a gap (Unicode 17).
BLANK_LETTERS = {
    *(0x115F, 0x1160, 0x3164, 0xFFA0),  # Hangul fillers
    0x2800,  # Braille pattern blank
    *(0x13441, 0x13442),  # Egyptian hieroglyph full blank, half blank
    0x1D159,  # musical symbol null notehead
}
BLANK_RESERVED = {0x2065, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)}
# Formats that are drawn: the number signs, the end of a verse and the like (Prepended_Concatenation_Mark).
DRAWN_FORMATS = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


def refuse(body: object, **limits: int) -> CommandError:
    with pytest.raises(CommandError) as caught:
        check_body(body, **limits)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        "a",
        " a ",
        "\u0645\u0631\u062d\u0628\u0627",
        "e\u0301",
        "\U0001f469\u200d\U0001f680",
        "\u200bx",
        "a\nb",
        ".",
        "x" * MAX_BODY_CHARACTERS,
        "\U0001f600" * (MAX_BODY_BYTES // 4 - 192),
    ],
)
def test_a_body_is_returned_as_it_is(body: str) -> None:
    assert check_body(body) is body


@pytest.mark.parametrize(
    "body",
    ["", " ", "\t\r\n", "\u00a0\u2003\u3000", "\u200b\u200c\u200d\u2060\ufeff", "\u0301", "\u2028"],
)
def test_a_body_that_shows_nothing(body: str) -> None:
    assert refuse(body).code is ErrorCode.EMPTY_BODY


@pytest.mark.parametrize("body", VECTORS["invisible"])
def test_a_body_of_blanks_that_are_letters_or_symbols_shows_nothing(body: str) -> None:
    assert is_invisible(body)
    assert refuse(body).code is ErrorCode.EMPTY_BODY


@pytest.mark.parametrize("body", VECTORS["visible"])
def test_a_body_of_any_script_or_emoji_shows_something(body: str) -> None:
    assert check_body(body) == body


def test_every_character_is_visible_or_listed_with_a_reason() -> None:
    assert [list(ends) for ends in DEFAULT_IGNORABLE] == VECTORS["default_ignorable"]
    for code in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(code))
        is_listed = code in BLANK_LETTERS or code in BLANK_RESERVED
        if kind[0] in "LNPSC" and kind not in {"Cc", "Cf"}:
            assert is_invisible(chr(code)) is is_blank(chr(code)) is is_listed, hex(code)
        elif kind[0] == "M":
            assert is_invisible(chr(code)), hex(code)
        else:
            assert is_invisible(chr(code)) is is_blank(chr(code)) is (code not in DRAWN_FORMATS)


def test_a_mark_draws_something_on_its_letter_and_a_variation_selector_does_not() -> None:
    assert not is_blank("\u0301")
    assert is_blank("\ufe0f")
    assert is_blank("\U000e0100")


@pytest.mark.parametrize("body", [None, {}, [], 5, 1.5, True, b"bytes"])
def test_a_body_that_is_no_text(body: object) -> None:
    error = refuse(body)
    assert (error.code, error.details) == (ErrorCode.BAD_FIELD, {"field": "body"})


def test_a_body_of_too_many_characters_or_bytes() -> None:
    error = refuse("x" * (MAX_BODY_CHARACTERS + 1))
    assert (error.code, error.details) == (ErrorCode.TOO_LARGE, {"limit": MAX_BODY_CHARACTERS})
    error = refuse("\u00e9" * 6, max_bytes=11)
    assert (error.code, error.details) == (ErrorCode.TOO_LARGE, {"limit": 11})
    assert check_body("\u00e9" * 6, max_bytes=12)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "\udc00a"])
def test_a_text_that_no_database_holds(text: str) -> None:
    assert refuse(text).code is ErrorCode.BAD_TEXT
    with pytest.raises(CommandError):
        check_storable(text)


@given(st.text(st.characters(codec=None)))
def test_any_body_is_returned_or_refused(body: str) -> None:
    try:
        assert check_body(body) is body
    except CommandError:
        return
    body.encode()
    assert "\x00" not in body
    assert body.strip()
