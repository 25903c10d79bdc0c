"""Many at once, in real threads with connections of their own: constraints and locks decide."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from djwsbridge import runtime
from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.transport.failures import failure_of
from tests.servers import TIMEOUT, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

THREADS = 50  # at once; PostgreSQL admits a hundred connections
CALLS = 100


@pytest.fixture(autouse=True)
def pushed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Collect what leaves after commit; appending to a list is safe in threads."""
    frames: list[dict[str, Any]] = []
    monkeypatch.setattr(
        runtime, "hand_over_all", lambda all_: frames.extend(json.loads(text) for _, text in all_)
    )
    return frames


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


def race(call: Callable[[int], Any]) -> list[Any]:
    """Return what `call` returned (or the code it was refused with) for each number.

    SQLite gives its lock to whoever asks at the right moment, and of fifty some may not get it in time. A client is
    told `busy` then, and tries again.
    """
    start = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        try:
            if number < THREADS:
                start.wait(TIMEOUT)
            return wait_until(lambda: try_once(number), "the lock of the database")[0]
        finally:
            connection.close()

    def try_once(number: int) -> tuple[Any] | None:
        try:
            return (call(number),)
        except CommandError as error:
            return (error.code,)
        except OperationalError as error:
            if connection.vendor != "sqlite" or failure_of(error).code is not ErrorCode.BUSY:
                raise  # PostgreSQL's locks are waited for in turn, and never in a circle
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(CALLS)))


def test_a_hundred_first_private_messages_make_one_room(
    alice: User, bob: User, pushed: list[dict[str, Any]]
) -> None:
    pair = (alice, bob)

    def write(number: int) -> int:
        actor, peer = pair[number % 2], pair[1 - number % 2]
        room = services.open_direct(actor=actor, user_id=peer.pk)
        sent = services.send_message(
            actor=actor, room_id=room.id, body=str(number), client_message_id=uuid.uuid4()
        )
        return sent.seq

    assert sorted(race(write)) == list(range(1, CALLS + 1))
    assert Room.objects.count() == 1
    assert Membership.objects.count() == 2
    assert Counter(frame.get("push") for frame in pushed)["room.joined"] == 2


def test_messages_of_many_are_numbered_without_a_hole(
    alice: User, bob: User, pushed: list[dict[str, Any]]
) -> None:
    room = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=room.id)
    pair = (alice, bob)

    def write(number: int) -> tuple[int, str]:
        sent = services.send_message(
            actor=pair[number % 2],
            room_id=room.id,
            body=str(number),
            client_message_id=uuid.uuid4(),
        )
        return sent.seq, sent.body

    acked = race(write)
    stored = list(Message.objects.order_by("seq").values_list("seq", "body"))
    assert [seq for seq, _ in stored] == list(range(2, CALLS + 2))
    assert sorted(acked) == stored
    sent = [frame for frame in pushed if frame.get("push") == "message.sent"]
    assert sorted((frame["seq"], frame["data"]["body"]) for frame in sent) == stored


def test_one_message_sent_a_hundred_times_is_stored_once(
    alice: User, pushed: list[dict[str, Any]]
) -> None:
    room = services.create_room(actor=alice, title="General")
    client_message_id = uuid.uuid4()
    replies = race(
        lambda _: services.send_message(
            actor=alice, room_id=room.id, body="once", client_message_id=client_message_id
        )
    )
    assert len({(reply.seq, reply.created) for reply in replies}) == 1
    assert Message.objects.count() == 1
    assert Counter(frame.get("push") for frame in pushed)["message.sent"] == 1


def test_one_id_for_two_messages_stores_one_of_them(alice: User) -> None:
    rooms = [services.create_room(actor=alice, title=title) for title in ("One", "Two")]
    client_message_id = uuid.uuid4()
    replies = race(
        lambda number: services.send_message(
            actor=alice,
            room_id=rooms[number % 2].id,
            body="first wins",
            client_message_id=client_message_id,
        )
    )
    won = Message.objects.get()
    refused = [reply for reply in replies if reply is ErrorCode.IDEMPOTENCY_CONFLICT]
    assert len(refused) == CALLS // 2
    assert {reply.room for reply in replies if reply not in refused} == {won.room_id}
    assert sorted(room.last_seq for room in services.list_rooms(actor=alice).rooms) == [0, 1]


def test_a_title_is_given_once(alice: User) -> None:
    made = race(lambda _: services.create_room(actor=alice, title="General"))
    assert Counter(room is ErrorCode.CONFLICT for room in made) == {True: CALLS - 1, False: 1}


def test_titles_that_make_one_slug_all_get_one(alice: User) -> None:
    made = race(lambda number: services.create_room(actor=alice, title="!" * (number + 1)))
    assert len({room.slug for room in made}) == CALLS


def test_joining_a_hundred_times_is_joining_once(
    alice: User, bob: User, pushed: list[dict[str, Any]]
) -> None:
    room = services.create_room(actor=alice, title="General")
    race(lambda _: services.join_room(actor=bob, room_id=room.id))
    assert Membership.objects.filter(user=bob).count() == 1
    assert Counter(frame.get("push") for frame in pushed)["member.joined"] == 1


def test_who_joins_and_who_writes_never_wait_in_a_circle(alice: User) -> None:
    room = services.create_room(actor=alice, title="General")
    people = [User.objects.create_user(f"user{number}") for number in range(CALLS // 2)]

    def act(number: int) -> None:
        if number % 2:
            services.join_room(actor=people[number // 2], room_id=room.id)
        else:
            services.send_message(
                actor=alice, room_id=room.id, body="x", client_message_id=uuid.uuid4()
            )

    race(act)
    assert Membership.objects.count() == 1 + CALLS // 2
    assert Message.objects.count() == CALLS // 2


def test_a_read_pointer_never_goes_back(alice: User, bob: User) -> None:
    room = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=room.id)
    for _ in range(20):
        services.send_message(
            actor=alice, room_id=room.id, body="x", client_message_id=uuid.uuid4()
        )
    race(lambda number: services.mark_read(actor=bob, room_id=room.id, seq=number % 22))
    assert Membership.objects.get(user=bob).read_seq == 21


def test_pointers_only_grow_and_stay_in_order(alice: User, bob: User) -> None:
    room = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=room.id)
    for _ in range(20):
        services.send_message(
            actor=alice, room_id=room.id, body="x", client_message_id=uuid.uuid4()
        )

    def move(number: int) -> list[tuple[int, int]]:
        """Move one of the pointers, and look at both before and after."""
        seen = [pointers()]
        seq = number * 7 % 22
        if number % 3:
            services.acknowledge(actor=bob, seqs={f"room.{room.id}": seq})
        else:
            services.mark_read(actor=bob, room_id=room.id, seq=seq)
        return [*seen, pointers()]

    def pointers() -> tuple[int, int]:
        row = Membership.objects.get(room_id=room.id, user=bob)
        return row.read_seq, row.delivered_seq

    for before, after in race(move):
        assert before[0] <= after[0]
        assert before[1] <= after[1]
        assert after[0] <= after[1] <= 21
    moved = [number * 7 % 22 for number in range(CALLS)]
    assert pointers() == (max(moved[::3]), max(moved))
    assert Membership.objects.filter(user=bob).count() == 1


def test_groups_that_share_messages_store_each_once(
    alice: User, pushed: list[dict[str, Any]]
) -> None:
    rooms = [services.create_room(actor=alice, title=title) for title in ("One", "Two")]
    ids = [uuid.uuid4() for _ in range(30)]

    def send(number: int) -> dict[uuid.UUID, tuple[int, int]]:
        """Send ten of them in an order of one's own; each message belongs into one of the rooms."""
        chosen = [(number * 3 + step * (1 + number % 7)) % 30 for step in range(10)]
        results = services.send_messages(
            [
                services.Outgoing(
                    actor=alice,
                    room_id=rooms[which % 2].id,
                    body=str(which),
                    client_message_id=ids[which],
                )
                for which in chosen
            ]
        )
        found = {}
        for which, result in zip(chosen, results, strict=True):
            assert not isinstance(result, Exception), result
            assert result.body == str(which)
            found[ids[which]] = (result.room, result.seq)
        return found

    told: dict[uuid.UUID, set[tuple[int, int]]] = {}
    for found in race(send):
        for key, place in found.items():
            told.setdefault(key, set()).add(place)
    stored = {row.client_message_id: (row.room_id, row.seq) for row in Message.objects.all()}
    assert told == {key: {place} for key, place in stored.items()}
    for room in rooms:
        seqs = sorted(seq for room_id, seq in stored.values() if room_id == room.id)
        assert seqs == list(range(1, len(seqs) + 1))
    sent = [
        frame["data"]["client_message_id"]
        for frame in pushed
        if frame.get("push") == "message.sent"
    ]
    assert Counter(sent) == {str(key): 1 for key in stored}


def test_a_group_with_members_has_an_owner_whoever_comes_and_goes(alice: User) -> None:
    room = services.create_room(actor=alice, title="General")
    people = [alice, *(User.objects.create_user(f"user{number}") for number in range(9))]

    def move(number: int) -> None:
        actor = people[number % len(people)]
        if number // len(people) % 2:
            services.join_room(actor=actor, room_id=room.id)
        else:
            services.leave_room(actor=actor, room_id=room.id)

    race(move)
    services.join_room(actor=people[1], room_id=room.id)
    roles = Counter(Membership.objects.values_list("role", flat=True))
    assert roles["owner"] == 1
