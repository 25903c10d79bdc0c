"""What a text must be to be stored and shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.text import MAX_BODY_BYTES, MAX_BODY_CHARACTERS, check_body, check_storable


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
