"""What the chat tells the outside of rooms and messages: frozen values, encoded as they are."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import msgspec

__all__ = [
    "MemberChange",
    "Members",
    "MessagePage",
    "MessageView",
    "PageView",
    "ReadView",
    "RoomJoined",
    "RoomKind",
    "RoomLeft",
    "RoomList",
    "RoomView",
    "UserRef",
]


class RoomKind(str, enum.Enum):
    """A group that anybody may join, or the direct room of two people (or of one, with notes)."""

    GROUP = "group"
    DIRECT = "direct"


class UserRef(msgspec.Struct, frozen=True):
    """A user as others see them; `id` is None when the account was deleted."""

    id: int | str | None
    name: str


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its readers see it."""

    room: int
    seq: int
    sender: UserRef
    body: str
    created: datetime
    client_message_id: uuid.UUID


class RoomView(msgspec.Struct, frozen=True, kw_only=True):
    """A room as one user sees it; who is not a member sees no number and no message."""

    id: int
    slug: str
    title: str
    kind: RoomKind
    url: str
    is_member: bool
    last_seq: int
    read_seq: int
    unread: int
    peer: UserRef | None
    last_message: MessageView | None


class MessagePage(msgspec.Struct, frozen=True):
    """A part of a room's history, ascending by seq, and the room's newest seq."""

    messages: list[MessageView]
    last_seq: int


class ReadView(msgspec.Struct, frozen=True):
    """How far a member has read."""

    read_seq: int


class Members(msgspec.Struct, frozen=True):
    """The members of a room."""

    members: list[UserRef]


class RoomList(msgspec.Struct, frozen=True):
    """A user's rooms and the groups that they may join."""

    rooms: list[RoomView]


class PageView(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of the chat is opened with; `room` is None on the list of rooms."""

    user: UserRef
    rooms: list[RoomView]
    room: RoomView | None
    messages: list[MessageView]
    last_seq: int
    members: list[UserRef]


class RoomJoined(msgspec.Struct, frozen=True):
    """For a user's own devices: they are a member of this room now."""

    room: RoomView


class RoomLeft(msgspec.Struct, frozen=True):
    """For a user's own devices: they are no member of this room any more."""

    room: int


class MemberChange(msgspec.Struct, frozen=True):
    """For a room's members: this user joined or left."""

    room: int
    user: UserRef
