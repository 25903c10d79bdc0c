"""What happened in a run, as values: what each device asked for, was told and showed, and what is stored in the end.

Times are seconds of one monotonic clock. A message is known by the `client_message_id` that its sender gave it.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

__all__ = [
    "Away",
    "Closed",
    "Deleted",
    "Fault",
    "History",
    "Member",
    "Opened",
    "Outcome",
    "Pointer",
    "Receipt",
    "Record",
    "Rewind",
    "Row",
    "Send",
    "Shown",
    "UserId",
    "digest",
]

#: A user's key as it goes over the wire (`djwsbridge.protocol.topics.wire_id`).
UserId = int | str


class Outcome(str, enum.Enum):
    """How a send ended for its sender."""

    OK = "ok"  # acknowledged, with a seq
    FAIL = "fail"  # refused: certainly not stored
    UNKNOWN = "unknown"  # the run ended before an answer came


class Send(msgspec.Struct, frozen=True, kw_only=True, tag="send"):
    """One message that a device was asked to send, through all its retries.

    Attributes:
        device: whose program sends; its sends to one room are in order.
        body: digest of the text.
        invoked: when the device was asked.
        completed: when it was told; None when it never was.
        seq: the number in the acknowledgement.
        code: the error code of a refusal.
    """

    device: str
    user: UserId
    room: int
    id: str
    body: str
    invoked: float
    completed: float | None = None
    outcome: Outcome = Outcome.UNKNOWN
    seq: int | None = None
    code: str | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """A device begins a list of a room: everything with a higher seq than `after` belongs to it."""

    device: str
    user: UserId
    room: int
    after: int
    at: float


class Shown(msgspec.Struct, frozen=True, kw_only=True, tag="shown"):
    """A device appended a message to its list of a room."""

    device: str
    room: int
    seq: int
    id: str
    sender: UserId | None
    body: str
    at: float


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """A device was told to stop: its list may be short, its last sends may stay without an answer."""

    device: str
    room: int
    at: float


class Receipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """A device was told how far a member has got."""

    device: str
    room: int
    user: UserId
    delivered_seq: int
    read_seq: int | None
    at: float


class Member(msgspec.Struct, frozen=True, kw_only=True, tag="member"):
    """A user was a member of a room.

    Attributes:
        since: from when on.
        since_seq: the room's newest seq when the membership began.
        until: when access had been lost; None for a member to the end.
        until_seq: the room's newest seq at that moment.
    """

    user: UserId
    room: int
    since: float = 0.0
    since_seq: int = 0
    until: float | None = None
    until_seq: int | None = None


class Deleted(msgspec.Struct, frozen=True, kw_only=True, tag="deleted"):
    """The account of a user was deleted: the messages stay, and have no sender any more."""

    user: UserId


class Away(msgspec.Struct, frozen=True, kw_only=True, tag="away"):
    """A device lost its connection, and when it was online again (None: never)."""

    device: str
    lost: float
    back: float | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """Something that was really done to the system, from `at` until `until`."""

    name: str
    detail: str
    at: float
    until: float


class Rewind(msgspec.Struct, frozen=True, kw_only=True, tag="rewind"):
    """The database was replaced by an older copy of itself.

    Attributes:
        since: when the copy was begun; what was acknowledged before is in it.
        copied: when the copy was complete; what is sent from then on is not in it.
        begun: when the copy began to replace the database.
        until: when it had; what is acknowledged from then on is kept.
        renewed: when every topic had a new epoch; None when no operator has asked for that.
    """

    since: float
    copied: float
    begun: float
    until: float
    renewed: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True, tag="row"):
    """A number of a room as it is stored in the end; `id` is None for an event that is no message."""

    room: int
    seq: int
    id: str | None = None
    sender: UserId | None = None
    body: str = ""


class Pointer(msgspec.Struct, frozen=True, kw_only=True, tag="pointer"):
    """How far a member has got, as it is stored in the end."""

    room: int
    user: UserId
    delivered_seq: int
    read_seq: int


Record = (
    Send
    | Opened
    | Shown
    | Closed
    | Receipt
    | Member
    | Deleted
    | Away
    | Fault
    | Rewind
    | Row
    | Pointer
)
Kind = TypeVar("Kind", bound=Record)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def digest(body: str) -> str:
    """Return what a history keeps of a text."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


class History:
    """All records of a run, in the order in which they were made."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = list(records)

    def __len__(self) -> int:
        return len(self.records)

    def add(self, record: Record) -> None:
        """Append a record."""
        self.records.append(record)

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """Yield the records of one kind."""
        return (record for record in self.records if isinstance(record, kind))

    def write(self, path: Path) -> None:
        """Keep the history as JSON lines, to be judged again."""
        path.write_bytes(_encoder.encode_lines(self.records))

    @classmethod
    def read(cls, path: Path) -> History:
        """Return a history that was kept."""
        return cls(_decoder.decode_lines(path.read_bytes()))
