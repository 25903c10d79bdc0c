"""With a router that reads from a replica, the log is still read where it is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from djwsbridge.durable import NewEvent
from djwsbridge.log import store
from djwsbridge.log.log import Log
from tests.unit.log.databases import Replica, second_database

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def replica(db: None, settings: Any, tmp_path: Path) -> Iterator[None]:
    """Route reads to a replica so far behind that it has no tables, and append three events."""
    with second_database("replica", tmp_path / "replica.sqlite3"):
        settings.DATABASE_ROUTERS = [Replica()]
        with transaction.atomic():
            Log().append([NewEvent("a", "thing.done", lambda seq, _: {"n": seq}) for _ in range(3)])
        yield
        settings.DATABASE_ROUTERS = []


def test_what_was_missed_comes_from_the_primary() -> None:
    epoch = store.positions(["a"])["a"].epoch
    recovery = Log().recover([{"a": (epoch, 1)}])[0]["a"]
    assert (recovery.recovered, recovery.seq, recovery.last) == (True, 3, 3)
    page = Log().read("a", after=0)
    assert len(page.frames) == 3
    assert Log().tips(["a"]) == Log().survey(None).tips == {"a": page.tip}


def test_the_primary_is_scrubbed_and_pruned() -> None:
    assert Log().scrub("a", [2]).events == 1
    assert "scrubbed" in Log().read("a", after=1).frames[0]
    assert Log().prune(dt.timedelta(0)) == 3
    assert Log().read("a", after=0).frames == []


def test_the_primary_gets_a_new_epoch() -> None:
    before = store.positions(["a"])["a"]
    assert store.renew_epoch(None) == 1
    after = store.positions(["a"])["a"]
    assert (after.seq, after.epoch != before.epoch) == (3, True)
