"""What must hold of a history: one check for each promise.

Each check is a function with the name of what must hold; it yields a sentence for every violation it finds.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from djwsbridge.testing.history import (
    Closed,
    Deleted,
    History,
    Member,
    Opened,
    Outcome,
    Pointer,
    Receipt,
    Row,
    Send,
    Shown,
    UserId,
)

__all__ = ["CHECKS", "Facts"]


class Facts:
    """A history, arranged for the checks."""

    def __init__(self, history: History, revocation_grace: float) -> None:
        self.history = history
        self.revocation_grace = revocation_grace
        self.sends = {send.id: send for send in history.of(Send)}
        self.rows = list(history.of(Row))
        # What is stored under each id, and where; more than one row is what a check is for.
        self.stored: Mapping[str, list[Row]] = _group(
            (row for row in self.rows if row.id is not None), lambda row: row.id
        )
        self.at = {(row.room, row.seq): row for row in self.rows}
        self.messages: dict[int, list[int]] = defaultdict(list)
        for row in sorted(self.rows, key=lambda row: row.seq):
            if row.id is not None:
                self.messages[row.room].append(row.seq)
        self.top: dict[int, int] = defaultdict(int)
        for row in self.rows:
            self.top[row.room] = max(self.top[row.room], row.seq)
        self.members = _group(history.of(Member), lambda member: (member.user, member.room))
        self.deleted = {record.user for record in history.of(Deleted)}
        self.closed = {(record.device, record.room) for record in history.of(Closed)}
        self.lists = list(_lists(history))

    def is_name_of(self, stored: UserId | None, user: UserId | None) -> bool:
        """Say whether the stored sender is this user; of a user whose account was deleted it may be None."""
        if stored is None or user is None:
            return stored == user or (stored or user) in self.deleted
        return stored == user

    def row_of(self, id: str) -> Row | None:
        """Return what is stored under an id, if anything is."""
        return next(iter(self.stored.get(id, ())), None)


class _List:
    """What one device showed of one room, from one `Opened` on."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.shown: list[Shown] = []

    def __str__(self) -> str:
        return f"{self.opened.device} in room {self.opened.room}"


def _lists(history: History) -> Iterator[_List]:
    """Yield every list, in the order in which they were begun."""
    present: dict[tuple[str, int], _List] = {}
    for record in history.records:
        if isinstance(record, Opened):
            begun = present[record.device, record.room] = _List(record)
            yield begun
        elif isinstance(record, Shown):
            present[record.device, record.room].shown.append(record)


def _group(records: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    grouped: dict[Any, list[Any]] = defaultdict(list)
    for record in records:
        grouped[key(record)].append(record)
    return dict(grouped)


# What is stored


def acked_is_stored(facts: Facts) -> Iterator[str]:
    """An acknowledged message is stored, where and as its sender was told."""
    for send in facts.sends.values():
        if send.outcome is not Outcome.OK:
            continue
        rows = facts.stored.get(send.id, [])
        if not rows:
            yield f"{send.id} was acknowledged as {send.room}.{send.seq} and is not stored."
        elif (send.room, send.seq) not in {(row.room, row.seq) for row in rows}:
            yield f"{send.id} was acknowledged as {send.room}.{send.seq}, stored elsewhere."


def stored_once(facts: Facts) -> Iterator[str]:
    """Nothing is stored twice."""
    for what, rows in facts.stored.items():
        if len(rows) > 1:
            places = ", ".join(f"{row.room}.{row.seq}" for row in rows)
            yield f"{what} is stored {len(rows)} times: {places}."


def nothing_phantom(facts: Facts) -> Iterator[str]:
    """What is stored was sent, by that user, to that room, in these words."""
    for row in facts.rows:
        if row.id is None:
            continue
        send = facts.sends.get(row.id)
        if send is None:
            yield f"{row.room}.{row.seq} ({row.id}) was sent by nobody."
        elif (send.room, send.body) != (row.room, row.body) or not facts.is_name_of(
            row.sender, send.user
        ):
            yield f"{row.room}.{row.seq} ({row.id}) is not what {send.device} sent."


def sent_by_members(facts: Facts) -> Iterator[str]:
    """What is stored was sent by a member: nothing of a former member has a number above their leaving."""
    for row in facts.rows:
        send = facts.sends.get(row.id or "")
        if send is None:
            continue
        intervals = facts.members.get((send.user, row.room), [])
        if not any(_covers(member, row.seq) for member in intervals):
            yield f"{send.device} sent {row.room}.{row.seq} ({row.id}), and was no member there."


def _covers(member: Member, seq: int) -> bool:
    """Say whether a number was given out during a membership."""
    return member.since_seq < seq and (member.until_seq is None or seq <= member.until_seq)


def refused_is_not_stored(facts: Facts) -> Iterator[str]:
    """What was refused is not stored."""
    for send in facts.sends.values():
        if send.outcome is Outcome.FAIL and send.id in facts.stored:
            yield f"{send.id} was refused ({send.code}) and is stored."


def every_send_answered(facts: Facts) -> Iterator[str]:
    """No send vanishes: each was acknowledged or refused, unless its device was told to stop."""
    for send in facts.sends.values():
        if send.outcome is Outcome.UNKNOWN and (send.device, send.room) not in facts.closed:
            yield f"{send.id} of {send.device} never had an answer."


def dense_seq(facts: Facts) -> Iterator[str]:
    """The numbers of a room are 1, 2, 3 … without a hole, each given once."""
    for room, rows in _group(facts.rows, lambda row: row.room).items():
        counts = Counter(row.seq for row in rows)
        for seq in range(1, max(counts) + 1):
            if counts[seq] != 1:
                yield f"{room}.{seq} exists {counts[seq]} times."


# Order


def real_time_order(facts: Facts) -> Iterator[str]:
    """Who sends after something was acknowledged, or was seen, comes after it."""
    known: dict[str, float] = {
        send.id: send.completed
        for send in facts.sends.values()
        if send.outcome is Outcome.OK and send.completed is not None
    }
    for shown in facts.history.of(Shown):
        known[shown.id] = min(shown.at, known.get(shown.id, shown.at))
    for room, rows in _group(facts.rows, lambda row: row.room).items():
        earliest, who = float("inf"), ""
        for row in sorted(rows, key=lambda row: -row.seq):
            send = facts.sends.get(row.id or "")
            if send is None:
                continue
            if earliest < send.invoked:
                yield f"{room}.{row.seq} was sent after {who} was known, and comes before it."
            if known.get(send.id, earliest) < earliest:
                earliest, who = known[send.id], f"{room}.{row.seq}"


def sender_order(facts: Facts) -> Iterator[str]:
    """What one device sends to one room keeps its order."""
    groups = _group(facts.sends.values(), lambda send: (send.device, send.room))
    for (device, room), sends in groups.items():
        newest = 0
        for send in sorted(sends, key=lambda send: send.invoked):
            row = facts.row_of(send.id)
            if row is None or row.room != room:
                continue
            if row.seq < newest:
                yield f"{device} sent {room}.{row.seq} after {room}.{newest}."
            newest = max(newest, row.seq)


# What is shown


def shown_is_stored(facts: Facts) -> Iterator[str]:
    """What is shown is what is stored under that number."""
    for shown in facts.history.of(Shown):
        row = facts.at.get((shown.room, shown.seq))
        if row is None:
            yield f"{shown.device} showed {shown.room}.{shown.seq}, which is not stored."
        elif (row.id, row.body) != (shown.id, shown.body) or not facts.is_name_of(
            row.sender, shown.sender
        ):
            yield f"{shown.device} showed {shown.room}.{shown.seq} with other content."


def shown_after_sent(facts: Facts) -> Iterator[str]:
    """Nobody shows a message before its sender was asked to send it."""
    for shown in facts.history.of(Shown):
        send = facts.sends.get(shown.id)
        if send is not None and shown.at < send.invoked:
            yield f"{shown.device} showed {shown.room}.{shown.seq} before it was sent."


def shown_once(facts: Facts) -> Iterator[str]:
    """No list holds a message twice."""
    for one in facts.lists:
        for what, count in Counter(shown.id for shown in one.shown).items():
            if count > 1:
                yield f"{one} showed {what} {count} times."


def shown_ascending(facts: Facts) -> Iterator[str]:
    """Every list only grows at its end."""
    for one in facts.lists:
        for before, after in itertools.pairwise(one.shown):
            if after.seq < before.seq:
                yield f"{one} showed {after.seq} after {before.seq}."


def shown_without_hole(facts: Facts) -> Iterator[str]:
    """Between the first and the last message of a list none is missing."""
    for one in facts.lists:
        last = max((shown.seq for shown in one.shown), default=0)
        for seq in _missing(facts, one):
            if seq < last:
                yield f"{one} showed {last} and never {seq}."


def shown_to_the_end(facts: Facts) -> Iterator[str]:
    """Who is a member to the end has everything in the end."""
    last_lists = {(one.opened.device, one.opened.room): one for one in facts.lists}
    for place, one in last_lists.items():
        member = facts.members.get((one.opened.user, one.opened.room), [])
        if place in facts.closed or not member or member[-1].until is not None:
            continue
        last = max((shown.seq for shown in one.shown), default=0)
        missing = [seq for seq in _missing(facts, one) if seq > last]
        if missing:
            yield f"{one} ends at {last}; {len(missing)} more are stored."


def _missing(facts: Facts, one: _List) -> Iterator[int]:
    shown = {shown.seq for shown in one.shown}
    for seq in facts.messages.get(one.opened.room, ()):
        if seq > one.opened.after and seq not in shown:
            yield seq


def shown_to_members(facts: Facts) -> Iterator[str]:
    """Nobody is shown what came after they had lost access."""
    for one in facts.lists:
        intervals = facts.members.get((one.opened.user, one.opened.room), [])
        for shown in one.shown:
            if not any(_may_see(member, shown, facts.revocation_grace) for member in intervals):
                yield f"{one} showed {shown.seq} without access."


def _may_see(member: Member, shown: Shown, grace: float) -> bool:
    if shown.at < member.since:
        return False
    if member.until is None or shown.at <= member.until + grace:
        return True
    return member.until_seq is not None and shown.seq <= member.until_seq


# Receipts


def receipts_only_grow(facts: Facts) -> Iterator[str]:
    """What a device is told of how far a member has got never goes back, and is what is stored in the end, or less."""
    known: dict[tuple[str, int, UserId], tuple[int, int]] = {}
    final = {(pointer.room, pointer.user): pointer for pointer in facts.history.of(Pointer)}
    for receipt in facts.history.of(Receipt):
        place = (receipt.device, receipt.room, receipt.user)
        delivered, read = known.get(place, (0, 0))
        if receipt.delivered_seq < delivered or (receipt.read_seq or read) < read:
            yield f"{receipt.device} saw {receipt.user} go back in room {receipt.room}."
        known[place] = (
            max(delivered, receipt.delivered_seq),
            max(read, receipt.read_seq or read),
        )
        stored = final.get((receipt.room, receipt.user))
        if stored is not None and (
            receipt.delivered_seq > stored.delivered_seq
            or (receipt.read_seq or 0) > stored.read_seq
        ):
            yield f"{receipt.device} saw {receipt.user} further than is stored."


def receipts_in_bounds(facts: Facts) -> Iterator[str]:
    """Read ≤ delivered ≤ seq, and one pointer for each member."""
    for receipt in facts.history.of(Receipt):
        top = facts.top[receipt.room]
        if not (receipt.read_seq or 0) <= receipt.delivered_seq <= top:
            yield f"{receipt.device} saw {receipt.user} at {receipt.delivered_seq} of {top}."
    pointers = list(facts.history.of(Pointer))
    for pointer in pointers:
        top = facts.top[pointer.room]
        if not pointer.read_seq <= pointer.delivered_seq <= top:
            yield f"{pointer.user} stands at {pointer.delivered_seq} of {pointer.room}.{top}."
    for place, count in Counter((one.room, one.user) for one in pointers).items():
        if count > 1:
            yield f"There are {count} pointers of user {place[1]} in room {place[0]}."


_ALL = (
    acked_is_stored,
    stored_once,
    nothing_phantom,
    sent_by_members,
    refused_is_not_stored,
    every_send_answered,
    dense_seq,
    real_time_order,
    sender_order,
    shown_is_stored,
    shown_after_sent,
    shown_once,
    shown_ascending,
    shown_without_hole,
    shown_to_the_end,
    shown_to_members,
    receipts_only_grow,
    receipts_in_bounds,
)
#: Name → check, in the order in which they are reported.
CHECKS: Mapping[str, Callable[[Facts], Iterator[str]]] = {check.__name__: check for check in _ALL}
