from __future__ import annotations

import uuid
from typing import Any, cast

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership
from djwsbridge.chat.services import receipts
from djwsbridge.chat.store import rooms
from djwsbridge.chat.values import Receipt, ReceiptMoved, ReceiptPush, RoomView
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def room(alice: User, bob: User) -> RoomView:
    """Return a room in which bob's joining is event 1 and five messages follow."""
    made = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=made.id)
    for _ in range(5):
        send(alice, made)
    return made


def send(actor: User, room: RoomView) -> None:
    services.send_message(
        actor=actor, room_id=room.id, body="hello", client_message_id=uuid.uuid4()
    )


def pointers(user: User, room: RoomView) -> tuple[int, int]:
    row = Membership.objects.get(room_id=room.id, user=user)
    return row.delivered_seq, row.read_seq


def read(actor: User, room: RoomView, seq: int) -> list[ReceiptPush]:
    return services.mark_read(actor=actor, room_id=room.id, seq=seq)[1]


def acknowledge(actor: User, room: RoomView, seq: int) -> list[ReceiptPush]:
    return services.acknowledge(actor=actor, seqs={f"room.{room.id}": seq})


def receipts_of(reader: User, room: RoomView) -> dict[int, list[Receipt]]:
    [told] = services.describe_topics(asked=[(reader, [f"room.{room.id}"])])
    return {int(topic[5:]): cast("list[Receipt]", one["receipts"]) for topic, one in told.items()}


def refusal(function: Any, **fields: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(**fields)
    return caught.value.code


class TestAcknowledge:
    def test_moves_what_was_delivered_and_never_back(self, bob: User, room: RoomView) -> None:
        for seq, delivered in ((0, 0), (3, 3), (2, 3), (6, 6), (5, 6)):
            acknowledge(bob, room, seq)
            assert pointers(bob, room) == (delivered, 0)

    def test_returns_what_has_changed(self, bob: User, room: RoomView) -> None:
        read(bob, room, 2)
        receipt = ReceiptMoved(room.id, bob.pk, delivered_seq=4, read_seq=2)
        assert acknowledge(bob, room, 4) == [ReceiptPush(f"room.{room.id}", receipt)]
        assert acknowledge(bob, room, 4) == []
        assert acknowledge(bob, room, 1) == []

    def test_takes_many_rooms_and_passes_over_what_is_none(
        self, alice: User, bob: User, carol: User, room: RoomView
    ) -> None:
        direct = services.open_direct(actor=carol, user_id=bob.pk)
        send(carol, direct)
        foreign = services.create_room(actor=alice, title="Not for bob")
        seqs = {f"room.{each.id}": 1 for each in (room, direct, foreign)}
        others = {"user.7": 9, "room.x": 9, "room.": 9, "rooms.1": 9, f"room.{10**70}": 9}
        pushes = services.acknowledge(actor=bob, seqs={**seqs, **others, "room.999999": 9})
        assert {push.receipt.room for push in pushes} == {room.id, direct.id}
        assert pointers(bob, room) == pointers(bob, direct) == (1, 0)
        assert pointers(alice, foreign) == (0, 0)

    def test_refuses_what_does_not_exist_and_moves_nothing(
        self, bob: User, carol: User, room: RoomView
    ) -> None:
        direct = services.open_direct(actor=bob, user_id=carol.pk)
        seqs = {f"room.{room.id}": 3, f"room.{direct.id}": 1}
        assert refusal(services.acknowledge, actor=bob, seqs=seqs) is ErrorCode.BAD_ACK
        assert pointers(bob, room) == (0, 0)

    def test_says_nothing_about_foreign_rooms(self, carol: User, room: RoomView) -> None:
        assert acknowledge(carol, room, 10**6) == []

    def test_takes_at_most_200_topics(self, bob: User) -> None:
        seqs = {f"room.{number}": 0 for number in range(1, 202)}
        assert refusal(services.acknowledge, actor=bob, seqs=seqs) is ErrorCode.TOO_MANY
        del seqs["room.1"]
        assert services.acknowledge(actor=bob, seqs=seqs) == []

    def test_queries(self, bob: User, room: RoomView, django_assert_num_queries: Any) -> None:
        others = [services.create_room(actor=bob, title=str(number)) for number in range(3)]
        for other in others:
            send(bob, other)
        seqs = {f"room.{each.id}": 1 for each in (room, *others)}
        # The pointers, the seqs of the rooms, and the pointers again.
        with django_assert_num_queries(3):
            assert len(services.acknowledge(actor=bob, seqs=seqs)) == 4
        with django_assert_num_queries(2):
            assert services.acknowledge(actor=bob, seqs=seqs) == []


class TestMarkRead:
    def test_only_grows(self, bob: User, room: RoomView) -> None:
        moves = [
            services.mark_read(actor=bob, room_id=room.id, seq=seq)[0] for seq in (0, 3, 2, 5, 4)
        ]
        assert moves == [0, 3, 3, 5, 5]
        assert pointers(bob, room) == (5, 5)

    def test_never_lowers_what_was_delivered(self, bob: User, room: RoomView) -> None:
        acknowledge(bob, room, 4)
        [push] = read(bob, room, 2)
        assert push.receipt == ReceiptMoved(room.id, bob.pk, delivered_seq=4, read_seq=2)
        assert pointers(bob, room) == (4, 2)

    def test_says_once_what_has_changed(self, bob: User, room: RoomView) -> None:
        receipt = ReceiptMoved(room.id, bob.pk, delivered_seq=3, read_seq=3)
        assert read(bob, room, 3) == [ReceiptPush(f"room.{room.id}", receipt)]
        assert read(bob, room, 3) == read(bob, room, 1) == []

    def test_counts_what_is_unread(self, bob: User, room: RoomView) -> None:
        read(bob, room, 3)
        [view] = services.list_rooms(actor=bob).rooms
        assert (view.last_seq, view.read_seq, view.unread) == (6, 3, 3)

    def test_counts_no_further_than_anybody_looks(
        self, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rooms, "UNREAD_COUNTED", 2)
        unread = []
        for seq in (3, 4, 5):
            read(bob, room, seq)
            unread.append(services.list_rooms(actor=bob).rooms[0].unread)
        assert unread == [2, 2, 1]

    def test_counts_messages_of_others_alone(self, bob: User, carol: User, room: RoomView) -> None:
        send(bob, room)
        services.join_room(actor=carol, room_id=room.id)
        services.leave_room(actor=carol, room_id=room.id)
        [view] = services.list_rooms(actor=bob).rooms
        assert (view.last_seq, view.unread) == (9, 5)

    @pytest.mark.parametrize(("seq", "code"), [(7, ErrorCode.BAD_ACK), (-1, ErrorCode.BAD_FIELD)])
    def test_refuses_what_does_not_exist(
        self, bob: User, room: RoomView, seq: int, code: ErrorCode
    ) -> None:
        assert refusal(services.mark_read, actor=bob, room_id=room.id, seq=seq) is code

    def test_is_for_members(self, carol: User, room: RoomView) -> None:
        for room_id in (room.id, 10**9, 2**70):
            code = refusal(services.mark_read, actor=carol, room_id=room_id, seq=1)
            assert code is ErrorCode.NOT_FOUND

    def test_the_database_itself_keeps_read_below_delivered(
        self, bob: User, room: RoomView
    ) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Membership.objects.filter(user=bob).update(read_seq=3)

    def test_queries(self, bob: User, room: RoomView, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(3):
            services.mark_read(actor=bob, room_id=room.id, seq=1)
        with django_assert_num_queries(1):
            services.mark_read(actor=bob, room_id=room.id, seq=1)


class TestPrivacy:
    def test_who_hides_shows_what_was_delivered_alone(
        self, alice: User, bob: User, room: RoomView
    ) -> None:
        services.set_read_receipts(actor=bob, is_on=False)
        whole = ReceiptMoved(room.id, bob.pk, delivered_seq=3, read_seq=3)
        assert read(bob, room, 3) == [
            ReceiptPush(f"room.{room.id}", ReceiptMoved(room.id, bob.pk, delivered_seq=3)),
            ReceiptPush(f"user.{bob.pk}", whole),
        ]
        seen = receipts_of(alice, room)[room.id]
        assert msgspec.to_builtins(seen) == [
            {"user": alice.pk, "delivered_seq": 0, "read_seq": 0},
            {"user": bob.pk, "delivered_seq": 3},
        ]
        own = receipts_of(bob, room)[room.id]
        assert own[1].read_seq == 3

    def test_the_moment_of_reading_is_not_told_either(self, bob: User, room: RoomView) -> None:
        services.set_read_receipts(actor=bob, is_on=False)
        [push] = acknowledge(bob, room, 5)
        delivered = ReceiptMoved(room.id, bob.pk, delivered_seq=5)
        assert push == ReceiptPush(f"room.{room.id}", delivered)
        assert [push.topic for push in read(bob, room, 4)] == [f"user.{bob.pk}"]

    def test_can_be_changed_again(self, alice: User, bob: User, room: RoomView) -> None:
        for is_on in (False, False, True):
            assert services.set_read_receipts(actor=bob, is_on=is_on).read_receipts is is_on
            assert services.view_me(actor=bob).read_receipts is is_on
        assert services.view_me(actor=alice).read_receipts is True
        assert [push.topic for push in read(bob, room, 3)] == [f"room.{room.id}"]


class TestListReceipts:
    def test_is_for_members(self, alice: User, carol: User, room: RoomView) -> None:
        topics = [f"room.{room.id}", "user.1", "room.x"]
        his, theirs = services.describe_topics(asked=[(carol, topics), (alice, topics)])
        assert his == {}
        assert theirs.keys() == {f"room.{room.id}"}
        assert [one.user for one in receipts_of(alice, room)[room.id]] == [
            row.user_id for row in Membership.objects.order_by("id")
        ]

    def test_of_many_members_and_rooms_take_one_query(
        self, alice: User, bob: User, room: RoomView, django_assert_num_queries: Any
    ) -> None:
        others = [services.create_room(actor=alice, title=str(number)) for number in range(3)]
        topics = [f"room.{one.id}" for one in (room, *others)]
        with django_assert_num_queries(1):
            ours, theirs = services.describe_topics(asked=[(alice, topics), (bob, topics[:2])])
        assert ours.keys() == set(topics)
        assert theirs.keys() == {topics[0]}

    def test_leaves_large_rooms_out(
        self, alice: User, bob: User, carol: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(receipts, "LARGE_ROOM", 2)
        assert room.id in receipts_of(alice, room)
        services.join_room(actor=carol, room_id=room.id)
        assert receipts_of(alice, room) == {}
        assert acknowledge(bob, room, 3) == []
        assert [push.topic for push in read(bob, room, 3)] == [f"user.{bob.pk}"]
        assert pointers(bob, room) == (3, 3)
