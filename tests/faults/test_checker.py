"""The judge itself: a valid history is valid, and each way to spoil one is found by the check that is made for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from djwsbridge.testing.checker import State, judge, measure
from djwsbridge.testing.checks import CHECKS
from djwsbridge.testing.history import (
    Away,
    Deleted,
    Fault,
    History,
    Member,
    Opened,
    Outcome,
    Pointer,
    Receipt,
    Record,
    Row,
    Send,
    Shown,
)
from tests.faults.histories import LEAVER, OUTSIDER, OUTSIDER_ROOM, valid_histories

Mutation = Callable[[History, random.Random], History]


def judged(history: History) -> set[str]:
    """Return the names of the checks that a history fails."""
    verdict = judge(history, min_acks=10, min_faults=3)
    found = {violation.check for violation in verdict.violations}
    assert (verdict.state is State.INVALID) == bool(found)
    return found


def acked(history: History, room: int | None = None) -> list[Send]:
    """Return the acknowledged sends, of one room or of all."""
    sends = (send for send in history.of(Send) if send.outcome is Outcome.OK)
    return [send for send in sends if room in (None, send.room)]


def replaced(history: History, old: Record, *new: Record) -> History:
    """Return the history with other records in the place of one."""
    where = next(i for i, record in enumerate(history.records) if record is old)
    return History([*history.records[:where], *new, *history.records[where + 1 :]])


def changed(history: History, old: Record, **fields: object) -> History:
    """Return the history with one record changed."""
    return replaced(history, old, msgspec.structs.replace(old, **fields))


def row_of(history: History, id: str | None) -> Row:
    """Return what is stored of a message."""
    return next(row for row in history.of(Row) if row.id == id)


def without(history: History, unwanted: Callable[[Record], bool]) -> History:
    """Return the history without some records."""
    return History(record for record in history.records if not unwanted(record))


def lists(history: History) -> dict[tuple[str, int], list[Shown]]:
    """Return what each device showed of each room, for lists with a middle."""
    found: dict[tuple[str, int], list[Shown]] = {}
    for shown in history.of(Shown):
        found.setdefault((shown.device, shown.room), []).append(shown)
    return {place: shown for place, shown in found.items() if len(shown) >= 3}


def pick_list(history: History, chance: random.Random) -> list[Shown]:
    """Return one of the longer lists of somebody who stays."""
    stayed = [shown for (device, _), shown in lists(history).items() if device != "device-3"]
    return chance.choice(stayed)


def lose_an_acked_message(history: History, chance: random.Random) -> History:
    lost = chance.choice(acked(history))
    return without(history, lambda record: isinstance(record, Row) and record.id == lost.id)


def acknowledge_another_number(history: History, chance: random.Random) -> History:
    send = chance.choice(acked(history))
    return changed(history, send, seq=(send.seq or 0) + 1)


def store_twice(history: History, chance: random.Random) -> History:
    row = row_of(history, chance.choice(acked(history)).id)
    top = max(other.seq for other in history.of(Row) if other.room == row.room)
    again = msgspec.structs.replace(row, seq=top + 1)
    return History([*history.records, again])


def give_a_number_twice(history: History, chance: random.Random) -> History:
    row = row_of(history, chance.choice(acked(history)).id)
    return History([*history.records, Row(room=row.room, seq=row.seq)])


def leave_a_number_out(history: History, chance: random.Random) -> History:
    top = max(row.seq for row in history.of(Row) if row.room == 1)
    return History([*history.records, Row(room=1, seq=top + 2)])


def store_a_phantom(history: History, chance: random.Random) -> History:
    top = max(row.seq for row in history.of(Row) if row.room == 1)
    phantom = Row(room=1, seq=top + 1, id="phantom", sender=1, body="?")
    return History([*history.records, phantom])


def store_other_words(history: History, chance: random.Random) -> History:
    row = row_of(history, chance.choice(acked(history)).id)
    return changed(history, row, body="other")


def store_under_another_name(history: History, chance: random.Random) -> History:
    row = row_of(history, chance.choice(acked(history)).id)
    return changed(history, row, sender=99)


def let_a_former_member_send(history: History, chance: random.Random) -> History:
    left = next(member for member in history.of(Member) if member.user == LEAVER)
    mine = [send for send in acked(history, left.room) if send.user == LEAVER]
    assume(mine)
    return changed(history, left, until_seq=(mine[-1].seq or 0) - 1)


def let_somebody_send_between_two_memberships(history: History, chance: random.Random) -> History:
    mine = [send for send in acked(history, 1) if send.user == 1]
    seq = chance.choice(mine).seq or 0
    member = next(one for one in history.of(Member) if (one.user, one.room) == (1, 1))
    left = Member(user=1, room=1, until=1.0, until_seq=seq - 1)
    return replaced(history, member, left, msgspec.structs.replace(member, since_seq=seq))


def forget_who_sent(history: History, chance: random.Random) -> History:
    row = row_of(history, chance.choice(acked(history)).id)
    return changed(history, row, sender=None)


def refuse_what_is_stored(history: History, chance: random.Random) -> History:
    send = chance.choice(acked(history))
    return changed(history, send, outcome=Outcome.FAIL, seq=None, code="internal")


def never_answer(history: History, chance: random.Random) -> History:
    mine = [send for send in acked(history) if send.device != "device-3"]
    send = chance.choice(mine)
    return changed(history, send, outcome=Outcome.UNKNOWN, seq=None, completed=None)


def swap_two_rows(history: History, chance: random.Random) -> History:
    """Let the first and the last message of a room change places, everywhere."""
    sends = acked(history, chance.choice((1, 2)))
    first, last = sends[0], sends[-1]
    places = {first.id: last.seq, last.id: first.seq}
    records = [
        msgspec.structs.replace(record, seq=places[record.id])
        if isinstance(record, Send | Row | Shown) and record.id in places
        else record
        for record in history.records
    ]
    return History(records)


def swap_two_of_one_sender(history: History, chance: random.Random) -> History:
    groups: dict[tuple[str, int], list[Send]] = {}
    for send in acked(history):
        groups.setdefault((send.device, send.room), []).append(send)
    sends = next(group for group in groups.values() if len(group) > 1)
    first, last = sends[0], sends[-1]
    places = {first.id: last.seq, last.id: first.seq}
    records = [
        msgspec.structs.replace(record, seq=places[record.id])
        if isinstance(record, Send | Row) and record.id in places
        else record
        for record in history.records
    ]
    return History(records)


def show_something_else(history: History, chance: random.Random) -> History:
    return changed(history, chance.choice(pick_list(history, chance)), body="other")


def show_what_is_not_stored(history: History, chance: random.Random) -> History:
    last = pick_list(history, chance)[-1]
    ghost = msgspec.structs.replace(last, seq=last.seq + 10_000, id="ghost")
    return replaced(history, last, last, ghost)


def show_before_it_is_sent(history: History, chance: random.Random) -> History:
    shown = chance.choice(pick_list(history, chance))
    return changed(history, shown, at=0.0)


def show_twice(history: History, chance: random.Random) -> History:
    shown = chance.choice(pick_list(history, chance))
    return replaced(history, shown, shown, shown)


def show_out_of_order(history: History, chance: random.Random) -> History:
    shown = pick_list(history, chance)
    where = chance.randrange(len(shown) - 1)
    first, second = shown[where], shown[where + 1]
    records = [
        second if record is first else first if record is second else record
        for record in history.records
    ]
    return History(records)


def show_with_a_hole(history: History, chance: random.Random) -> History:
    hidden = chance.choice(pick_list(history, chance)[:-1])
    return without(history, lambda record: record is hidden)


def end_too_early(history: History, chance: random.Random) -> History:
    last = pick_list(history, chance)[-1]
    return without(history, lambda record: record is last)


def show_to_an_outsider(history: History, chance: random.Random) -> History:
    kept = [shown for shown in history.of(Shown) if shown.device == f"device-{OUTSIDER}"]
    if not kept:
        kept = [shown for shown in history.of(Shown) if shown.room == OUTSIDER_ROOM]
    user = chance.choice(kept)
    records = [
        record
        for record in history.records
        if not (isinstance(record, Member) and (record.user, record.room) == (1, user.room))
    ]
    return History(records)


def show_after_the_loss_of_access(history: History, chance: random.Random) -> History:
    left = next(member for member in history.of(Member) if member.user == LEAVER)
    later = [
        row
        for row in history.of(Row)
        if row.room == 2 and row.seq > (left.until_seq or 0) and row.id is not None
    ]
    assume(later)  # after whom nobody has written, there is nothing to leak
    row = chance.choice(later)
    leak = Shown(
        device=f"device-{LEAVER}",
        room=2,
        seq=row.seq,
        id=row.id or "",
        sender=row.sender,
        body=row.body,
        at=(left.until or 0.0) + 60.0,
    )
    return History([*history.records, leak])


def let_a_receipt_go_back(history: History, chance: random.Random) -> History:
    receipt = [receipt for receipt in history.of(Receipt) if receipt.delivered_seq > 1][-1]
    back = msgspec.structs.replace(receipt, delivered_seq=receipt.delivered_seq - 1, read_seq=0)
    return History([*history.records, back])


def promise_a_receipt_that_is_not_stored(history: History, chance: random.Random) -> History:
    pointer = next(pointer for pointer in history.of(Pointer) if pointer.delivered_seq > 0)
    return changed(history, pointer, delivered_seq=0, read_seq=0)


def read_more_than_exists(history: History, chance: random.Random) -> History:
    pointer = chance.choice(list(history.of(Pointer)))
    return changed(history, pointer, delivered_seq=10_000)


def keep_two_pointers(history: History, chance: random.Random) -> History:
    return History([*history.records, next(iter(history.of(Pointer)))])


MUTATIONS: list[tuple[Mutation, str]] = [
    (lose_an_acked_message, "acked_is_stored"),
    (acknowledge_another_number, "acked_is_stored"),
    (store_twice, "stored_once"),
    (give_a_number_twice, "dense_seq"),
    (leave_a_number_out, "dense_seq"),
    (store_a_phantom, "nothing_phantom"),
    (store_other_words, "nothing_phantom"),
    (store_under_another_name, "nothing_phantom"),
    (forget_who_sent, "nothing_phantom"),
    (let_a_former_member_send, "sent_by_members"),
    (let_somebody_send_between_two_memberships, "sent_by_members"),
    (refuse_what_is_stored, "refused_is_not_stored"),
    (never_answer, "every_send_answered"),
    (swap_two_rows, "real_time_order"),
    (swap_two_of_one_sender, "sender_order"),
    (show_something_else, "shown_is_stored"),
    (show_what_is_not_stored, "shown_is_stored"),
    (show_before_it_is_sent, "shown_after_sent"),
    (show_twice, "shown_once"),
    (show_out_of_order, "shown_ascending"),
    (show_with_a_hole, "shown_without_hole"),
    (end_too_early, "shown_to_the_end"),
    (show_to_an_outsider, "shown_to_members"),
    (show_after_the_loss_of_access, "shown_to_members"),
    (let_a_receipt_go_back, "receipts_only_grow"),
    (promise_a_receipt_that_is_not_stored, "receipts_only_grow"),
    (read_more_than_exists, "receipts_in_bounds"),
    (keep_two_pointers, "receipts_in_bounds"),
]


@settings(max_examples=30, deadline=None)
@given(valid_histories)
def test_a_valid_history_is_valid(history: History) -> None:
    verdict = judge(history, min_acks=10, min_faults=3)
    assert verdict.state is State.VALID, str(verdict)


@pytest.mark.parametrize(
    ("mutate", "check"), MUTATIONS, ids=[mutate.__name__ for mutate, _ in MUTATIONS]
)
@settings(max_examples=10, deadline=None)
@given(history=valid_histories, seed=st.integers(min_value=0, max_value=1_000))
def test_a_spoilt_history_is_found_by_its_check(
    mutate: Mutation, check: str, history: History, seed: int
) -> None:
    assert check in judged(mutate(history, random.Random(seed)))


def test_every_check_has_a_mutation() -> None:
    assert {check for _, check in MUTATIONS} == set(CHECKS)


@settings(max_examples=5, deadline=None)
@given(valid_histories)
def test_the_messages_of_a_deleted_account_have_no_sender(history: History) -> None:
    nameless = [
        msgspec.structs.replace(record, sender=None)
        if isinstance(record, Row) and record.sender == 1
        else record
        for record in history.records
    ]
    assert judged(History([*nameless, Deleted(user=1)])) == set()
    assert "shown_is_stored" in judged(History(nameless))


@settings(max_examples=5, deadline=None)
@given(valid_histories)
def test_nothing_can_be_said_of_a_short_or_calm_run(history: History) -> None:
    short = judge(history)
    assert (short.state, len(short.reasons)) == (State.UNKNOWN, 1)
    calm = judge(without(history, lambda record: isinstance(record, Fault)), min_acks=10)
    assert (calm.state, len(calm.reasons)) == (State.UNKNOWN, 1)


@settings(max_examples=5, deadline=None)
@given(valid_histories)
def test_what_is_wrong_outweighs_what_is_short(history: History) -> None:
    spoilt = lose_an_acked_message(history, random.Random(0))
    verdict = judge(spoilt)
    assert verdict.state is State.INVALID
    assert "acked_is_stored: 1 times" in str(verdict)


def test_an_absence_counts_from_the_end_of_the_last_fault_in_it() -> None:
    history = History(
        [
            Fault(name="kill", detail="", at=1.0, until=2.0),
            Fault(name="kill", detail="", at=3.0, until=5.0),
            Fault(name="kill", detail="", at=8.0, until=9.0),
            Away(device="a", lost=1.0, back=7.0),
            Away(device="b", lost=6.0, back=7.5),
            Away(device="c", lost=1.0, back=None),
        ]
    )
    assert measure(history).away == {"p50": 1.5, "p99": 2.0, "max": 2.0}


def test_a_delivery_counts_from_the_return_of_its_reader() -> None:
    send = Send(
        device="a",
        user=1,
        room=1,
        id="x",
        body="",
        invoked=0.0,
        completed=1.0,
        outcome=Outcome.OK,
        seq=1,
    )
    seen = {"room": 1, "seq": 1, "id": "x", "sender": 1, "body": ""}
    history = History(
        [
            send,
            Shown(device="b", at=3.0, **seen),
            Away(device="c", lost=0.5, back=8.0),
            Shown(device="c", at=9.0, **seen),
        ]
    )
    assert measure(history).delivery == {"p50": 1.0, "p99": 2.0, "max": 2.0}


def test_a_delivery_to_a_newcomer_counts_from_their_coming() -> None:
    send = Send(
        device="a",
        user=1,
        room=1,
        id="x",
        body="",
        invoked=0.0,
        completed=1.0,
        outcome=Outcome.OK,
        seq=1,
    )
    opened = Opened(device="b", user=2, room=1, after=0, at=7.0)
    shown = Shown(device="b", room=1, seq=1, id="x", sender=1, body="", at=7.5)
    assert measure(History([send, opened, shown])).delivery["max"] == 0.5


def test_a_history_can_be_kept_and_judged_again(tmp_path: Path) -> None:
    history = History([Fault(name="pause", detail="", at=1.0, until=2.0)])
    history.write(tmp_path / "history.jsonl")
    assert History.read(tmp_path / "history.jsonl").records == history.records


def test_recovery_is_measured_from_the_end_of_the_last_fault_meanwhile() -> None:
    history = History(
        [
            Fault(name="f", detail="", at=1.0, until=3.0),
            Fault(name="f", detail="", at=4.0, until=6.0),
            *(
                Send(
                    device="a",
                    user=1,
                    room=1,
                    id=str(begun + ended),
                    body="",
                    invoked=begun,
                    completed=ended,
                    outcome=Outcome.OK,
                )
                for begun, ended in ((2.0, 3.5), (2.0, 8.0), (7.0, 9.0))
            ),
        ]
    )
    assert measure(history).recovery == {"p50": 0.5, "p99": 2.0, "max": 2.0}
