"""Receipts: what was delivered to members, and how far they have read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from djwsbridge.chat import store
from djwsbridge.chat.names import room_id_of, room_topic
from djwsbridge.chat.services.access import room_seq
from djwsbridge.chat.values import ReceiptMoved, ReceiptPush
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.topics import wire_id
from djwsbridge.runtime import user_topic

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["LARGE_ROOM", "acknowledge", "describe_topics", "mark_read"]

LARGE_ROOM = 100  # members; in a larger room a message would cost as many pushes as it has readers
MAX_ACKS = 200  # topics of one `ack`, as many as a `connect` may have cursors


def acknowledge(*, actor: AbstractBaseUser, seqs: Mapping[str, int]) -> list[ReceiptPush]:
    """Note that a device of the actor has everything of some rooms up to a seq.

    Topics that are no rooms of the actor are passed over: one may have been left a moment ago.

    Args:
        actor: whose pointers move; never back.
        seqs: topic → seq.

    Returns:
        What is to be pushed; the caller does it, in measure.

    Raises:
        CommandError: `too_many`, or `bad_ack` when one of the rooms is not there yet; nothing moves.
    """
    if len(seqs) > MAX_ACKS:
        raise CommandError(ErrorCode.TOO_MANY, limit=MAX_ACKS)
    wanted = {room_id_of(topic): seq for topic, seq in seqs.items()}
    found = store.find_pointers(actor, wanted, large=LARGE_ROOM)
    tips = store.room_seqs(found)
    if any(wanted[room_id] > tips.get(room_id, 0) for room_id in found):
        raise CommandError(ErrorCode.BAD_ACK)
    moved = {
        room_id: pointers
        for room_id, pointers in found.items()
        if wanted[room_id] > pointers.delivered_seq
    }
    raised = {one.membership_id: wanted[key] for key, one in moved.items()}
    if raised and store.raise_delivered(raised) < len(raised):  # a room was left meanwhile
        left = store.find_pointers(actor, moved, large=LARGE_ROOM)
        moved = {room_id: one for room_id, one in moved.items() if room_id in left}
    return [
        push
        for key, one in moved.items()
        for push in _pushes(actor, key, one, delivered_seq=wanted[key], read_seq=one.read_seq)
    ]


def mark_read(*, actor: AbstractBaseUser, room_id: int, seq: int) -> tuple[int, list[ReceiptPush]]:
    """Move the actor's read pointer of a room forward, and the delivered pointer with it; never back.

    Returns:
        How far the actor has read, and what is to be pushed; the caller does it, in measure.

    Raises:
        CommandError: `not_found` when the actor is no member, `bad_field` for a negative seq,
            `bad_ack` for one that does not exist yet.
    """
    if seq < 0:
        raise CommandError(ErrorCode.BAD_FIELD, field="seq")
    pointers = store.find_pointers(actor, [room_id], large=LARGE_ROOM).get(room_id)
    if pointers is None:
        raise CommandError(ErrorCode.NOT_FOUND)
    if seq <= pointers.read_seq:
        return pointers.read_seq, []
    if seq > room_seq(room_id):
        raise CommandError(ErrorCode.BAD_ACK)
    if not store.raise_read(pointers.membership_id, seq):  # the room was left meanwhile
        raise CommandError(ErrorCode.NOT_FOUND)
    delivered_seq = max(pointers.delivered_seq, seq)
    return seq, _pushes(actor, room_id, pointers, delivered_seq=delivered_seq, read_seq=seq)


def describe_topics(
    *, asked: Sequence[tuple[AbstractBaseUser, Sequence[str]]]
) -> list[dict[str, dict[str, object]]]:
    """Return what clients that connect are told of their rooms besides what they have missed.

    Args:
        asked: who connects, and the topics that they listen to.

    Returns:
        For each of them topic → the receipts of all members, of those of the actor's rooms that are not large.
    """
    wanted = [(actor, set(map(room_id_of, topics))) for actor, topics in asked]
    return [
        {room_topic(room_id): {"receipts": receipts} for room_id, receipts in found.items()}
        for found in store.list_receipts(wanted, large=LARGE_ROOM)
    ]


def _pushes(
    actor: AbstractBaseUser,
    room_id: int,
    before: store.Pointers,
    *,
    delivered_seq: int,
    read_seq: int,
) -> list[ReceiptPush]:
    """Return who is to hear of moved pointers, and what.

    Of who hides how far they have read nothing is pushed to others at the moment of reading: it would tell them.
    """
    user = wire_id(actor.pk)
    whole = ReceiptMoved(room_id, user, delivered_seq, read_seq)
    if not before.is_large and not before.hides_read:
        return [ReceiptPush(room_topic(room_id), whole)]
    found = []
    if not before.is_large and delivered_seq > before.delivered_seq:
        found.append(ReceiptPush(room_topic(room_id), ReceiptMoved(room_id, user, delivered_seq)))
    if read_seq > before.read_seq:
        found.append(ReceiptPush(user_topic(actor.pk), whole))
    return found
