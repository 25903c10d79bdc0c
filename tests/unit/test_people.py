"""Users who were looked up a moment ago."""

from __future__ import annotations

import pytest

from djwsbridge import people as module
from djwsbridge.people import FRESH, People


def test_a_user_is_known_for_a_moment() -> None:
    people: People[str] = People()
    assert people.get("7", now=10.0) is None
    people.put("7", "alice", asked_at=10.0)
    assert people.get("7", now=10.0 + FRESH - 0.1) == "alice"
    assert people.get("7", now=10.0 + FRESH) is None


def test_a_user_who_has_changed_is_forgotten() -> None:
    people: People[str] = People()
    people.put("7", "alice", asked_at=10.0)
    people.put("8", "bob", asked_at=10.0)
    people.forget("7", now=11.0)
    assert people.get("7", now=11.0) is None
    assert people.get("8", now=11.0) == "bob"


def test_an_answer_that_a_change_has_overtaken_is_not_remembered() -> None:
    people: People[str] = People()
    people.forget("7", now=11.0)
    people.put("7", "alice", asked_at=10.9)
    assert people.get("7", now=11.0) is None
    people.put("7", "alice", asked_at=11.1)
    assert people.get("7", now=11.2) == "alice"
    people.forget_all(now=12.0)
    people.put("8", "bob", asked_at=11.9)
    assert people.get("7", now=12.0) is None
    assert people.get("8", now=12.0) is None


def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    people: People[str] = People()
    for number in range(3):
        people.put(str(number), "x", asked_at=1.0 + number)
    assert [people.get(str(number), now=4.0) for number in range(3)] == [None, "x", "x"]
    for number in range(3):
        people.forget(str(number), now=5.0)
    people.put("9", "late", asked_at=4.9)
    assert people.get("9", now=5.0) is None
