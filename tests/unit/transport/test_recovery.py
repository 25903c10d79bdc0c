"""What a connection is told when it comes back fits into one frame of every server."""

from __future__ import annotations

import json

import msgspec

from djwsbridge.durable import Recovery
from djwsbridge.transport.recovery import ANSWER_BYTES, _fit, _fit_states


def recovery(*sizes: int) -> Recovery:
    events = [msgspec.Raw(json.dumps("x" * (size - 2)).encode()) for size in sizes]
    return Recovery("e", len(sizes), recovered=True, events=events)


def test_what_fits_is_told_at_once() -> None:
    recoveries = {"room.1": recovery(100, 100), "room.2": recovery(100), "room.3": recovery()}
    assert _fit(recoveries) == recoveries


def test_what_does_not_fit_is_left_for_the_next_page() -> None:
    half = ANSWER_BYTES // 2
    fitting = _fit({"room.1": recovery(half, 10, half), "room.2": recovery(10, half)})
    assert [len(one.events) for one in fitting.values()] == [2, 1]
    assert [one.more for one in fitting.values()] == [True, True]
    assert fitting["room.2"].recovered
    assert fitting["room.2"].seq == 2


def test_one_large_event_is_told_alone() -> None:
    fitting = _fit({"room.1": recovery(2 * ANSWER_BYTES, 10), "room.2": recovery(10)})
    assert [len(one.events) for one in fitting.values()] == [1, 0]
    assert [one.more for one in fitting.values()] == [True, True]


def test_what_apps_say_beyond_the_bytes_of_an_answer_is_left_out_and_said_so() -> None:
    receipt = {"user": 7, "delivered_seq": 120, "read_seq": 118}
    states = {f"room.{number}": {"receipts": [receipt] * 90} for number in range(1, 21)}
    fitting = _fit_states(states, size=0)
    assert len(msgspec.json.encode(fitting)) < ANSWER_BYTES + 1_000
    told = [topic for topic, state in fitting.items() if "omitted" not in state]
    assert 5 < len(told) < 20
    for topic in told:
        assert msgspec.json.decode(msgspec.json.encode(fitting[topic])) == states[topic]
    assert _fit_states(states, size=ANSWER_BYTES)["room.1"] == {"omitted": True}


def test_what_apps_say_of_a_topic_that_was_asked_for_is_told_whatever_its_size() -> None:
    states = {"room.1": {"receipts": ["x" * ANSWER_BYTES]}}
    assert _fit_states(states, size=ANSWER_BYTES) == states
