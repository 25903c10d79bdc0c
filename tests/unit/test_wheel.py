"""Deadlines of many things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.wheel import SLOT, Wheel


def test_nothing_is_taken_before_its_time_and_everything_once() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.put("a", 1.0)
    wheel.put("b", 2.2)
    assert wheel.take(0.9) == []
    assert wheel.take(1.0) == ["a"]
    assert wheel.take(2.2) == []
    assert wheel.take(2.5) == ["b"]
    assert wheel.take(1_000.0) == []


def test_an_earlier_look_wins() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.put("a", 60.0)
    wheel.put("a", 1.0)
    wheel.put("a", 30.0)
    assert wheel.take(1.0) == ["a"]
    assert wheel.take(60.0) == []


def test_what_is_discarded_leaves_nothing() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.put("a", 1.0)
    wheel.discard("a")
    wheel.discard("b")
    assert not wheel._slots
    assert not wheel._planned
    assert wheel.take(2.0) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 100)), max_size=50))
def test_each_thing_is_looked_at_at_its_earliest_time(puts: list[tuple[int, float]]) -> None:
    wheel: Wheel[int] = Wheel()
    earliest: dict[int, float] = {}
    for item, at in puts:
        wheel.put(item, at)
        earliest[item] = min(at, earliest.get(item, at))
    taken: dict[int, float] = {}
    now = 0.0
    while now <= 101.0:
        for item in wheel.take(now):
            assert item not in taken
            taken[item] = now
        now += SLOT
    assert taken.keys() == earliest.keys()
    for item, at in taken.items():
        assert earliest[item] <= at <= earliest[item] + 2 * SLOT
