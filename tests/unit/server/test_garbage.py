"""What is put aside for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from djwsbridge.server import garbage


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "FREEZE_EVERY", 3)
    threshold = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def let_three_come() -> None:
    for _ in range(3):
        garbage.note_connection()


def test_every_so_many_connections_what_is_there_is_put_aside() -> None:
    let_three_come()
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_what_is_young_is_looked_at_less_often(before: int, after: int) -> None:
    gc.set_threshold(before)
    let_three_come()
    assert gc.get_threshold()[0] == after
