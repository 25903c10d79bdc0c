from __future__ import annotations

import string
from itertools import islice

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.chat import names
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError


@pytest.mark.parametrize("topic", ["7", "user.7", "rooms.7", "room", "room.", "room.x", "room.7.8"])
def test_a_topic_of_something_else_has_no_room(topic: str) -> None:
    assert names.room_id_of(topic) == 0
    assert names.room_id_of(names.room_topic(7)) == 7


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("General", "General"),
        ("  Tea & biscuits \n", "Tea & biscuits"),
        ("cafe\u0301", "caf\u00e9"),
        ("Книжный клуб", "Книжный клуб"),
        ("北京の旅", "北京の旅"),
        ("🍲", "🍲"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("ᠮᠣᠩᠭᠣᠯ", "ᠮᠣᠩᠭᠣᠯ"),
        ("⠃⠕⠕⠅⠎", "⠃⠕⠕⠅⠎"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",) * 2,
        ("a" * 128, "a" * 128),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_a_title_of_any_script_is_composed_and_trimmed(written: str, stored: str) -> None:
    assert names.check_title(written) == stored


@pytest.mark.parametrize(
    "title",
    [
        "",
        " \t\n",
        "\u200b\u2060\ufeff",
        "\u0301\u0302",
        "a" * 129,
        "a\nb",
        "a\0b",
        "a\x1bb",
        "a\u2028b",
        "\ud800",
        "General\u202e",
        "\u2800",
        "\u3164",
        "\u115f\u1160\uffa0",
        "\U0001d159",
        "\u2065\ufff0\U000e0080",
    ],
)
def test_a_title_that_is_not_one_visible_line_is_refused(title: str) -> None:
    with pytest.raises(CommandError) as caught:
        names.check_title(title)
    assert caught.value.code is ErrorCode.BAD_NAME


@given(st.text())
def test_any_title_is_stored_or_refused(title: str) -> None:
    try:
        stored = names.check_title(title)
    except CommandError:
        return
    assert 1 <= len(stored) <= names.TITLE_LENGTH
    assert len(names.title_key(stored)) <= names.TITLE_KEY_LENGTH
    assert names.check_title(stored) == stored


@pytest.mark.parametrize(
    ("one", "other"), [("General", "gENERAL"), ("Straße", "STRASSE"), ("Кухня", "кУХНЯ")]
)
def test_titles_that_differ_in_case_have_one_key(one: str, other: str) -> None:
    assert names.title_key(one) == names.title_key(other)


@pytest.mark.parametrize(
    ("title", "slugs"),
    [
        ("Tea & biscuits", ["tea-biscuits", "tea-biscuits-2", "tea-biscuits-3"]),
        ("Книжный клуб", ["книжный-клуб", "книжный-клуб-2", "книжный-клуб-3"]),
        ("🍲", ["room", "room-2", "room-3"]),
        ("API", ["api-2", "api-3", "api-4"]),
        ("Direct", ["direct-2", "direct-3", "direct-4"]),
        ("a" * 128, ["a" * 80, "a" * 80 + "-2", "a" * 80 + "-3"]),
    ],
)
def test_a_slug_comes_from_the_title(title: str, slugs: list[str]) -> None:
    assert list(islice(names.slug_candidates(title), 3)) == slugs


@given(st.text(min_size=1, max_size=128))
def test_slugs_never_end_and_always_fit(title: str) -> None:
    slugs = list(islice(names.slug_candidates(title), 20))
    assert len(set(slugs)) == 20
    assert not names.RESERVED_SLUGS.intersection(slugs)
    assert all(0 < len(slug) <= names.SLUG_LENGTH and "/" not in slug for slug in slugs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("admin", "\u0430dmin"),
        ("paypal", "paypaI"),
        ("paypal", "\u0440\u0430ypal"),
        ("l1l", "Il1"),
        ("b0b", "bOb"),
        ("alice", "al\u200dice"),
        ("\u0627", "l"),
        ("m", "rn"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    assert names.skeleton(one) == names.skeleton(other)


@pytest.mark.parametrize(
    "blank",
    [
        *(
            "\u3164",
            "\u115f",
            "\u1160",
            "\uffa0",
            "\u2800",
            "\U0001d159",
            "\u2065",
            "\ufff0",
            "\ufff8",
        ),
        *("\U000e0080", "\U000e0fff", "\u034f", "\ufe0f", "\u180b", "\u17b4", "\U00013441"),
        *(" ", "\u00a0", "\u3000", "\t", "\u200b"),
    ],
)
def test_a_blank_in_a_name_tells_it_from_no_other(blank: str) -> None:
    for name in (f"alice{blank}", f"{blank}alice", f"al{blank}{blank}ice"):
        assert names.skeleton(name) == names.skeleton("alice")


@pytest.mark.parametrize(
    ("one", "other"),
    [("alice", "bob"), ("anna", "anne"), ("ann", "anna"), ("⠃", "⠇"), ("ᠮᠣ", "ᠮᠢ")],
)
def test_names_that_do_not_look_alike_have_two(one: str, other: str) -> None:
    assert names.skeleton(one) != names.skeleton(other)


@pytest.mark.parametrize("letter", string.ascii_letters + string.digits)
def test_every_look_alike_of_a_letter_has_its_skeleton(letter: str) -> None:
    for row in confusables_data.get(letter, []):
        assert names.skeleton(row["c"]) == names.skeleton(letter)


@given(st.text(max_size=300))
def test_a_skeleton_always_fits(name: str) -> None:
    assert len(names.skeleton(name)) <= names.SKELETON_LENGTH
