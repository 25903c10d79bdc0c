"""What every message waits for takes no longer where there are many: no statement reads a whole table."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership
from djwsbridge.log.models import Topic

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MANY = 10_000


@pytest.fixture
def room_id(alice: User) -> int:
    """Return the largest room of a site that has many topics."""
    room = services.create_room(actor=alice, title="General")
    people = User.objects.bulk_create(User(username=f"user{n}", password="!") for n in range(MANY))
    Membership.objects.bulk_create(Membership(room_id=room.id, user=one) for one in people)
    Topic.objects.bulk_create(Topic(name=f"user.{one.pk}") for one in people)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return room.id


def scanned() -> int:
    """Return how many rows PostgreSQL has read in this transaction by going through whole tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables WHERE relname LIKE 'djwsbridge%'"
        )
        return int(cursor.fetchone()[0])


def scans(queries: list[dict[str, Any]]) -> list[str]:
    """Return the steps in which SQLite goes through whole tables."""
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            if query["sql"].startswith(("SELECT", "UPDATE")):
                cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
                found += [step for *_, step in cursor.fetchall() if "SCAN djwsbridge" in step]
    return found


@pytest.mark.parametrize("size", [1, 64])
def test_sending_scans_no_table(alice: User, room_id: int, size: int) -> None:
    sends = [
        services.Outgoing(
            actor=alice, room_id=room_id, body="hello", client_message_id=uuid.uuid4()
        )
        for _ in range(size)
    ]
    for _ in range(8):  # after five times PostgreSQL may make one plan for all that follow
        services.send_messages(sends[:1])
    before = scanned() if connection.vendor == "postgresql" else 0
    with CaptureQueriesContext(connection) as queries:
        services.send_messages(sends)
        services.send_messages(sends)  # all of them once more: retries are looked up
    if connection.vendor == "postgresql":
        assert scanned() - before < MANY  # small tables it may read as a whole
    else:
        assert scans(queries.captured_queries) == []
