"""What may be lost when a copy that was behind becomes the truth, and what may not."""

from __future__ import annotations

from djwsbridge.testing.checker import State, judge
from djwsbridge.testing.history import (
    Fault,
    History,
    Member,
    Opened,
    Outcome,
    Record,
    Row,
    Send,
    Shown,
)
from tests.faults.rewind import without_lost

KILLED, PROMOTED = 10.0, 12.0


def sent(number: int, seq: int, at: float) -> Send:
    return Send(
        device="d",
        user=1,
        room=1,
        id=f"m{number}",
        body="b",
        invoked=at - 0.1,
        completed=at,
        outcome=Outcome.OK,
        seq=seq,
    )


def shown(number: int, seq: int, at: float) -> Shown:
    return Shown(device="d", room=1, seq=seq, id=f"m{number}", sender=1, body="b", at=at)


def stored(number: int, seq: int) -> Row:
    return Row(room=1, seq=seq, id=f"m{number}", sender=1, body="b")


def opened(at: float) -> Opened:
    return Opened(device="d", user=1, room=1, after=0, at=at)


def lived(*, lost_at: float = 11.0, reopened_at: float = 13.0) -> list[Record]:
    """Return a history in which the second of three messages is lost, and its number given out again."""
    return [
        Member(user=1, room=1),
        opened(0.0),
        sent(1, 1, 5.0),
        shown(1, 1, 5.0),
        sent(2, 2, lost_at),
        shown(2, 2, lost_at),
        Fault(name="promoted", detail="", at=KILLED, until=PROMOTED),
        opened(reopened_at),
        shown(1, 1, 14.0),
        sent(3, 2, 14.0),
        shown(3, 2, 14.0),
        stored(1, 1),
        stored(3, 2),
    ]


def test_what_the_copy_could_not_have_may_be_lost() -> None:
    history, problems = without_lost(History(lived()), KILLED, PROMOTED)
    assert problems == []
    assert judge(history, min_acks=2, min_faults=1).state is State.VALID


def test_what_was_acknowledged_before_may_not() -> None:
    _, problems = without_lost(History(lived(lost_at=9.0)), KILLED, PROMOTED)
    assert problems == [
        "m2 is lost, and was acknowledged at another time.",
        "m2 is lost, and was shown at another time.",
    ]


def test_whoever_has_a_lost_message_on_the_screen_must_be_told() -> None:
    _, problems = without_lost(History(lived(reopened_at=1.0)), KILLED, PROMOTED)
    assert problems == ["d was not told that m2 is lost."]


def test_a_copy_that_lost_nothing_shows_nothing() -> None:
    kept = [record for record in lived() if getattr(record, "id", "") != "m3"]
    _, problems = without_lost(History([*kept, stored(2, 2)]), KILLED, PROMOTED)
    assert problems == ["Nothing was lost: the copy was not behind."]
