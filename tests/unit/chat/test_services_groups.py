"""Many messages in one transaction: `services.send_messages`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from djwsbridge.chat import services, store
from djwsbridge.chat.models import Message
from djwsbridge.chat.services import messages
from djwsbridge.chat.values import MessageView, RoomView
from djwsbridge.protocol.errors import CommandError
from tests.unit.chat.conftest import Capture

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def rooms(alice: User, bob: User) -> list[RoomView]:
    """Return two rooms: bob has joined the first, the second is alice's alone."""
    made = [services.create_room(actor=alice, title=title) for title in ("One", "Two")]
    services.join_room(actor=bob, room_id=made[0].id)
    return made


def outgoing(
    actor: User, room: RoomView, body: str = "hello", key: uuid.UUID | None = None
) -> services.Outgoing:
    return services.Outgoing(
        actor=actor, room_id=room.id, body=body, client_message_id=key or uuid.uuid4()
    )


def outcomes(*sends: services.Outgoing) -> list[int | str]:
    """Return for each the seq that it was given, or the code that it was refused with."""
    found: list[int | str] = []
    for result in services.send_messages(sends):
        if isinstance(result, MessageView):
            found.append(result.seq)
        else:
            assert isinstance(result, CommandError)
            found.append(result.code.value)
    return found


def test_order_is_kept_within_each_room(alice: User, bob: User, rooms: list[RoomView]) -> None:
    one, two = rooms
    sends = [
        outgoing(actor, room, str(number))
        for number, (actor, room) in enumerate(
            ((alice, one), (bob, one), (alice, two), (alice, one), (alice, two))
        )
    ]
    assert outcomes(*sends) == [2, 3, 1, 4, 2]
    for room, bodies in ((one, ["0", "1", "3"]), (two, ["2", "4"])):
        page = services.list_messages(actor=alice, room_id=room.id)
        assert [message.body for message in page.messages] == bodies


def test_each_is_refused_for_itself(
    alice: User, bob: User, rooms: list[RoomView], capture_pushes: Capture
) -> None:
    one, two = rooms
    known = outgoing(alice, one, "known")
    services.send_messages([known])
    with capture_pushes() as pushed:
        found = outcomes(
            outgoing(alice, one, "first"),
            outgoing(bob, two, "no member"),
            outgoing(alice, one, " "),
            outgoing(alice, one, "a\0b"),
            outgoing(alice, one, "x" * 8001),
            known,
            outgoing(alice, one, "not known", known.client_message_id),
            outgoing(alice, two, "known", known.client_message_id),
            outgoing(bob, one, "last"),
        )
    conflict = "idempotency_conflict"
    assert found == [
        3, "not_found", "empty_body", "bad_text", "too_large", 2, conflict, conflict, 4,
    ]  # fmt: skip
    assert [frame["data"]["body"] for _, frame in pushed] == ["first", "last"]
    assert Message.objects.count() == 3


def test_one_that_stands_twice_in_a_group_is_stored_once(
    alice: User, rooms: list[RoomView], capture_pushes: Capture
) -> None:
    one, two = rooms
    send = outgoing(alice, one, "once")
    with capture_pushes() as pushed:
        found = outcomes(
            send,
            outgoing(alice, one, "between"),
            send,
            outgoing(alice, one, "other", send.client_message_id),
            outgoing(alice, two, "once", send.client_message_id),
        )
    assert found == [2, 3, 2, "idempotency_conflict", "idempotency_conflict"]
    assert [frame["seq"] for _, frame in pushed] == [2, 3]


def test_a_bad_first_try_leaves_the_id_to_the_second(alice: User, rooms: list[RoomView]) -> None:
    key = uuid.uuid4()
    found = outcomes(outgoing(alice, rooms[0], " ", key), outgoing(alice, rooms[0], "better", key))
    assert found == ["empty_body", 2]


def test_five_hundred_go_together(
    alice: User, bob: User, rooms: list[RoomView], django_assert_max_num_queries: Any
) -> None:
    sends = [outgoing((alice, bob)[number % 2], rooms[0], str(number)) for number in range(500)]
    # As many as one takes, and a few where the statements get too long.
    with django_assert_max_num_queries(12):
        assert outcomes(*sends) == list(range(2, 502))
    assert outcomes(*sends) == list(range(2, 502))
    bodies = Message.objects.order_by("seq").values_list("body", flat=True)
    assert list(bodies) == [str(number) for number in range(500)]


def test_none_is_none() -> None:
    assert services.send_messages([]) == []


@pytest.mark.django_db(transaction=True)
def test_who_is_overtaken_by_another_process_gets_the_first_reply(
    alice: User, rooms: list[RoomView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up finds nothing, another process stores and commits, the constraint decides."""
    one, two = rooms
    raced = outgoing(alice, one, "raced")
    taken = outgoing(alice, one, "one thing")
    other = outgoing(alice, two, "another thing", taken.client_message_id)
    assert outcomes(raced, taken) == [2, 3]
    find, blind = store.find_sent, iter([{}])
    monkeypatch.setattr(store, "find_sent", lambda keys: next(blind, None) or find(list(keys)))
    before = outgoing(alice, one, "before")
    after = outgoing(alice, two, "after")
    assert outcomes(before, raced, other, after) == [4, 2, "idempotency_conflict", 1]
    assert [view.last_seq for view in services.list_rooms(actor=alice).rooms] == [4, 1]


def test_a_conflict_that_stays_is_no_endless_loop_and_meets_its_own_message_alone(
    alice: User, rooms: list[RoomView], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    good, bad = outgoing(alice, rooms[0]), outgoing(alice, rooms[0])
    send = messages._send_together

    def fail(sends: Any, **options: bool) -> Any:
        tries.append(len(sends))
        if bad in sends:
            raise IntegrityError("something else is broken")
        return send(sends, **options)

    monkeypatch.setattr(messages, "_send_together", fail)
    stored, refused = services.send_messages([good, bad])
    assert not isinstance(stored, Exception)
    assert isinstance(refused, IntegrityError)
    assert tries == [2, 2, 1, 1, 1]  # together without and with the look-up, then each alone
