"""Queries about what was delivered to members and what they have read: pointers that only grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from django.db.models import Case, Exists, OuterRef, QuerySet, Value, When
from django.db.models.functions import Greatest

from djwsbridge.chat.models import Membership, Profile
from djwsbridge.chat.store.database import rows_of
from djwsbridge.chat.values import Receipt
from djwsbridge.protocol.frames import MAX_INTEGER
from djwsbridge.protocol.topics import wire_id
from djwsbridge.transactions import statement_in

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["Pointers", "find_pointers", "list_receipts", "raise_delivered", "raise_read"]


class Pointers(msgspec.Struct, frozen=True, kw_only=True):
    """How far a member is in a room, and what others are told of it.

    Attributes:
        is_large: the room has more members than receipts are told in.
        hides_read: the member does not want others to see how far they have read.
    """

    membership_id: int
    delivered_seq: int
    read_seq: int
    is_large: bool
    hides_read: bool


def find_pointers(
    actor: AbstractBaseUser, room_ids: Iterable[int], *, large: int
) -> dict[int, Pointers]:
    """Return an actor's pointers by room; rooms that they are no member of are left out.

    Args:
        actor: whose.
        room_ids: of which rooms.
        large: a room with more members is a large one.
    """
    possible = {room_id for room_id in room_ids if room_id <= MAX_INTEGER}
    rows = _annotated(rows_of(Membership).filter(user_id=actor.pk, room_id__in=possible), large)
    return {
        row.room_id: Pointers(
            membership_id=row.id,
            delivered_seq=row.delivered_seq,
            read_seq=row.read_seq,
            is_large=row.is_large,
            hides_read=row.hides_read,
        )
        for row in rows
    }


def raise_delivered(seqs: Mapping[int, int]) -> int:
    """Move the delivered pointer of each membership forward, never back; return how many memberships there are."""
    seq = Case(*(When(id=key, then=Value(seq)) for key, seq in seqs.items()))
    rows = rows_of(Membership).filter(id__in=seqs.keys())
    with statement_in(rows.db):
        return rows.update(delivered_seq=Greatest("delivered_seq", seq))


def raise_read(membership_id: int, seq: int) -> bool:
    """Move the read pointer, and the delivered pointer with it, forward, never back.

    Returns:
        Whether there is such a membership.
    """
    rows = rows_of(Membership).filter(id=membership_id)
    moved = {name: Greatest(name, Value(seq)) for name in ("read_seq", "delivered_seq")}
    with statement_in(rows.db):
        return rows.update(**moved) > 0


def list_receipts(
    asked: Sequence[tuple[AbstractBaseUser, Collection[int]]], *, large: int
) -> list[dict[int, list[Receipt]]]:
    """Return the receipts of all members by room, of those rooms of each actor that are not large ones.

    Args:
        asked: actors, and the rooms that each wants to hear of.
        large: a room with more members is a large one.
    """
    actors = {actor.pk for actor, _ in asked}
    rooms = {room_id for _, room_ids in asked for room_id in room_ids if room_id <= MAX_INTEGER}
    theirs = rows_of(Membership).filter(user_id__in=actors, room_id__in=rooms)
    small = theirs.annotate(is_large=_is_large(large)).filter(is_large=False).values("room_id")
    members = rows_of(Membership).filter(room_id__in=small).annotate(hides_read=_hides_read())
    columns = ("room_id", "user_id", "delivered_seq", "read_seq", "hides_read")
    found: defaultdict[int, _RoomReceipts] = defaultdict(_RoomReceipts)
    for room_id, *member in members.order_by("id").values_list(*columns):
        found[room_id].add(*member)
    return [
        {
            room_id: found[room_id].seen_by(actor.pk)
            for room_id in room_ids
            if room_id in found and actor.pk in found[room_id]
        }
        for actor, room_ids in asked
    ]


class _RoomReceipts:
    """The receipts of a room's members, of which not everybody sees the same."""

    def __init__(self) -> None:
        # As those see them who may see all; and the place of each member's, by key.
        self._receipts: list[Receipt] = []
        self._places: dict[Any, int] = {}
        # Keys of those who do not want others to see how far they have read.
        self._hiding: set[Any] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def add(self, key: Any, delivered_seq: int, read_seq: int, hides_read: bool) -> None:  # noqa: FBT001
        self._places[key] = len(self._receipts)
        self._receipts.append(Receipt(wire_id(key), delivered_seq, read_seq))
        if hides_read:
            self._hiding.add(key)

    def seen_by(self, reader: object) -> list[Receipt]:
        """Return them as a member sees them: nearly always everybody the same list."""
        hidden = self._hiding - {reader}
        if not hidden:
            return self._receipts
        receipts = list(self._receipts)
        for place in map(self._places.__getitem__, hidden):
            receipts[place] = Receipt(receipts[place].user, receipts[place].delivered_seq)
        return receipts


def _annotated(rows: QuerySet[Membership], large: int) -> QuerySet[Any]:
    return rows.annotate(is_large=_is_large(large), hides_read=_hides_read())


def _is_large(large: int) -> Exists:
    others = rows_of(Membership).filter(room_id=OuterRef("room_id")).order_by("id")
    return Exists(others[large : large + 1])


def _hides_read() -> Exists:
    return Exists(rows_of(Profile).filter(user_id=OuterRef("user_id"), read_receipts=False))
