"""The plain dialect: the seed's frames, and the rows of "JSON and schema" that hold for them too."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER, Heartbeat, PlainMessage
from djwsbridge.protocol.plain import PlainDialect, read_recipient
from tests.servers import ROOT

WIRE = json.loads((ROOT / "tests" / "wire" / "plain.json").read_text())
PLAIN = PlainDialect()


def refuse(text: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        PLAIN.decode(text)
    return caught.value


def frame(**fields: Any) -> str:
    return json.dumps({"type": "text", "message": "hello", "recipient": 7, **fields})


ROWS = [
    *(("J1", text, "bad_json") for text in ("", " ", "{", "nul", '{"type":"text",}')),
    *(("J2", text, "bad_frame") for text in ("[1,2]", '"x"', "null", "1", "true")),
    ("J3", "[" * 100_000 + "]" * 100_000, "too_deep"),
    ("J3", '{"a":' * 17 + "1" + "}" * 17, "too_deep"),
    ("J4", '{"recipient":' + "9" * 5_000 + "}", "bad_field"),
    ("J4", '{"recipient":1e400}', "bad_field"),
    ("J4", '{"recipient":1E5}', "bad_recipient"),
    ("J5", '{"message":NaN}', "bad_json"),
    ("J5", '{"x":[Infinity]}', "bad_json"),
    ("J6", frame(message="\ud800"), "bad_text"),
    ("J6", frame(**{"\ud800": 1}), "bad_text"),
    ("J7", frame(message="a\x00b"), "bad_text"),
    ("J7", frame(other=["a\x00b"]), "bad_text"),
    *(("J13", frame(message=body), "bad_field") for body in (None, {}, [], 5, True)),
    *(
        ("J14", frame(message=body), "empty_body")
        for body in ("", "   ", "\u200b\u2060\ufeff", "\u0301\u0302")
    ),
    ("J15", frame(message="x" * 8_001), "too_large"),
    ("J15", frame(message="\U0001f469\u200d\U0001f469" * 2_667), "too_large"),
    ("J16", frame(type="x" * 300), "bad_field"),
    ("J16", frame(type=5), "bad_field"),
    *(
        ("J19", frame(recipient=value), "bad_recipient")
        for value in ({}, [], True, -1, 1.5, "", "x", "7 ", "٧", "-7", "x" * 65, "9" * 17)
    ),
    ("keys", json.dumps({str(n): n for n in range(65)}), "too_many"),
]


@pytest.mark.parametrize(
    ("row", "text", "code"),
    ROWS,
    ids=[f"{row}-{index}" for index, (row, _, _) in enumerate(ROWS)],
)
def test_a_bad_frame_is_refused_with_its_code(row: str, text: str, code: str) -> None:
    assert refuse(text).code is ErrorCode(code)


def test_j10_a_sender_in_the_frame_is_nobody() -> None:
    assert "sender" not in PLAIN.decode(frame(sender=1)).frame


def test_j8_other_keys_pass_as_they_are_and_mean_nothing() -> None:
    keys = ("__proto__", "constructor", "__class__", "id__in", "sender_id", "chat_id", "pk", "id")
    message = PLAIN.decode(frame(**dict.fromkeys(keys, 1)))
    assert set(message.frame) == {"type", "message", "recipient", *keys}
    assert (message.type, message.body, message.recipient) == ("text", "hello", 7)


@pytest.mark.parametrize("row", WIRE["messages"], ids=lambda row: row["text"][:40])
def test_a_canonical_message_is_read(row: dict[str, Any]) -> None:
    message = PLAIN.decode(row["text"])
    assert (message.type, message.body, message.recipient) == (
        row["type"],
        row["body"],
        row["recipient"],
    )
    sent = json.loads(row["text"])
    sent.pop("sender", None)
    assert message.frame == sent


@pytest.mark.parametrize("row", WIRE["bad"], ids=lambda row: row["text"][:40])
def test_a_canonical_mistake_is_told(row: dict[str, Any]) -> None:
    assert refuse(row["text"]).code is ErrorCode(row["code"])


@pytest.mark.parametrize("row", WIRE["errors"], ids=lambda row: row["code"])
def test_a_canonical_error_is_written(row: dict[str, Any]) -> None:
    error = CommandError(ErrorCode(row["code"]), **row["details"])
    assert PLAIN.encode_error(error) == PLAIN.encode_farewell(error) == row["text"]


@pytest.mark.parametrize("row", WIRE["pushes"], ids=lambda row: row["v1"][:30])
def test_a_canonical_push_is_written_flat(row: dict[str, Any]) -> None:
    assert PLAIN.encode_push(row["v1"]) == row["text"]


def test_there_are_no_replies() -> None:
    assert PLAIN.name is None
    assert PLAIN.encode_reply(Heartbeat(id=1), {"a": 1}) is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.uuids().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def assert_message_or_documented_error(text: str) -> None:
    try:
        message = PLAIN.decode(text)
    except CommandError as error:
        assert_documented(error)
    else:
        assert isinstance(message, PlainMessage)
        json.dumps(message.frame, allow_nan=False).encode()
        assert message.body is None or message.body.strip()


def assert_documented(error: CommandError) -> None:
    assert isinstance(error.code, ErrorCode)
    assert json.loads(PLAIN.encode_error(error))["code"] == error.code.value


@given(st.text(st.characters(codec=None)))
@settings(max_examples=300)
def test_any_text_gives_a_message_or_a_documented_error(text: str) -> None:
    assert_message_or_documented_error(text)


@given(
    st.dictionaries(
        st.sampled_from(["type", "message", "content", "recipient", "sender", "id"]) | st.text(),
        json_values,
        max_size=6,
    )
)
@settings(max_examples=500)
def test_j21_any_frame_like_thing_gives_a_message_or_a_documented_error(
    value: dict[str, object],
) -> None:
    assert_message_or_documented_error(json.dumps(value))


@given(st.integers(0, MAX_INTEGER) | st.uuids())
def test_a_user_id_is_the_same_as_a_number_a_text_or_a_uuid(user_id: int | uuid.UUID) -> None:
    written = user_id if isinstance(user_id, int) else str(user_id)
    assert read_recipient(written) == read_recipient(str(user_id)) == written
    assert read_recipient(str(user_id).upper()) == written


@given(json_values)
def test_a_push_arrives_as_it_was_sent(data: object) -> None:
    try:
        text = encode_push("signal", topic="user.7", data={"data": data})
    except UnicodeEncodeError:
        return  # a lone surrogate: `publish` refuses it
    flat = PLAIN.encode_push(text)
    assert flat is not None
    assert json.loads(flat) == json.loads(text)["data"]
