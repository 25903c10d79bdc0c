"""Judge a history in which the database forgot: what was lost must be from the moments that could not be kept."""

from __future__ import annotations

from djwsbridge.testing.history import History, Opened, Outcome, Receipt, Row, Send, Shown

__all__ = ["without_lost"]


def without_lost(history: History, at: float, until: float) -> tuple[History, list[str]]:
    """Take out of a history what was acknowledged or shown between two times and is not stored.

    Args:
        history: of a run.
        at: from when on the surviving copy got nothing.
        until: when that copy had become the truth.

    Returns:
        The rest, to be judged as usual, and sentences about what was lost and should not have been: what was
        acknowledged before, and what somebody has on the screen who was not told that the history is another one.
    """
    stored = {(row.room, row.seq): row.id for row in history.of(Row)}
    ids = {row.id for row in history.of(Row)}
    opened = {(record.device, record.room): record.at for record in history.of(Opened)}
    kept, problems = [], []
    lost = 0
    for record in history.records:
        if isinstance(record, Send) and record.outcome is Outcome.OK and record.id not in ids:
            lost += 1
            if not at <= (record.completed or 0.0) <= until:
                problems.append(f"{record.id} is lost, and was acknowledged at another time.")
        elif isinstance(record, Shown) and stored.get((record.room, record.seq)) != record.id:
            if opened[record.device, record.room] < until:
                problems.append(f"{record.device} was not told that {record.id} is lost.")
            if not at <= record.at <= until:
                problems.append(f"{record.id} is lost, and was shown at another time.")
        elif not (isinstance(record, Receipt) and record.at < until):
            kept.append(record)
    if not lost:
        problems.append("Nothing was lost: the copy was not behind.")
    return History(kept), problems
