"""What the chat tells the outside of rooms and messages: frozen values, encoded as they are."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime, timezone

import msgspec

__all__ = [
    "LastSeen",
    "Me",
    "MemberChange",
    "Members",
    "MembersSeen",
    "MessagePage",
    "MessageView",
    "PageView",
    "ReadView",
    "Receipt",
    "ReceiptMoved",
    "ReceiptPush",
    "RoomJoined",
    "RoomKind",
    "RoomLeft",
    "RoomList",
    "RoomView",
    "Typing",
    "UserRef",
]


# Before any message.
NEVER = datetime.min.replace(tzinfo=timezone.utc)


class RoomKind(str, enum.Enum):
    """A group that anybody may join, or the direct room of two people (or of one, with notes)."""

    GROUP = "group"
    DIRECT = "direct"


class UserRef(msgspec.Struct, frozen=True):
    """A user as others see them; `id` is None when the account was deleted."""

    id: int | str | None
    name: str


class Me(msgspec.Struct, frozen=True):
    """A user as they see themselves; `read_receipts`: whether others see how far they have read."""

    id: int | str | None
    name: str
    read_receipts: bool


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

    @property
    def last_activity(self) -> datetime:
        """When the last message was written, to sort by; long ago when there is none."""
        return self.last_message.created if self.last_message else NEVER


class MessagePage(msgspec.Struct, frozen=True):
    """A part of a room's history, ascending by seq; the room's newest seq; whether there is more in that direction."""

    messages: list[MessageView]
    last_seq: int
    more: bool


class ReadView(msgspec.Struct, frozen=True):
    """How far a member has read."""

    read_seq: int


class Receipt(msgspec.Struct, frozen=True):
    """What a member of a room has; `read_seq` is left out when it is not for the reader's eyes."""

    user: int | str | None
    delivered_seq: int
    read_seq: int | msgspec.UnsetType = msgspec.UNSET


class ReceiptMoved(msgspec.Struct, frozen=True):
    """For a room's members, or a user's own devices: a member has got further."""

    room: int
    user: int | str | None
    delivered_seq: int
    read_seq: int | msgspec.UnsetType = msgspec.UNSET


class ReceiptPush(msgspec.Struct, frozen=True):
    """A receipt on its way to those who listen to a topic."""

    topic: str
    receipt: ReceiptMoved


class Typing(msgspec.Struct, frozen=True):
    """For a room's members: this user is writing; not worth remembering after a few seconds."""

    room: int
    user: UserRef


class Members(msgspec.Struct, frozen=True):
    """The members of a room, the first thousand of them; `count` is how many there are."""

    members: list[UserRef]
    count: int


class LastSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a room; `last_seen` is None for who is online, or was never seen to leave."""

    id: int | str | None
    name: str
    online: bool
    last_seen: datetime | None


class MembersSeen(msgspec.Struct, frozen=True):
    """The members of a room, the first thousand, and when they were last here; `count` is how many there are."""

    members: list[LastSeen]
    count: int


class RoomList(msgspec.Struct, frozen=True):
    """A user's rooms and the groups that they may join; `more` says that there are more such groups than are listed."""

    rooms: list[RoomView]
    more: bool


class PageView(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of the chat is opened with; `room` is None on the list of rooms."""

    user: Me
    rooms: list[RoomView]
    more_rooms: bool
    room: RoomView | None
    messages: list[MessageView]
    last_seq: int
    members: list[UserRef]
    member_count: int


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
