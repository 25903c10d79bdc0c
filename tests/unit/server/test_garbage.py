"""What is put aside for the garbage collector."""

from __future__ import annotations

import gc

import pytest

from djwsbridge.server import garbage


def test_every_so_many_connections_what_is_there_is_put_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "FREEZE_EVERY", 3)
    gc.unfreeze()
    try:
        for _ in range(3):
            garbage.note_connection()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
