"""The v1 dialect: every row of "JSON and schema" that concerns decoding, and what any text at all gives."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djwsbridge.chat.commands import ListMessages, MarkRead, SendMessage
from djwsbridge.protocol import codec as codec_module
from djwsbridge.protocol.codec import (
    MAX_DEPTH,
    MAX_KEYS,
    Codec,
    decode_push,
    encode_push,
    load_object,
)
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import (
    MAX_INTEGER,
    Command,
    Connect,
    Heartbeat,
    ListPresence,
    ObjectId,
    RefreshToken,
    SendToUser,
    Subscribe,
    Unsubscribe,
)
from djwsbridge.protocol.text import check_body
from tests.servers import ROOT

WIRE = json.loads((ROOT / "tests" / "wire" / "v1.json").read_text())
COMMANDS: list[type[Command]] = [
    Connect,
    Heartbeat,
    ListMessages,
    ListPresence,
    MarkRead,
    RefreshToken,
    SendMessage,
    SendToUser,
    Subscribe,
    Unsubscribe,
]
CODEC = Codec(COMMANDS)
MESSAGE_ID = "0b7ad1a5-6a5a-4c39-9a52-d9c2ce2b1f4e"
J3_BOUND = 0.005  # seconds


def refuse(text: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        CODEC.decode(text)
    return caught.value


def send(**fields: Any) -> str:
    """Write a `message.send` that is right but for `fields`; None leaves one out."""
    frame = {
        "id": 3,
        "cmd": "message.send",
        "room": 42,
        "body": "hello",
        "client_message_id": MESSAGE_ID,
        **fields,
    }
    return json.dumps({key: value for key, value in frame.items() if value is not ...})


def raw(room: str) -> str:
    """Write a `message.send` with a room as no JSON writer of ours would write it."""
    return send(room="%").replace('"%"', room)


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


ROWS = [
    *(("J1", text, "bad_json") for text in ("", " ", "{", "nul", '{"cmd":"send",}')),
    *(("J2", text, "bad_frame") for text in ("[1,2]", '"x"', "null", "1", "true")),
    ("J3", "[" * 100_000 + "]" * 100_000, "too_deep"),
    ("J3", nested(MAX_DEPTH + 1), "too_deep"),
    ("J3", '{"id":1,"cmd":"heartbeat","x":' + nested(MAX_DEPTH) + "}", "too_deep"),
    ("J3", "[" * 100_000, "too_deep"),
    *(("J4", raw(room), "bad_field") for room in ("9" * 5_000, "1e400", "-0", "1E5", "1.0")),
    *(("J4", raw(room), "bad_field") for room in ("-1e400", "9007199254740992", "-5", "true")),
    *(("J5", raw(room), "bad_json") for room in ("NaN", "Infinity", "-Infinity")),
    *(("J5", f'{{"x":[{word}]}}', "bad_json") for word in ("NaN", "Infinity", "-Infinity")),
    ("J6", send(body="\ud800"), "bad_text"),
    ("J6", send(body="\udc00 and on"), "bad_text"),
    ("J6", send(**{"\ud800": 1}), "bad_text"),
    ("J6", send(attachments=[{"name": "a\udfff.png"}]), "bad_text"),
    ("J7", send(body="a\x00b"), "bad_text"),
    ("J7", send(body="\x00"), "bad_text"),
    *(
        ("J8", send(**{key: 1}), "unknown_field")
        for key in ("__proto__", "constructor", "__class__", "id__in", "sender_id", "chat_id", "pk")
    ),
    *(
        ("J9", json.dumps({"id": 3, "cmd": tag}), "unknown_type")
        for tag in ("nope", "send.message", "websocket.disconnect", "_x", "", "Connect")
    ),
    ("J10", send(sender=1), "unknown_field"),
    ("J11", send(id=2**63 - 1), "bad_field"),
    ("J11", send(message_id=777), "unknown_field"),
    *(
        ("J12", send(**{key: 1}), "unknown_field")
        for key in ["chat", "conv_id", "created", "seq", "epoch", "edited", "deleted", "read"]
    ),
    *(("J13", send(body=body), "bad_field") for body in (..., None, {}, [], 5, True)),
    ("J16", json.dumps({"id": 3, "cmd": "x" * 300}), "bad_field"),
    (
        "J16",
        json.dumps(
            {"id": 3, "cmd": "user.send", "recipient": 1, "content": "a", "type": "x" * 300}
        ),
        "bad_field",
    ),
    *(
        ("J18", send(client_message_id=value), "bad_field")
        for value in (..., "", "x" * 10_240, "not a uuid", 5, None)
    ),
    *(
        ("J20", json.dumps({"id": 3, "cmd": "message.list", "room": 42, **fields}), "bad_field")
        for fields in (
            {"after": -1},
            {"before": -1},
            {"limit": 0},
            {"limit": -5},
            {"after": 2**53},
            {"after": 1.5},
        )
    ),
    *(
        ("J19", json.dumps({"id": 3, "cmd": "user.send", "content": "a", "recipient": value}), code)
        for value, code in ((-1, "bad_field"), ({}, "bad_field"), ([], "bad_field"))
    ),
]


@pytest.mark.parametrize(
    ("row", "text", "code"),
    ROWS,
    ids=[f"{row}-{index}" for index, (row, _, _) in enumerate(ROWS)],
)
def test_a_bad_frame_is_refused_with_its_code(row: str, text: str, code: str) -> None:
    assert refuse(text).code is ErrorCode(code)


@pytest.mark.parametrize("body", ["", "   ", "\u200b\u2060\ufeff", "\u0301\u0302", "\n\t"])
def test_j14_a_body_that_shows_nothing_is_decoded_and_then_refused(body: str) -> None:
    command = CODEC.decode(send(body=body))
    assert isinstance(command, SendMessage)
    with pytest.raises(CommandError) as caught:
        check_body(command.body)
    assert caught.value.code is ErrorCode.EMPTY_BODY


@pytest.mark.parametrize(
    "body", ["x" * 8_001, "\U0001f469\u200d" * 4_000 + "x", "\U0001f469" * 8_000 + "\u200d"]
)
def test_j15_a_body_that_is_too_long_is_decoded_and_then_refused(body: str) -> None:
    command = CODEC.decode(send(body=body))
    assert isinstance(command, SendMessage)
    with pytest.raises(CommandError) as caught:
        check_body(command.body)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_j11_the_id_of_a_frame_is_the_commands_and_nothing_elses() -> None:
    assert CODEC.decode(send(id=777)).id == 777


def test_j20_a_limit_beyond_any_page_is_a_number_like_another() -> None:
    command = CODEC.decode('{"id":3,"cmd":"message.list","room":42,"limit":1000000}')
    assert command == ListMessages(id=3, room=42, limit=10**6)


def test_j6_a_pair_of_surrogates_is_one_character() -> None:
    command = CODEC.decode(send(body="\U0001f600"))
    assert isinstance(command, SendMessage)
    assert command.body == "\U0001f600"


def test_j7_a_backslash_before_u0000_is_no_nul() -> None:
    command = CODEC.decode(send(body="a\\u0000b"))
    assert isinstance(command, SendMessage)
    assert command.body == "a\\u0000b"


@pytest.mark.parametrize(
    "text",
    [
        send(body="\ud800"),
        send(body="a\x00b"),
        raw("9" * 5_000),
        raw("1e400"),
        send(sender=1),
        send(body=5),
        send(cmd="nope"),
        send(**{f"k{number}": 1 for number in range(MAX_KEYS)}),
    ],
)
def test_a_refusal_names_the_frame_wherever_its_id_can_be_read(text: str) -> None:
    assert refuse(text).command_id == 3


@pytest.mark.parametrize("identifier", ["0", "-1", "1.0", '"3"', "null", "true"])
def test_an_id_that_is_none_is_not_repeated(identifier: str) -> None:
    error = refuse(f'{{"id":{identifier},"cmd":"heartbeat"}}')
    assert (error.code, error.details, error.command_id) == (
        ErrorCode.BAD_FIELD,
        {"field": "id"},
        None,
    )


def test_a_refusal_names_the_field_that_does_not_fit() -> None:
    assert refuse(send(body=5)).details == {"field": "body"}
    assert refuse(send(room=...)).details == {"field": "room"}
    assert refuse('{"id":1,"cmd":"heartbeat","cmd":"connect"}').details == {"field": "cmd"}


def test_an_object_has_a_bounded_number_of_keys() -> None:
    assert len(load_object(json.dumps({str(n): n for n in range(MAX_KEYS)}))) == MAX_KEYS
    with pytest.raises(CommandError) as caught:
        load_object(json.dumps({"a": {str(n): n for n in range(MAX_KEYS + 1)}}))
    assert caught.value.code is ErrorCode.TOO_MANY


def test_the_deepest_frame_that_is_allowed() -> None:
    assert load_object(nested(MAX_DEPTH))


def test_brackets_in_strings_are_no_depth() -> None:
    text = json.dumps({"a": '[{"\\' * 100, "b\\": "]"})
    assert load_object(text) == json.loads(text)


# -- commands of a developer whose fields are not bounded --


class Draw(Command, frozen=True, kw_only=True, tag="draw"):
    shape: object = None
    points: tuple[dict[str, object], ...] = ()
    size: int = 0
    note: str | None = None


class Plot(Command, frozen=True, kw_only=True, tag="plot"):
    xs: list[ObjectId]
    ys: dict[str, tuple[ObjectId, float]]


DRAWING = Codec([Draw, Plot])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ('"shape":' + "[" * 16 + "]" * 16, "too_deep"),
        ('"points":[{"a":' + "[" * 14 + "]" * 14 + "}]", "too_deep"),
        ('"shape":9007199254740992', "bad_field"),
        ('"size":-9007199254740992', "bad_field"),
        ('"shape":1e400', "bad_field"),
        ('"shape":{"a":"\\u0000"}', "bad_text"),
        ('"shape":' + json.dumps({str(n): n for n in range(65)}), "too_many"),
    ],
)
def test_a_field_of_any_kind_is_held_to_the_same_bounds(fields: str, code: str) -> None:
    with pytest.raises(CommandError) as caught:
        DRAWING.decode(f'{{"id":3,"cmd":"draw",{fields}}}')
    assert caught.value.code is ErrorCode(code)


def test_a_field_of_any_kind_within_the_bounds_is_read() -> None:
    command = DRAWING.decode('{"id":3,"cmd":"draw","shape":[[{"a":1.5}]],"size":-5}')
    assert command == Draw(id=3, shape=[[{"a": 1.5}]], size=-5)


def test_a_float_is_finite() -> None:
    with pytest.raises(CommandError) as caught:
        DRAWING.decode('{"id":3,"cmd":"plot","xs":[1],"ys":{"a":[1,1e400]}}')
    assert caught.value.code is ErrorCode.BAD_FIELD


def test_only_commands_that_need_it_are_read_twice() -> None:
    assert DRAWING._open == {Draw}
    assert not CODEC._open


def test_a_map_that_its_type_bounds_may_have_many_keys() -> None:
    cursors = {f"room.{number}": ["e", number] for number in range(200)}
    command = CODEC.decode(json.dumps({"id": 1, "cmd": "connect", "cursors": cursors}))
    assert isinstance(command, Connect)
    assert len(command.cursors) == 200


# -- canonical frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", WIRE["commands"], ids=lambda row: row["frame"]["cmd"])
def test_a_canonical_command_is_read(row: dict[str, Any]) -> None:
    command = CODEC.decode(row["text"])
    assert json.loads(msgspec.json.encode(command)) == row["frame"]
    assert CODEC.decode(msgspec.json.encode(command).decode()) == command


@pytest.mark.parametrize("row", WIRE["bad"], ids=lambda row: row["text"][:40])
def test_a_canonical_mistake_is_told(row: dict[str, Any]) -> None:
    error = refuse(row["text"])
    assert {"id": error.command_id, "code": error.code.value} == row["error"]


@pytest.mark.parametrize("row", WIRE["replies"], ids=lambda row: row["text"])
def test_a_canonical_reply_is_written(row: dict[str, Any]) -> None:
    assert CODEC.encode_reply(Heartbeat(id=row["id"]), row["ok"]) == row["text"]


@pytest.mark.parametrize("row", WIRE["errors"], ids=lambda row: row["code"])
def test_a_canonical_error_is_written(row: dict[str, Any]) -> None:
    error = CommandError(ErrorCode(row["code"]), **row["details"])
    error.command_id = row["id"]
    assert CODEC.encode_error(error) == row["text"]


@pytest.mark.parametrize("row", WIRE["farewells"], ids=lambda row: row["code"])
def test_a_canonical_farewell_is_written(row: dict[str, Any]) -> None:
    assert CODEC.encode_farewell(CommandError(ErrorCode(row["code"]))) == row["text"]


@pytest.mark.parametrize("row", WIRE["pushes"], ids=lambda row: row["push"])
def test_a_canonical_push_is_written_and_read(row: dict[str, Any]) -> None:
    text = encode_push(row["push"], topic=row["topic"], seq=row["seq"], data=row["data"])
    assert text == row["text"]
    assert CODEC.encode_push(text) is text
    push = decode_push(text)
    assert (push.type, push.topic, push.seq) == (row["push"], row["topic"], row["seq"])
    assert json.loads(bytes(push.data)) == row["data"]


# -- any text --------------------------------------------------------------------------------------------------------


def assert_command_or_documented_error(text: str) -> None:
    try:
        command = CODEC.decode(text)
    except CommandError as error:
        assert_documented(error)
    else:
        assert type(command) in COMMANDS
        assert CODEC.decode(msgspec.json.encode(command).decode()) == command


def assert_documented(error: CommandError) -> None:
    assert isinstance(error.code, ErrorCode)
    assert json.loads(CODEC.encode_error(error))["id"] == error.command_id
    assert json.loads(CODEC.encode_farewell(error))["data"]["code"] == error.code.value


odd_texts = st.text(st.characters(codec=None)) | st.sampled_from(
    ["\ud800", "\x00", "\\u0000", "__proto__", "", "room.42", "room.42\n", MESSAGE_ID, "x" * 300]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | odd_texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(
    sorted({name for command in COMMANDS for name in command.__struct_encode_fields__})
)
frames = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(1, MAX_INTEGER) | scalars,
        "cmd": st.sampled_from(sorted(CODEC.commands)) | scalars,
    },
).flatmap(
    lambda head: st.dictionaries(field_names | odd_texts, values, max_size=4).map(
        lambda body: {**body, **head}
    )
)


@given(st.text(st.characters(codec=None)))
@settings(max_examples=300)
def test_any_text_gives_a_command_or_a_documented_error(text: str) -> None:
    assert_command_or_documented_error(text)


@given(values, st.booleans())
@settings(max_examples=300)
def test_any_json_gives_a_command_or_a_documented_error(value: object, ascii: object) -> None:
    assert_command_or_documented_error(json.dumps(value, ensure_ascii=bool(ascii)))


@given(frames, st.booleans())
@settings(max_examples=600)
def test_j21_any_frame_like_thing_gives_a_command_or_a_documented_error(
    frame: dict[str, object], ascii: object
) -> None:
    assert_command_or_documented_error(json.dumps(frame, ensure_ascii=bool(ascii)))


@given(frames, st.integers(0, 10**6), st.text(st.sampled_from('{}[]",:\\0eE-.un '), max_size=3))
@settings(max_examples=600)
def test_j21_any_damaged_frame_gives_a_command_or_a_documented_error(
    frame: dict[str, object], position: int, damage: str
) -> None:
    text = json.dumps(frame)
    position %= len(text) + 1
    assert_command_or_documented_error(text[:position] + damage + text[position + 1 :])


@given(
    st.integers(1, MAX_INTEGER),
    st.integers(1, MAX_INTEGER),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    st.uuids(),
)
def test_a_command_that_is_written_is_read_again(
    identifier: int, room: int, body: str, message_id: uuid.UUID
) -> None:
    command = SendMessage(id=identifier, room=room, body=body, client_message_id=message_id)
    assert CODEC.decode(msgspec.json.encode(command).decode()) == command


# -- how long it takes -----------------------------------------------------------------------------------------------

PATTERNS = {
    "brackets": lambda size: "[]" * (size // 2),
    "quotes": lambda size: '"' * size,
    "one open string": lambda size: '"' + "a" * size,
    "escapes in an open string": lambda size: '"' + "\\" * size,
    "escaped quotes": lambda size: '"' + '\\"' * (size // 2),
    "strings": lambda size: "[" + '"a",' * (size // 4),
    "backslashes": lambda size: "\\" * size,
    "numbers": lambda size: "[" + "1," * (size // 2) + "1]",
    "digits": lambda size: "9" * size,
    "keys": lambda size: "{" + '"a":1,' * (size // 6) + '"a":1}',
    "NULs": lambda size: send(body="\x00" * (size // 6)),
}


def fastest(text: str) -> float:
    """Return the processor's seconds that a text takes to be refused, at best: others may be busy too."""
    best = float("inf")
    for _ in range(7):
        begin = time.thread_time()
        refuse(text)
        best = min(best, time.thread_time() - begin)
    return best


@pytest.mark.parametrize("name", PATTERNS)
def test_the_scan_takes_one_token_per_character_at_most(name: str) -> None:
    """The tokens are disjoint, so the scan is linear if no token is searched for twice: next test."""
    text = PATTERNS[name](65_536)
    assert sum(len(token[0]) for token in codec_module._TOKEN.finditer(text)) <= len(text)


@pytest.mark.parametrize("name", PATTERNS)
def test_eight_times_the_text_takes_eight_times_as_long(name: str) -> None:
    small, large = fastest(PATTERNS[name](16_384)), fastest(PATTERNS[name](131_072))
    # Quadratic would be 64; what is too quick to be measured is quick enough.
    assert large < max(small * 24, J3_BOUND)


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, nested(MAX_DEPTH + 1), '{"a":' * 13_000]
)
def test_j3_deep_nesting_is_refused_within_its_bound(text: str) -> None:
    assert fastest(text) <= J3_BOUND
