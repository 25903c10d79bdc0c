"""Queries about what was delivered to members and what they have read: pointers that only grow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from django.db.models import Case, Exists, OuterRef, QuerySet, Value, When
from django.db.models.functions import Greatest

from djwsbridge.chat.models import Membership, Profile
from djwsbridge.chat.store.users import wire_id
from djwsbridge.chat.values import Receipt
from djwsbridge.protocol.frames import MAX_INTEGER

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
    rows = _annotated(Membership.objects.filter(user_id=actor.pk, room_id__in=possible), large)
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


def raise_delivered(seqs: Mapping[int, int]) -> None:
    """Move the delivered pointer of each membership forward, never back, in one statement."""
    seq = Case(*(When(id=key, then=Value(seq)) for key, seq in seqs.items()))
    Membership.objects.filter(id__in=seqs.keys()).update(
        delivered_seq=Greatest("delivered_seq", seq)
    )


def raise_read(membership_id: int, seq: int) -> None:
    """Move the read pointer, and the delivered pointer with it, forward; never back."""
    Membership.objects.filter(id=membership_id, read_seq__lt=seq).update(
        read_seq=seq, delivered_seq=Greatest("delivered_seq", Value(seq))
    )


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
    theirs = Membership.objects.filter(user_id__in=actors, room_id__in=rooms)
    small = theirs.annotate(is_large=_is_large(large)).filter(is_large=False).values("room_id")
    members = Membership.objects.filter(room_id__in=small).annotate(hides_read=_hides_read())
    columns = ("room_id", "user_id", "delivered_seq", "read_seq", "hides_read")
    found: dict[int, list[_Member]] = {}
    for room_id, *member in members.order_by("id").values_list(*columns):
        found.setdefault(room_id, []).append(_Member(*member))
    return [
        {
            room_id: receipts
            for room_id in room_ids
            if (receipts := _receipts(found.get(room_id, ()), actor.pk))
        }
        for actor, room_ids in asked
    ]


class _Member(NamedTuple):
    """How far a member is in a room."""

    user_id: Any
    delivered_seq: int
    read_seq: int
    hides_read: bool


def _receipts(members: Sequence[_Member], reader: object) -> list[Receipt]:
    """Return the receipts of a room as one of its members sees them; none for who is no member."""
    if all(member.user_id != reader for member in members):
        return []
    return [
        Receipt(
            wire_id(member.user_id),
            member.delivered_seq,
            msgspec.UNSET if member.hides_read and member.user_id != reader else member.read_seq,
        )
        for member in members
    ]


def _annotated(rows: QuerySet[Membership], large: int) -> QuerySet[Any]:
    return rows.annotate(is_large=_is_large(large), hides_read=_hides_read())


def _is_large(large: int) -> Exists:
    others = Membership.objects.filter(room_id=OuterRef("room_id")).order_by("id")
    return Exists(others[large : large + 1])


def _hides_read() -> Exists:
    return Exists(Profile.objects.filter(user_id=OuterRef("user_id"), read_receipts=False))
