"""Frames for the fuzz runs: made by the grammar that the classes of the commands are, and then spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from msgspec import NODEFAULT
from msgspec import inspect as grammar

from djwsbridge.protocol.frames import MAX_INTEGER, Command

__all__ = ["frames_of", "plain_frames"]

Frame = dict[str, Any]

#: What real clients send most: the deeper a frame gets into the server, the more it finds.
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "room": st.integers(1, 3),
    "topic": st.sampled_from(["room.1", "room.2", "user.1", "user.2", "room.x"]),
    "recipient": st.integers(1, 3) | st.integers(1, 3).map(str),
    "seq": st.integers(0, 5),
    "limit": st.integers(1, 600),
}

odd_texts = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    [
        "\ud800",
        "\x00",
        "\\u0000",
        "__proto__",
        "",
        "room.1\n",
        "x" * 300,
        "é" * 9_000,
        "\u202eadmin",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0, -1, MAX_INTEGER, MAX_INTEGER + 1, 2**63, -0.0, 1e308])
    | st.floats()
    | odd_texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts, inner, max_size=4),
    max_leaves=8,
)
deep = st.integers(1, 40).map(lambda depth: json.loads("[" * depth + "]" * depth))
many_keys = st.integers(60, 210).map(lambda count: {f"room.{n}": n for n in range(count)})
odd_values = values | deep | many_keys


def _integers(kind: grammar.IntType) -> st.SearchStrategy[int]:
    return st.integers(
        kind.ge if kind.ge is not None else -MAX_INTEGER,
        kind.le if kind.le is not None else MAX_INTEGER,
    )


def _texts(kind: grammar.StrType) -> st.SearchStrategy[str]:
    if kind.pattern is not None:
        return st.from_regex(kind.pattern.removesuffix(r"(?!\n)"), fullmatch=True)
    characters = st.characters(codec="utf-8", exclude_characters="\x00")
    longest = min(kind.max_length or 200, 200)
    return st.text(characters, min_size=kind.min_length or 0, max_size=longest)


_STRATEGIES: dict[type[grammar.Type], Callable[[Any], st.SearchStrategy[Any]]] = {
    grammar.NoneType: lambda _: st.none(),
    grammar.IntType: _integers,
    grammar.StrType: _texts,
    grammar.UUIDType: lambda _: st.uuids().map(str),
    grammar.UnionType: lambda kind: st.one_of([_by(each) for each in kind.types]),
    grammar.TupleType: lambda kind: st.tuples(*(_by(each) for each in kind.item_types)).map(list),
    grammar.DictType: lambda kind: st.dictionaries(
        _by(kind.key_type), _by(kind.value_type), max_size=5
    ),
}


def _by(kind: grammar.Type) -> st.SearchStrategy[Any]:
    """Return what makes values of a type of a command's field."""
    return _STRATEGIES[type(kind)](kind)


def _frames_of(command: type[Command]) -> st.SearchStrategy[Frame]:
    """Return what makes good frames of one command."""
    info = grammar.type_info(command)
    assert isinstance(info, grammar.StructType)
    required: dict[str, st.SearchStrategy[Any]] = {"cmd": st.just(info.tag)}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in info.fields:
        is_required = field.default is NODEFAULT and field.default_factory is NODEFAULT
        usual = USUAL.get(field.encode_name)
        strategy = _by(field.type) if usual is None else usual | _by(field.type)
        (required if is_required else optional)[field.encode_name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def _spoilt(draw: st.DrawFn, good: st.SearchStrategy[Frame], names: list[str]) -> Frame:
    """Draw a frame with up to two mistakes in it."""
    frame = dict(draw(good))
    for _ in range(draw(st.integers(0, 2))):
        mistake = draw(st.sampled_from(["drop", "replace", "add", "swap"]))
        key = draw(st.sampled_from(sorted(frame) or ["id"]))
        if mistake == "drop":
            frame.pop(key, None)
        elif mistake == "replace":
            frame[key] = draw(odd_values)
        elif mistake == "add":
            frame[draw(st.sampled_from(names) | odd_texts)] = draw(odd_values)
        else:
            other = draw(st.sampled_from(sorted(frame) or ["id"]))
            frame[key], frame[other] = frame.get(other), frame.get(key)
    return frame


@st.composite
def _written(draw: st.DrawFn, frames: st.SearchStrategy[Frame]) -> str:
    """Draw a frame as text, in a third of the cases with damage to the text itself."""
    text = json.dumps(draw(frames), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 2)):
        return text
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 9])))
    noise = draw(
        st.text(st.sampled_from('{}[]",:\\0eE-.un '), max_size=4)
        | st.sampled_from([text, "NaN", "-Infinity", "1e400", "\\ud800", '"id":1,', "[" * 50])
    )
    return text[:start] + noise + text[end:]


def frames_of(commands: list[type[Command]]) -> st.SearchStrategy[str]:
    """Return what makes texts that are frames of these commands, or nearly."""
    good = st.one_of([_frames_of(command) for command in commands])
    names = sorted({name for command in commands for name in command.__struct_encode_fields__})
    return _written(_spoilt(good, [*names, "sender", "created", "chat", "__class__"]))


def plain_frames() -> st.SearchStrategy[str]:
    """Return what makes texts that are frames of the plain dialect, or nearly."""
    body = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
    good = st.fixed_dictionaries(
        {"message": body},
        optional={
            "type": st.sampled_from(["text", "image", "x"]),
            "recipient": USUAL["recipient"] | st.uuids().map(str),
            "meta": values,
        },
    )
    return _written(_spoilt(good, ["content", "message", "sender", "recipient", "type", "id"]))
