"""What a request may hold: one class decodes it, checks it and says what it means."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import MAX_INTEGER

__all__ = [
    "ChangeMe",
    "CreateRoom",
    "Input",
    "ListMessages",
    "ListRooms",
    "Nothing",
    "OpenDirect",
    "SendMessage",
    "read",
]

Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]

#: Up to 200 numbers.
IDS_PATTERN = r"^[0-9]{1,16}(,[0-9]{1,16}){0,199}$(?!\n)"
NUMBER = re.compile("[0-9]{1,16}")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body, or the query, of a request."""


Fields = TypeVar("Fields", bound=Input)


class Nothing(Input, frozen=True, kw_only=True):
    """A request that says everything by its address."""


class ChangeMe(Input, frozen=True, kw_only=True):
    """Let others see how far the user has read, or not."""

    read_receipts: bool


class CreateRoom(Input, frozen=True, kw_only=True):
    """Make a group with this title."""

    title: str


class OpenDirect(Input, frozen=True, kw_only=True):
    """Open the direct room with the user of this id."""

    user: int | str


class SendMessage(Input, frozen=True, kw_only=True):
    """Store a message; a retry with the same `client_message_id` is harmless."""

    body: str
    client_message_id: uuid.UUID


class ListRooms(Input, frozen=True, kw_only=True):
    """List the rooms; with `ids`, numbers with commas between them, only these."""

    ids: int | Annotated[str, msgspec.Meta(pattern=IDS_PATTERN)] | None = None

    @property
    def room_ids(self) -> list[int] | None:
        """Return the ids; None when all rooms are wanted."""
        return None if self.ids is None else [int(text) for text in str(self.ids).split(",")]


class ListMessages(Input, frozen=True, kw_only=True):
    """Return the newest messages, or those before or after a seq."""

    before: Seq | None = None
    after: Seq | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)] = 50


def read(kind: type[Fields], fields: Mapping[str, object], *, is_query: bool = False) -> Fields:
    """Return the fields of a request as one value.

    Args:
        kind: the class to read.
        fields: what came in.
        is_query: every field is a text, as in an address; numbers are read from it.

    Raises:
        CommandError: `unknown_field` or `bad_field`.
    """
    if fields.keys() - set(kind.__struct_fields__):
        raise CommandError(ErrorCode.UNKNOWN_FIELD)
    try:
        return msgspec.convert(_read_numbers(fields) if is_query else dict(fields), kind)
    except msgspec.ValidationError as error:
        # "… - at `$.body`", or "Object missing required field `body`": the last quoted name.
        field = str(error).rsplit("`", 2)[-2].removeprefix("$.")
        raise CommandError(ErrorCode.BAD_FIELD, field=field) from None


def _read_numbers(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of an address with its plain numbers read; any other text stays one."""
    return {
        name: int(text) if isinstance(text, str) and NUMBER.fullmatch(text) else text
        for name, text in fields.items()
    }
