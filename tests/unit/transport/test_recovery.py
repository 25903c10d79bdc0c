"""What a connection is told when it comes back fits into one frame of every server."""

from __future__ import annotations

import json

import msgspec

from djwsbridge.durable import Recovery
from djwsbridge.transport.recovery import ANSWER_BYTES, _fit


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
