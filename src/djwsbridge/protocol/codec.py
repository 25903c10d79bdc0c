"""JSON text to frames and back: the v1 dialect.

Decoding is strict and quick: msgspec reads a valid frame straight into its class. Only a frame that msgspec refuses is
read a second time, slowly, to tell its sender precisely what is wrong with it. Any text gives a `Command` or a
`CommandError`, nothing else.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any, Union, cast

import msgspec

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER, Command, Push
from djwsbridge.protocol.text import check_storable

__all__ = ["SIGNAL", "Codec", "decode_push", "encode_push", "load_object", "read_push"]

#: The type of what code sends with `group_send` to the group of a user, as the first seed does.
SIGNAL = "signal"
MAX_DEPTH = 16
MAX_KEYS = 64  # in one object
MAX_TYPE_LENGTH = 100  # characters of a command's or a message's type

# A whole string (an unterminated one runs to the end, so that the scan stays linear) or one bracket outside of strings.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_ESCAPED_NUL = "\\u0000"
# Types of fields that hold no deeper value than their own classes say.
_BOUNDED = (
    msgspec.inspect.BoolType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.EnumType,
    msgspec.inspect.FloatType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.NoneType,
    msgspec.inspect.StrType,
    msgspec.inspect.TimeType,
    msgspec.inspect.UUIDType,
)
# Stands for a number that JSON readers disagree about.
_OUT_OF_RANGE = object()
_encoder = msgspec.json.Encoder()
_push_decoder = msgspec.json.Decoder(Push)


def encode_push(
    type: str,
    *,
    topic: str | None = None,
    epoch: str | None = None,
    seq: int | None = None,
    data: object,
) -> str:
    """Write a push as it goes over the wire.

    Args:
        type: what happened, such as `message.sent`.
        topic: where it was published, if anywhere.
        epoch: the life of the topic's log; the first push of a topic carries it.
        seq: its number in the topic, when it has one.
        data: the payload; a `msgspec.Raw` is taken as JSON text that is ready.
    """
    frame: dict[str, object] = {"push": type}
    if topic is not None:
        frame["topic"] = topic
    if epoch is not None:
        frame["epoch"] = epoch
    if seq is not None:
        frame["seq"] = seq
    frame["data"] = data
    return _encoder.encode(frame).decode()


def decode_push(text: str) -> Push:
    """Read a push that `encode_push` wrote, for a dialect that writes it in another way."""
    return _push_decoder.decode(text)


def read_push(text: str) -> Push | None:
    """Read a push that may come from anywhere; None when it is no frame that a client could read."""
    try:
        push = decode_push(text)
        msgspec.json.decode(push.data)  # which the decoder of pushes has passed over
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return push


class Codec:
    """The v1 dialect for a set of commands.

    Args:
        commands: the classes to be known, each with its own tag.
    """

    # The subprotocol that clients offer to speak this dialect.
    name = "djwsbridge.v1"

    def __init__(self, commands: Iterable[type[Command]]) -> None:
        # Tag on the wire → class.
        self.commands: Mapping[str, type[Command]] = {
            cast(str, command.__struct_config__.tag): command for command in commands
        }
        # Commands with fields that may hold anything: the decoder alone would let too much through.
        self._open = frozenset(
            command
            for command in self.commands.values()
            if any(_is_open(field.type) for field in _fields(command))
        )
        union = functools.reduce(operator.or_, self.commands.values())
        self._decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(
            cast(type[Command], Union[union])  # noqa: UP007  a union built at run time
        )

    def decode(self, text: str) -> Command:
        """Return the command that a text frame holds.

        Raises:
            CommandError: with the code of the first thing that is wrong, and the frame's id where it could be read.
        """
        try:
            command = self._decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._diagnose(text) from None
        if type(command) in self._open or _ESCAPED_NUL in text:
            try:
                load_object(text)
            except CommandError as error:
                error.command_id = command.id
                raise
        return command

    def encode_reply(self, command: Command, ok: object) -> str:
        """Write the answer to a command that succeeded."""
        return _encoder.encode({"id": command.id, "ok": ok}).decode()

    def encode_error(self, error: CommandError) -> str:
        """Write the answer to a command that failed."""
        return _encoder.encode(
            {"id": error.command_id, "error": {**_describe(error), "retryable": error.retryable}}
        ).decode()

    def encode_farewell(self, error: CommandError) -> str:
        """Write the error push that goes out before a 44xx close code."""
        return encode_push("error", data=_describe(error))

    def encode_push(self, text: str) -> str | None:
        """Return a push as this dialect writes it: this is the dialect that the engine carries."""
        return text

    def _diagnose(self, text: str) -> CommandError:
        """Say what is wrong with a frame that the decoder refused."""
        try:
            frame = _parse_object(text)
        except CommandError as error:
            return error
        try:
            _check_values(frame)
            diagnosis = self._diagnose_object(frame)
        except CommandError as error:
            diagnosis = error
        identifier = frame.get("id")
        if type(identifier) is int and 1 <= identifier <= MAX_INTEGER:
            diagnosis.command_id = identifier
        return diagnosis

    def _diagnose_object(self, frame: Mapping[str, Any]) -> CommandError:
        tag = frame.get("cmd")
        if tag is None:
            return CommandError(ErrorCode.BAD_FRAME, "The frame has no `cmd`.")
        if not isinstance(tag, str) or len(tag) > MAX_TYPE_LENGTH:
            return CommandError(ErrorCode.BAD_FIELD, field="cmd")
        command = self.commands.get(tag)
        if command is None:
            return CommandError(ErrorCode.UNKNOWN_TYPE)
        unknown = frame.keys() - set(command.__struct_encode_fields__) - {"cmd"}
        if unknown:
            return CommandError(ErrorCode.UNKNOWN_FIELD)
        return CommandError(ErrorCode.BAD_FIELD, field=_bad_field(command, frame))


def _fields(command: type[Command]) -> tuple[msgspec.inspect.Field, ...]:
    return cast(msgspec.inspect.StructType, msgspec.inspect.type_info(command)).fields


def _is_open(type_: msgspec.inspect.Type) -> bool:
    """Say whether a field can hold numbers or a depth that its type does not bound."""
    if isinstance(type_, msgspec.inspect.IntType):
        above = type_.ge is None and type_.gt is None
        return above or (type_.le is None and type_.lt is None)
    parts = _parts(type_)
    return any(map(_is_open, parts)) if parts else not isinstance(type_, _BOUNDED)


def _parts(type_: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, ...]:
    """Return the types that a type is made of; none for one that is whole."""
    if isinstance(type_, msgspec.inspect.Metadata):
        return (type_.type,)
    if isinstance(type_, msgspec.inspect.UnionType):
        return type_.types
    if isinstance(type_, msgspec.inspect.TupleType):
        return type_.item_types
    if isinstance(type_, msgspec.inspect.DictType):
        return (type_.key_type, type_.value_type)
    if isinstance(type_, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
        return (type_.item_type,)
    return ()


def _describe(error: CommandError) -> dict[str, object]:
    return {"code": error.code.value, "message": error.message, **error.details}


def _bad_field(command: type[Command], frame: Mapping[str, Any]) -> str:
    """Name the first field that does not fit its type."""
    for field in msgspec.structs.fields(command):
        if field.encode_name not in frame:
            if field.required:
                return field.encode_name
            continue
        try:
            msgspec.convert(frame[field.encode_name], field.type)
        except msgspec.ValidationError:
            return field.encode_name
    return "cmd"


def load_object(text: str) -> dict[str, Any]:
    """Read a JSON object from a stranger.

    Raises:
        CommandError: `bad_json`, `bad_frame`, `too_deep`, `too_many`, `bad_field` (a number that JSON readers disagree
            about) or `bad_text`.
    """
    value = _parse_object(text)
    _check_values(value)
    return value


def _parse_object(text: str) -> dict[str, Any]:
    """Read a JSON object; what its values may be is `_check_values`'s."""
    _check_depth(text)
    try:
        value = json.loads(
            text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        raise CommandError(ErrorCode.BAD_JSON) from None
    if not isinstance(value, dict):
        raise CommandError(ErrorCode.BAD_FRAME)
    return value


def _check_depth(text: str) -> None:
    """Refuse deep nesting before any recursive reader sees it."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise CommandError(ErrorCode.TOO_DEEP)
        elif token[0] in "]}":
            depth -= 1


def _check_values(value: object) -> None:
    """Refuse numbers and texts that cannot be kept and objects with too many keys, at any depth (which is bounded)."""
    if value is _OUT_OF_RANGE:
        raise CommandError(ErrorCode.BAD_FIELD, "A number is out of range.")
    if isinstance(value, str):
        check_storable(value)
    elif isinstance(value, dict):
        if len(value) > MAX_KEYS:
            raise CommandError(ErrorCode.TOO_MANY)
        for key, item in value.items():
            check_storable(key)
            _check_values(item)
    elif isinstance(value, list):
        for item in value:
            _check_values(item)


def _parse_int(digits: str) -> object:
    if len(digits) > len(str(-MAX_INTEGER)) or abs(int(digits)) > MAX_INTEGER:
        return _OUT_OF_RANGE
    return int(digits)


def _parse_float(digits: str) -> object:
    number = float(digits)
    return _OUT_OF_RANGE if math.isinf(number) else number


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's (RFC 8259, section 6)
