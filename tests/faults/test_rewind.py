"""What may be lost when a copy that was behind becomes the truth, and what may not."""

from __future__ import annotations

import msgspec

from djwsbridge.testing.checker import State, judge
from djwsbridge.testing.history import (
    Fault,
    History,
    Member,
    Opened,
    Outcome,
    Record,
    Rewind,
    Row,
    Send,
    Shown,
)
from tests.faults.rewind import without_lost

KILLED, PROMOTED = 10.0, 12.0
REWIND = Rewind(since=KILLED, copied=10.5, begun=PROMOTED, until=PROMOTED)


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
    history, problems, late = without_lost(History(lived()), REWIND)
    assert problems == []
    assert late == 1.0
    assert judge(history, min_acks=2, min_faults=1).state is State.VALID


def test_what_was_acknowledged_before_may_not() -> None:
    _, problems, _ = without_lost(History(lived(lost_at=9.0)), REWIND)
    assert problems == [
        "m2 is lost, and was acknowledged at another time.",
        "m2 is lost, and was shown at another time.",
    ]


def test_a_device_that_shows_a_lost_message_must_be_told() -> None:
    _, problems, _ = without_lost(History(lived(reopened_at=1.0)), REWIND)
    assert problems == ["d was not told that 1 messages of room 1 are lost."]


def test_what_is_acknowledged_after_the_rewind_may_not_be_lost() -> None:
    late = sent(4, 3, 13.0)
    _, problems, _ = without_lost(History([*lived(), late]), REWIND)
    assert problems == ["m4 is lost, and was acknowledged at another time."]


def test_an_acknowledgement_on_its_way_may_arrive_after_the_rewind() -> None:
    on_its_way = sent(4, 3, PROMOTED + 0.05)
    _, problems, _ = without_lost(History([*lived(), on_its_way]), REWIND)
    assert problems == []


def test_a_device_that_only_sends_is_told_nothing() -> None:
    on_its_way = msgspec.structs.replace(sent(4, 3, PROMOTED + 0.05), device="poster")
    afterwards = msgspec.structs.replace(sent(5, 3, PROMOTED + 0.5), device="poster")
    _, problems, _ = without_lost(History([*lived(), on_its_way]), REWIND)
    assert problems == []
    _, problems, _ = without_lost(History([*lived(), afterwards]), REWIND)
    assert problems == ["m5 is lost, and was acknowledged at another time."]


def test_a_lost_message_may_not_be_acknowledged_after_the_device_was_told() -> None:
    from_memory = msgspec.structs.replace(sent(4, 3, PROMOTED + 0.05), completed=13.5)
    _, problems, _ = without_lost(History([*lived(), from_memory]), REWIND)
    assert problems == ["m4 is lost, and was acknowledged at another time."]


def test_what_was_sent_after_the_copy_may_not_come_back() -> None:
    kept = [sent(5, 3, 11.5), stored(5, 3)]
    _, problems, _ = without_lost(History([*lived(), *kept]), REWIND)
    assert problems == ["m5 is stored, and was sent between the copy and the rewind."]


def test_a_new_epoch_is_told_to_every_device_that_was_there() -> None:
    silent = Opened(device="e", user=1, room=1, after=0, at=0.0)
    renewed = msgspec.structs.replace(REWIND, renewed=12.5)
    _, problems, late = without_lost(History([silent, *lived()]), renewed)
    assert problems == ["e was not told that room 1 has another history."]
    assert late == 0.5


def test_what_is_shown_before_a_device_is_told_goes_with_its_list() -> None:
    merged = [*lived()[:7], sent(3, 2, 12.1), sent(6, 3, 12.2), shown(6, 3, 12.3), *lived()[7:9]]
    rest = [shown(3, 2, 14.0), shown(6, 3, 14.0), stored(1, 1), stored(3, 2), stored(6, 3)]
    history, problems, _ = without_lost(History([*merged, *rest]), REWIND)
    assert problems == []
    assert judge(history, min_acks=2, min_faults=1).state is State.VALID


def test_a_copy_that_lost_nothing_shows_nothing() -> None:
    kept = [record for record in lived() if getattr(record, "id", "") != "m3"]
    _, problems, _ = without_lost(History([*kept, stored(2, 2)]), REWIND)
    assert "Nothing was lost: the copy was not behind." in problems
