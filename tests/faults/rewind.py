"""Judge a history in which the database forgot: what was lost must be from the moments that could not be kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from djwsbridge.testing.history import (
    History,
    Opened,
    Outcome,
    Receipt,
    Record,
    Rewind,
    Row,
    Send,
    Shown,
)

__all__ = ["without_lost"]

Place = tuple[str, int]  # a device and a room


def without_lost(history: History, rewind: Rewind) -> tuple[History, list[str], float]:
    """Take out of a history what was acknowledged or shown before a rewind and is not stored.

    Args:
        history: of a run.
        rewind: the only one in it.

    Returns:
        The rest, to be judged as usual; sentences about what should not be: what is lost and had to be kept, what is
        stored and had to be lost, which device was not told; and how many seconds after the end the last one was told.
    """
    ids = {row.id for row in history.of(Row)}
    told = _told(history, rewind)
    problems = [*_sends_at_the_wrong_time(history, rewind, ids, told)]
    concerned: set[Place] = set()
    if rewind.renewed is not None:
        concerned = {(one.device, one.room) for one in history.of(Opened) if one.at < rewind.begun}
    stored = {(row.room, row.seq): row.id for row in history.of(Row)}
    lost: list[Record] = [
        send for send in history.of(Send) if send.outcome is Outcome.OK and send.id not in ids
    ]
    if not lost:
        problems.append("Nothing was lost: the copy was not behind.")
    untold: Counter[Place] = Counter()
    for shown in history.of(Shown):
        if stored.get((shown.room, shown.seq)) == shown.id:
            continue
        lost.append(shown)
        place = (shown.device, shown.room)
        concerned.add(place)
        if shown.at < rewind.since:
            problems.append(f"{shown.id} is lost, and was shown at another time.")
        if not any(at > shown.at for at in told[place]):
            untold[place] += 1
    problems += [
        f"{device} was not told that {count} messages of room {room} are lost."
        for (device, room), count in sorted(untold.items())
    ]
    problems += [
        f"{device} was not told that room {room} has another history."
        for device, room in sorted(concerned)
        if not told[device, room] and (device, room) not in untold
    ]
    end = max(rewind.until, rewind.renewed or 0.0)
    late = max((told[place][0] - end for place in concerned if told[place]), default=0.0)
    return History(_kept(history, rewind, lost, told)), problems, max(0.0, late)


def _told(history: History, rewind: Rewind) -> dict[Place, list[float]]:
    """Return when each device has begun a room anew since the rewind."""
    told: dict[Place, list[float]] = defaultdict(list)
    for opened in history.of(Opened):
        if opened.at >= rewind.begun:
            told[opened.device, opened.room].append(opened.at)
    return told


def _sends_at_the_wrong_time(
    history: History, rewind: Rewind, stored: set[str | None], told: dict[Place, list[float]]
) -> Iterator[str]:
    """Yield what is lost and had to be kept, and what is stored and had to be lost.

    A worker commits a message and then acknowledges it. The database can be replaced between the two. A message may
    therefore be lost although its acknowledgement arrives after the rewind, if it was sent before the rewind ended, and
    if the rewind is told to the device after the acknowledgement. A device that only sends shows no room, and is told
    nothing.
    """
    readers = {opened.device for opened in history.of(Opened)}
    for send in history.of(Send):
        if send.outcome is not Outcome.OK or send.completed is None:
            continue
        if send.id not in stored:
            place = (send.device, send.room)
            is_told = any(at > send.completed for at in told[place]) or send.device not in readers
            was_under_way = send.invoked <= rewind.until and is_told
            is_in_time = send.completed <= rewind.until or was_under_way
            if send.completed < rewind.since or not is_in_time:
                yield f"{send.id} is lost, and was acknowledged at another time."
        elif rewind.copied < send.invoked and send.completed < rewind.begun:
            yield f"{send.id} is stored, and was sent between the copy and the rewind."


def _kept(
    history: History, rewind: Rewind, lost: Sequence[Record], told: dict[Place, list[float]]
) -> Iterator[Record]:
    """Yield what is to be judged.

    What a device has shown between the rewind and the moment when it is told is thrown away with its list; and what it
    was told of receipts before that is of the lost history.
    """
    dropped = {id(record) for record in lost}
    for record in history.records:
        if id(record) in dropped:
            continue
        if isinstance(record, Receipt | Shown):
            first = next(iter(told[record.device, record.room]), None)
            begin = rewind.begun if isinstance(record, Shown) else 0.0
            end = float("inf") if first is None and isinstance(record, Receipt) else first or 0.0
            if begin <= record.at < end:
                continue
        yield record
