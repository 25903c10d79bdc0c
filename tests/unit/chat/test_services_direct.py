from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.chat.models.room import DIRECT_KEY_LENGTH
from djwsbridge.chat.services import direct
from djwsbridge.chat.store.rooms import _direct_key
from djwsbridge.chat.values import RoomKind
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.runtime import CONTROL_TOPIC
from tests.unit.chat.conftest import Capture

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_makes_one_room_that_both_hear_of(alice: User, bob: User, capture_pushes: Capture) -> None:
    with capture_pushes() as pushed:
        room = services.open_direct(actor=alice, user_id=bob.pk)
    assert room.kind is RoomKind.DIRECT
    assert room.peer is not None
    assert (room.peer.id, room.peer.name, room.title) == (bob.pk, "bob", "bob")
    assert room.url == "/chat/direct/bob/"
    assert [(topic, frame.get("push")) for topic, frame in pushed] == [
        (CONTROL_TOPIC, None),
        (CONTROL_TOPIC, None),
        (f"user.{alice.pk}", "room.joined"),
        (f"user.{bob.pk}", "room.joined"),
    ]
    seen_by_bob = pushed[3][1]["data"]["room"]
    assert seen_by_bob["peer"] == {"id": alice.pk, "name": "alice"}
    assert {pushed[0][1]["user"], pushed[1][1]["user"]} == {str(alice.pk), str(bob.pk)}


def test_the_room_is_the_same_from_both_sides(
    alice: User, bob: User, capture_pushes: Capture
) -> None:
    room = services.open_direct(actor=alice, user_id=bob.pk)
    with capture_pushes() as pushed:
        assert services.open_direct(actor=bob, user_id=alice.pk).id == room.id
        assert services.open_direct(actor=alice, user_id=bob.pk).id == room.id
    assert pushed == []
    assert Room.objects.get().direct_key == f"{alice.pk}:{bob.pk}"


def test_keys_are_ordered_as_numbers(alice: User) -> None:
    ninth = User.objects.create(pk=900_009, username="nine")
    tenth = User.objects.create(pk=900_0010, username="ten")
    services.open_direct(actor=tenth, user_id=ninth.pk)
    assert Room.objects.get().direct_key == "900009:9000010"


def test_a_note_to_oneself_has_a_room_of_its_own(
    alice: User, bob: User, capture_pushes: Capture
) -> None:
    services.open_direct(actor=alice, user_id=bob.pk)
    with capture_pushes() as pushed:
        room = services.open_direct(actor=alice, user_id=alice.pk)
    assert [topic for topic, _ in pushed] == [CONTROL_TOPIC, f"user.{alice.pk}"]
    assert room.peer is not None
    assert room.peer.id == alice.pk
    assert Membership.objects.filter(room_id=room.id).count() == 1
    assert services.open_direct(actor=alice, user_id=alice.pk).id == room.id


def test_a_group_of_two_is_never_taken_for_it(alice: User, bob: User) -> None:
    group = services.create_room(actor=alice, title="Two of us")
    services.join_room(actor=bob, room_id=group.id)
    assert services.open_direct(actor=alice, user_id=bob.pk).id != group.id


@pytest.mark.parametrize("user_id", [10**9, 2**53 - 1, 0, -1, "abc", "", "1.5", None])
def test_nobody_is_not_found(alice: User, user_id: Any) -> None:
    with pytest.raises(CommandError) as caught:
        services.open_direct(actor=alice, user_id=user_id)
    assert caught.value.code is ErrorCode.NOT_FOUND
    assert Room.objects.count() == 0


@pytest.mark.parametrize("username", ["nobody", "", "ALICE", "a\0b", "x" * 10_000])
def test_no_name_is_not_found(alice: User, username: str) -> None:
    with pytest.raises(CommandError) as caught:
        services.find_direct(actor=alice, username=username)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_whoever_is_inactive_is_not_found(alice: User, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    with pytest.raises(CommandError) as caught:
        services.open_direct(actor=alice, user_id=bob.pk)
    assert caught.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(CommandError) as caught:
        services.find_direct(actor=alice, username="bob")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_what_was_said_with_somebody_inactive_stays_readable(
    alice: User, bob: User, carol: User
) -> None:
    room = services.open_direct(actor=alice, user_id=bob.pk)
    services.send_message(actor=bob, room_id=room.id, body="bye", client_message_id=uuid.uuid4())
    User.objects.filter(pk=bob.pk).update(is_active=False)
    peer, found = services.find_direct(actor=alice, username="bob")
    assert peer.name == "bob"
    assert found is not None
    assert found.id == room.id
    with pytest.raises(CommandError) as caught:
        services.find_direct(actor=carol, username="bob")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_who_comes_second_gets_the_first_ones_room(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up finds nothing, the other side makes the room, the unique key decides."""
    find = direct.store.find_direct
    first = services.open_direct(actor=bob, user_id=alice.pk)
    answers = iter([None])
    monkeypatch.setattr(direct.store, "find_direct", lambda *pair: next(answers, find(*pair)))
    assert services.open_direct(actor=alice, user_id=bob.pk).id == first.id
    assert Room.objects.count() == 1


def test_looking_makes_nothing(alice: User, bob: User) -> None:
    peer, room = services.find_direct(actor=alice, username="bob")
    assert peer.id == bob.pk
    assert room is None
    assert Room.objects.count() == 0
    made = services.open_direct(actor=alice, user_id=bob.pk)
    assert services.find_direct(actor=alice, username="bob")[1] == made


def test_outlives_the_other_persons_account(alice: User, bob: User) -> None:
    room = services.open_direct(actor=alice, user_id=bob.pk)
    services.send_message(actor=bob, room_id=room.id, body="bye", client_message_id=uuid.uuid4())
    bob.delete()
    [left] = services.list_rooms(actor=alice).rooms
    assert left.peer is not None
    assert (left.peer.id, left.peer.name) == (None, "Deleted user")
    assert left.url == f"/chat/{left.slug}/"
    assert left.last_message is not None
    assert left.last_message.body == "bye"


class TestRate:
    @pytest.fixture(autouse=True)
    def _two_an_hour(self, settings: Any) -> None:
        settings.DJWSBRIDGE_DIRECT_RATE = (2, 3600.0)

    def test_stops_who_writes_to_everybody(self, alice: User) -> None:
        peers = [User.objects.create(username=f"peer{number}") for number in range(3)]
        for peer in peers[:2]:
            services.open_direct(actor=alice, user_id=peer.pk)
        with pytest.raises(CommandError) as caught:
            services.open_direct(actor=alice, user_id=peers[2].pk)
        assert caught.value.code is ErrorCode.RATE_LIMITED
        assert 3_590_000 < caught.value.details["retry_after_ms"] <= 3_600_001
        assert Room.objects.count() == 2

    def test_old_conversations_go_on(self, alice: User) -> None:
        peers = [User.objects.create(username=f"peer{number}") for number in range(3)]
        for peer in peers[:2]:
            services.open_direct(actor=alice, user_id=peer.pk)
        services.open_direct(actor=alice, user_id=peers[0].pk)
        Room.objects.update(created=timezone.now() - timedelta(hours=1))
        services.open_direct(actor=alice, user_id=peers[2].pk)

    def test_counts_what_one_has_begun_oneself(self, alice: User) -> None:
        peers = [User.objects.create(username=f"peer{number}") for number in range(3)]
        for peer in peers:
            services.open_direct(actor=peer, user_id=alice.pk)
        services.create_room(actor=alice, title="General")
        services.open_direct(actor=alice, user_id=alice.pk)


def test_queries(
    alice: User,
    bob: User,
    django_assert_num_queries: Any,
    django_assert_max_num_queries: Any,
) -> None:
    # At most: the peer, the look-up, what was made lately, a savepoint, the room and its members, what
    # both of them see, and an event for each, the first on its topic.
    with django_assert_max_num_queries(24):
        services.open_direct(actor=alice, user_id=bob.pk)
    with django_assert_num_queries(7):
        services.open_direct(actor=alice, user_id=bob.pk)
    with django_assert_num_queries(7):
        services.find_direct(actor=alice, username="bob")


class TestSendPrivate:
    """The room socket's `/pm`."""

    def test_stores_the_message_and_tells_the_other_one(
        self, alice: User, bob: User, capture_pushes: Capture
    ) -> None:
        with capture_pushes() as pushed:
            peer = services.send_private(actor=alice, username="bob", body="psst")
        assert (peer.id, peer.name) == (bob.pk, "bob")
        message = Message.objects.get()
        assert (message.room.kind, message.body) == (RoomKind.DIRECT.value, "psst")
        told = [frame["data"] for _, frame in pushed if frame.get("push") == "private_message"]
        assert told == [{"user": "alice", "message": "psst"}]

    @pytest.mark.parametrize(
        ("username", "body", "code"),
        [
            ("nobody", "psst", ErrorCode.BAD_RECIPIENT),
            ("b\0b", "psst", ErrorCode.BAD_RECIPIENT),
            ("bob", " ", ErrorCode.EMPTY_BODY),
        ],
    )
    def test_leaves_nothing_behind_when_it_refuses(
        self, alice: User, bob: User, username: str, body: str, code: ErrorCode
    ) -> None:
        with pytest.raises(CommandError) as caught:
            services.send_private(actor=alice, username=username, body=body)
        assert caught.value.code is code
        assert not Room.objects.exists()


def test_two_pairs_of_people_never_share_a_room_whatever_their_keys() -> None:
    pairs = [("a:b", "c"), ("a", "b:c"), ("k" * 254, "k" * 254), ("k" * 253, "k" * 254), ("a", "b")]
    keys = [_direct_key(User(pk=one), User(pk=other)) for one, other in pairs]
    assert len(set(keys)) == len(pairs)
    assert all(len(key) <= DIRECT_KEY_LENGTH for key in keys)
    assert keys == [_direct_key(User(pk=other), User(pk=one)) for one, other in pairs]
    assert keys[-1] == "a:b"  # as it has always been
