"""Queries about what was delivered to members and what they have read: pointers that only grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

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
    actor: AbstractBaseUser, room_ids: Iterable[int], *, large: int
) -> dict[int, list[Receipt]]:
    """Return the receipts of the members of each of the actor's rooms that is not a large one."""
    mine = Membership.objects.filter(user_id=actor.pk, room_id__in=set(room_ids))
    rooms = _annotated(mine, large).filter(is_large=False).values("room_id")
    found: dict[int, list[Receipt]] = {}
    for row in _annotated(Membership.objects.filter(room_id__in=rooms), large).order_by("id"):
        shows = row.user_id == actor.pk or not row.hides_read
        read_seq = row.read_seq if shows else msgspec.UNSET
        receipt = Receipt(wire_id(row.user_id), row.delivered_seq, read_seq)
        found.setdefault(row.room_id, []).append(receipt)
    return found


def _annotated(rows: QuerySet[Membership], large: int) -> QuerySet[Any]:
    others = Membership.objects.filter(room_id=OuterRef("room_id")).order_by("id")
    hidden = Profile.objects.filter(user_id=OuterRef("user_id"), read_receipts=False)
    return rows.annotate(is_large=Exists(others[large : large + 1]), hides_read=Exists(hidden))
