"""Many rows at once are stored and found as the ORM would do it, on every database."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.log import rows as rows_module
from djwsbridge.log.rows import Permit, find_rows, insert_rows

pytestmark = [pytest.mark.database, pytest.mark.django_db]
FIELDS = ("room_id", "seq", "sender_id", "body", "client_message_id", "created")
NASTY = "a'b\"c\\u0000 \\x01 %s {} 🍲 \u2028\n\r\t\x7f');--"


@pytest.fixture(params=["sql", "orm"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Do everything once by our own statements, and once as with a database that is not known."""
    if request.param == "orm":
        monkeypatch.setattr(rows_module, "_is_known", lambda *_: False)
    return str(request.param)


@pytest.fixture
def room() -> Room:
    return Room.objects.create(kind="group", title="Kitchen", slug="kitchen")


def row(room: Room, seq: int, **changes: Any) -> tuple[Any, ...]:
    values = {
        "room_id": room.pk,
        "seq": seq,
        "sender_id": None,
        "body": "hello",
        "client_message_id": uuid.uuid4(),
        "created": timezone.now(),
        **changes,
    }
    return tuple(values[name] for name in FIELDS)


def test_what_is_stored_is_what_the_orm_reads(room: Room) -> None:
    user = get_user_model().objects.create_user("alice")
    moment = dt.datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    rows = [
        row(room, 1, sender_id=user.pk, body=NASTY, created=moment),
        row(room, 2**53 - 1, body=""),
    ]
    insert_rows(Message, FIELDS, rows)
    assert list(Message.objects.order_by("seq").values_list(*FIELDS)) == rows


def test_any_number_of_rows(
    room: Room, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    insert_rows(Message, FIELDS, [])
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 100)
    insert_rows(Message, FIELDS, [row(room, seq) for seq in range(1, 251)])
    assert list(Message.objects.order_by("seq").values_list("seq", flat=True)) == [*range(1, 251)]
    with django_assert_num_queries(1):
        insert_rows(Message, FIELDS, [row(room, seq) for seq in range(251, 301)])


def test_only_what_another_table_permits_is_stored(
    room: Room, django_assert_num_queries: Any, way: str
) -> None:
    users = [get_user_model().objects.create_user(name) for name in ("alice", "bob", "carol")]
    Membership.objects.bulk_create(Membership(room=room, user=user) for user in users[:2])
    get_user_model().objects.filter(username="bob").update(is_active=False)
    rows = [row(room, seq, sender_id=user.pk) for seq, user in enumerate([*users, users[0]])]
    same = (("user_id", "sender_id"), ("room_id", "room_id"))
    permit = Permit(Membership, same, Q(user__is_active=True, role__in=["owner", "member"]))
    with django_assert_num_queries(1 if way == "sql" else 2):
        assert insert_rows(Message, FIELDS, rows, permit=permit) == 2
    assert list(Message.objects.order_by("seq").values_list(*FIELDS)) == [rows[0], rows[3]]
    nobody = Permit(Membership, same, Q(role="owner"))
    assert insert_rows(Message, FIELDS, [row(room, 9, sender_id=users[0].pk)], permit=nobody) == 0
    keys = [(room.pk, user.pk) for user in users]
    active = Q(user__is_active=True)
    assert find_rows(Membership, ("room_id", "user_id"), keys, where=active) == {keys[0]}
    assert find_rows(Membership, ("room_id", "user_id"), keys) == set(keys[:2])


def test_a_constraint_holds(room: Room) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_rows(Message, FIELDS, [row(room, 1), row(room, 1)])
    assert not Message.objects.exists()


def test_what_is_there_is_found_and_nothing_else(
    room: Room, django_assert_num_queries: Any
) -> None:
    users = [get_user_model().objects.create_user(name) for name in ("alice", "bob")]
    stored = [row(room, seq, sender_id=user.pk) for seq, user in enumerate(users)]
    insert_rows(Message, FIELDS, stored)
    keys = [(sender, one) for _, _, sender, _, one, _ in stored]
    crossed = [(keys[0][0], keys[1][1]), (keys[1][0], keys[0][1])]
    with django_assert_num_queries(1):
        found = find_rows(Message, ("sender_id", "client_message_id"), [*crossed, *keys, *keys])
    assert found == set(keys)
    assert find_rows(Message, ("sender_id", "client_message_id"), crossed) == set()
    assert find_rows(Message, ("sender_id", "client_message_id"), []) == set()
    assert find_rows(Message, ("body",), [(NASTY,), ("hello",)]) == {("hello",)}


def test_a_field_of_unknown_type_is_left_to_the_orm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not rows_module._is_known(Message, ("nobody", "knows"), "mysql")
    assert rows_module._is_known(Session, ("session_key", "expire_date"), "sqlite")
    assert not rows_module._is_known(get_user_model(), ("is_active",), "postgresql")


def test_postgresql_plans_a_statement_once_where_the_project_allows_it() -> None:
    known = rows_module._is_known(Room, ("id",), connection.vendor)
    if connection.vendor != "postgresql" or not known:
        return  # SQLite's driver does that by itself, and the ORM's statements are not ours
    for number in range(10):  # the reference project's `prepare_threshold` is 5
        find_rows(Room, ("id",), [(number,)])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%wanted%'"
        )
        assert cursor.fetchone()[0] > 0
