"""The log numbers events without a hole, whoever races and whatever is rolled back."""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError

from djwsbridge import runtime
from djwsbridge.durable import NewEvent
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.publish import publish_events

pytestmark = pytest.mark.database
WRITERS = 50
EVENTS = 200  # by each writer
TURNS = 40  # transactions in which a writer appends them


class Rollback(Exception):
    """Raised on purpose."""


def event(topic: str, value: object = None) -> NewEvent:
    return NewEvent(topic, "thing.done", lambda seq, _now: {"value": value, "n": seq})


@pytest.mark.django_db
def test_an_append_returns_what_goes_over_the_wire():
    with transaction.atomic():
        first, second, other = Log().append(
            [event("room.1", "a"), event("room.1"), event("room.2")]
        )
    assert json.loads(first.text) == {
        "push": "thing.done",
        "topic": "room.1",
        "epoch": Topic.objects.get(name="room.1").epoch,
        "seq": 1,
        "data": {"value": "a", "n": 1},
    }
    assert (first.seq, second.seq, other.seq) == (1, 2, 1)
    assert first.created.tzinfo is not None
    assert abs(dt.datetime.now(dt.timezone.utc) - first.created) < dt.timedelta(minutes=5)


@pytest.mark.django_db
def test_an_append_costs_the_same_however_many_topics_and_events(
    django_assert_num_queries: Any,
):
    topics = [f"room.{number}" for number in range(100)]
    with transaction.atomic():
        Log().append([event(topic) for topic in topics])
    with transaction.atomic(), django_assert_num_queries(2):
        Log().append([event(topic) for topic in topics * 2])
    with transaction.atomic(), django_assert_num_queries(2):
        Log().append([event("room.1")])


@pytest.mark.django_db(transaction=True)
def test_an_append_outside_of_a_transaction_is_refused():
    with pytest.raises(TransactionManagementError):
        Log().append([event("room.1")])
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rolled_back", [0.0, 0.3])
def test_racing_writers_give_dense_seqs_in_the_order_of_commits(rolled_back: float):
    """50 writers, 200 events each, also with 30 % of the transactions rolled back."""
    committed: list[int] = []
    guard = threading.Lock()

    def write(writer: int, size: int, dice: random.Random) -> None:
        """One transaction, tried again until it has committed."""
        while True:
            try:
                with transaction.atomic():
                    appended = Log().append([event("room.1", writer) for _ in range(size)])
                    if dice.random() < rolled_back:
                        raise Rollback  # noqa: TRY301
                    with guard:  # still inside: nobody else can have the lock of the topic
                        committed.extend(each.seq for each in appended)
            except (Rollback, OperationalError):
                continue  # an OperationalError: the lock or a connection was not to be had in time
            break
        connections.close_all()

    turns = [(writer, EVENTS // TURNS) for writer in range(WRITERS) for _ in range(TURNS)]
    random.Random(1).shuffle(turns)
    # As many threads as services have: SQLite's writers wait for each other by sleeping.
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(write, *turn, random.Random(n)) for n, turn in enumerate(turns)]
        for job in jobs:
            job.result()

    total = WRITERS * EVENTS
    assert committed == list(range(1, total + 1))
    stored = Event.objects.order_by("seq").values_list("seq", "payload")
    assert [seq for seq, _ in stored] == list(range(1, total + 1))
    assert all(json.loads(payload)["seq"] == seq for seq, payload in stored)
    assert Topic.objects.get().seq == total


@pytest.mark.django_db(transaction=True)
def test_appends_to_the_same_topics_never_wait_in_a_circle():
    """Whether the topics exist or not, and in whatever order they are named."""

    def write(number: int) -> None:
        names = [f"room.{number // 4 + offset}" for offset in range(4)]
        random.Random(number).shuffle(names)
        while True:
            try:
                with transaction.atomic():
                    Log().append([event(name) for name in names])
            except OperationalError as error:
                assert "deadlock" not in str(error)  # noqa: PT017  the lock was not to be had in time
                continue
            break
        connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, number) for number in range(200)]:
            done.result()
    assert sum(Topic.objects.values_list("seq", flat=True)) == 800


@pytest.mark.django_db(transaction=True)
def test_many_events_in_one_append():
    with transaction.atomic():
        Log().append([event("room.1") for _ in range(1_001)])
    assert Event.objects.count() == 1_001


@pytest.mark.django_db(transaction=True)
def test_what_is_committed_stays_so_when_the_engine_takes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(pushes: object) -> None:
        raise EngineUnavailable("Redis is down.")

    monkeypatch.setattr(runtime, "hand_over_all", refuse)
    with transaction.atomic():
        publish_events([event("room.1")])
    assert Event.objects.count() == 1
    assert "Redis is down." in caplog.text
