from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Message
from djwsbridge.chat.services import messages
from djwsbridge.chat.services.messages import PAGE_BYTES
from djwsbridge.chat.values import MessageView, RoomView
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from tests.unit.chat.conftest import Capture

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def room(alice: User, bob: User) -> RoomView:
    """Return a room of two; that bob has joined it is its first event."""
    made = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=made.id)
    return made


def send(actor: User, room: RoomView, body: str, **options: Any) -> MessageView:
    options.setdefault("client_message_id", uuid.uuid4())
    return services.send_message(actor=actor, room_id=room.id, body=body, **options)


def refusal(function: Any, **fields: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(**fields)
    return caught.value.code


class TestSendMessage:
    def test_numbers_and_stores_and_pushes_after_commit(
        self, alice: User, room: RoomView, capture_pushes: Capture
    ) -> None:
        client_message_id = uuid.uuid4()
        with capture_pushes() as pushed:
            sent = send(alice, room, "hello", client_message_id=client_message_id)
            assert pushed == []
        assert (sent.room, sent.seq, sent.body) == (room.id, 2, "hello")
        assert (sent.sender.id, sent.sender.name) == (alice.pk, "alice")
        assert timezone.now() - sent.created < timedelta(minutes=1)
        [(topic, frame)] = pushed
        assert topic == f"room.{room.id}"
        assert frame["push"] == "message.sent"
        assert frame["seq"] == 2
        assert frame["data"] == {
            "room": room.id,
            "seq": 2,
            "sender": {"id": alice.pk, "name": "alice"},
            "body": "hello",
            "created": sent.created.isoformat().replace("+00:00", "Z"),
            "client_message_id": str(client_message_id),
        }

    def test_numbers_are_dense(self, alice: User, bob: User, room: RoomView) -> None:
        assert [send(actor, room, "hi").seq for actor in (alice, bob, alice)] == [2, 3, 4]

    def test_moves_no_pointer_and_leaves_nothing_unread_for_its_sender(
        self, alice: User, bob: User, room: RoomView
    ) -> None:
        send(alice, room, "one")
        send(alice, room, "two")
        pointers = set(Membership.objects.values_list("delivered_seq", "read_seq"))
        assert pointers == {(0, 0)}
        unread = [services.list_rooms(actor=actor).rooms[0].unread for actor in (alice, bob)]
        assert unread == [0, 2]

    def test_a_retry_returns_the_first_reply_and_stores_and_pushes_nothing(
        self, alice: User, room: RoomView, capture_pushes: Capture
    ) -> None:
        first = send(alice, room, "hello")
        send(alice, room, "in between")
        with capture_pushes() as pushed:
            again = send(alice, room, "hello", client_message_id=first.client_message_id)
        assert again == first
        assert pushed == []
        assert Message.objects.count() == 2
        assert services.list_rooms(actor=alice).rooms[0].last_seq == 3

    def test_a_retry_after_leaving_returns_the_first_reply(self, bob: User, room: RoomView) -> None:
        first = send(bob, room, "hello")
        services.leave_room(actor=bob, room_id=room.id)
        assert send(bob, room, "hello", client_message_id=first.client_message_id) == first

    def test_the_same_id_for_something_else_is_a_conflict(
        self, alice: User, room: RoomView
    ) -> None:
        other = services.create_room(actor=alice, title="Other")
        first = send(alice, room, "hello")
        for target, body in ((room, "hello!"), (other, "hello")):
            code = refusal(
                services.send_message,
                actor=alice,
                room_id=target.id,
                body=body,
                client_message_id=first.client_message_id,
            )
            assert code is ErrorCode.IDEMPOTENCY_CONFLICT
        assert Message.objects.count() == 1

    def test_two_people_may_use_the_same_id(self, alice: User, bob: User, room: RoomView) -> None:
        first = send(alice, room, "hello")
        assert send(bob, room, "hello", client_message_id=first.client_message_id).seq == 3

    def test_whoever_is_no_member_is_told_that_there_is_nothing(
        self, carol: User, room: RoomView
    ) -> None:
        for room_id in (room.id, 10**9, 2**53 - 1, 2**70):
            code = refusal(
                services.send_message,
                actor=carol,
                room_id=room_id,
                body="hello",
                client_message_id=uuid.uuid4(),
            )
            assert code is ErrorCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", ErrorCode.EMPTY_BODY),
            ("  \n", ErrorCode.EMPTY_BODY),
            ("\u200b\u2060\ufeff", ErrorCode.EMPTY_BODY),
            ("\u0301\u0302", ErrorCode.EMPTY_BODY),
            ("a\0b", ErrorCode.BAD_TEXT),
            ("\ud800", ErrorCode.BAD_TEXT),
            ("a" * 8001, ErrorCode.TOO_LARGE),
            ("\U0001f469\u200d" * 8000, ErrorCode.TOO_LARGE),
        ],
    )
    def test_refuses_a_bad_body(
        self, alice: User, room: RoomView, body: str, code: ErrorCode
    ) -> None:
        found = refusal(
            services.send_message,
            actor=alice,
            room_id=room.id,
            body=body,
            client_message_id=uuid.uuid4(),
        )
        assert found is code
        assert Message.objects.count() == 0

    def test_any_other_body_comes_back_as_it_was(self, alice: User, room: RoomView) -> None:
        body = "  <b>مرحبا</b> e\u0301 🍲\r\n\t\\ \x01'; DROP TABLE x;-- "
        send(alice, room, body)
        page = services.list_messages(actor=alice, room_id=room.id)
        assert page.messages[0].body == body

    def test_a_rollback_takes_message_number_and_push_back(
        self, alice: User, room: RoomView, capture_pushes: Capture
    ) -> None:
        with capture_pushes() as pushed, transaction.atomic():
            send(alice, room, "never said")
            transaction.set_rollback(True)
        assert pushed == []
        assert Message.objects.count() == 0
        assert send(alice, room, "said").seq == 2

    def test_queries(self, alice: User, room: RoomView, django_assert_num_queries: Any) -> None:
        # Two of them are the savepoint that the test's own transaction makes of the service's; who is
        # a member, the room's next number, the event and the message.
        with django_assert_num_queries(6):
            sent = send(alice, room, "hello")
        # A retry: the message is refused, and all is taken back; then the savepoint again, who is a member, and what
        # the first try has stored.
        with django_assert_num_queries(7 + 5):
            send(alice, room, "hello", client_message_id=sent.client_message_id)


class TestListMessages:
    @pytest.fixture(autouse=True)
    def _history(self, alice: User, room: RoomView) -> None:
        for number in range(1, 8):
            send(alice, room, f"message {number}")

    @pytest.mark.parametrize(
        ("options", "seqs"),
        [
            ({}, [2, 3, 4, 5, 6, 7, 8]),
            ({"limit": 3}, [6, 7, 8]),
            ({"before": 5, "limit": 2}, [3, 4]),
            ({"before": 2}, []),
            ({"before": 0}, []),
            ({"after": 5, "limit": 2}, [6, 7]),
            ({"after": 0, "limit": 2}, [2, 3]),
            ({"after": 8}, []),
            ({"after": 2**53 - 1}, []),
            ({"before": 2**53 - 1, "limit": 1}, [8]),
            ({"limit": 10**6}, [2, 3, 4, 5, 6, 7, 8]),
        ],
    )
    def test_returns_a_part_ascending(
        self, bob: User, room: RoomView, options: dict[str, int], seqs: list[int]
    ) -> None:
        page = services.list_messages(actor=bob, room_id=room.id, **options)
        assert [message.seq for message in page.messages] == seqs
        assert page.last_seq == 8

    @pytest.mark.parametrize(
        ("options", "more"),
        [
            ({}, False),
            ({"limit": 6}, True),
            ({"limit": 7}, False),
            ({"before": 4, "limit": 2}, False),
            ({"before": 5, "limit": 2}, True),
            ({"after": 5, "limit": 2}, True),
            ({"after": 6, "limit": 2}, False),
            ({"after": 8}, False),
        ],
    )
    def test_says_whether_there_is_more(
        self, bob: User, room: RoomView, options: dict[str, int], *, more: bool
    ) -> None:
        assert services.list_messages(actor=bob, room_id=room.id, **options).more is more

    @pytest.mark.parametrize("length", [8_000, 4_000])
    def test_a_page_is_bounded_in_bytes(
        self, alice: User, bob: User, room: RoomView, length: int
    ) -> None:
        seqs = [send(alice, room, "€" * length).seq for _ in range(60)]
        found: list[int] = []
        after, more = 8, True
        while more:
            page = services.list_messages(actor=bob, room_id=room.id, after=after, limit=500)
            assert len(msgspec.json.encode(page)) < PAGE_BYTES + 1_000
            found += [message.seq for message in page.messages]
            after, more = found[-1], page.more
        assert found == seqs
        newest = services.list_messages(actor=bob, room_id=room.id, limit=500).messages
        assert newest[-1].seq == seqs[-1]
        before = services.list_messages(actor=bob, room_id=room.id, before=newest[0].seq)
        assert before.messages[-1].seq == newest[0].seq - 1

    def test_one_large_message_is_a_page(
        self, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(messages, "PAGE_BYTES", 10)
        page = services.list_messages(actor=bob, room_id=room.id)
        assert [message.seq for message in page.messages] == [8]
        assert page.more

    @pytest.mark.parametrize(
        "options",
        [{"limit": 0}, {"limit": -1}, {"before": -1}, {"after": -1}, {"before": 3, "after": 1}],
    )
    def test_refuses_what_means_nothing(
        self, bob: User, room: RoomView, options: dict[str, int]
    ) -> None:
        code = refusal(services.list_messages, actor=bob, room_id=room.id, **options)
        assert code is ErrorCode.BAD_FIELD

    def test_is_for_members(self, carol: User, room: RoomView) -> None:
        code = refusal(services.list_messages, actor=carol, room_id=room.id)
        assert code is ErrorCode.NOT_FOUND

    def test_never_returns_more_than_500(self, alice: User, room: RoomView) -> None:
        Message.objects.bulk_create(
            Message(
                room_id=room.id,
                seq=seq,
                sender=alice,
                body="x",
                client_message_id=uuid.uuid4(),
                created=timezone.now(),
            )
            for seq in range(9, 600)
        )
        Topic.objects.filter(name=f"room.{room.id}").update(seq=599)
        page = services.list_messages(actor=alice, room_id=room.id, limit=10**6)
        assert [message.seq for message in page.messages] == list(range(100, 600))
        assert page.last_seq == 599

    def test_keeps_the_messages_of_a_deleted_account(
        self, alice: User, bob: User, room: RoomView
    ) -> None:
        alice.delete()
        page = services.list_messages(actor=bob, room_id=room.id, limit=1)
        assert page.messages[0].body == "message 7"
        assert page.messages[0].sender.id is None

    def test_queries(self, bob: User, room: RoomView, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(3):
            services.list_messages(actor=bob, room_id=room.id)


class TestErase:
    """What `djwsbridge_scrub` does to a room."""

    def test_leaves_a_message_without_its_text_in_its_place(
        self, alice: User, bob: User, room: RoomView
    ) -> None:
        told, secret = send(alice, room, "told"), send(alice, room, "secret")
        topic = services.room_topic(room.id)
        assert Log().scrub(topic, [secret.seq]) == (1, 1)
        page = services.list_messages(actor=bob, room_id=room.id)
        assert page.messages == [told, msgspec.structs.replace(secret, body="")]
        assert "secret" not in "".join(Log().read(topic, after=0).frames)

    def test_reaches_messages_whose_events_were_pruned(self, alice: User, room: RoomView) -> None:
        secret = send(alice, room, "secret")
        Event.objects.all().delete()
        assert Log().scrub(services.room_topic(room.id), [secret.seq]) == (0, 1)
        assert not Message.objects.filter(body="secret").exists()

    def test_touches_nothing_else(self, alice: User, room: RoomView) -> None:
        joined = Log().scrub(services.room_topic(room.id), [1])
        other = Log().scrub("room.x", [2])
        sent = send(alice, room, "kept")
        assert (joined, other) == ((1, 0), (0, 0))
        assert Message.objects.get(seq=sent.seq).body == "kept"

    def test_a_retry_of_what_was_erased_is_harmless(self, alice: User, room: RoomView) -> None:
        secret = send(alice, room, "secret")
        Log().scrub(services.room_topic(room.id), [secret.seq])
        again = send(alice, room, "secret", client_message_id=secret.client_message_id)
        assert again == msgspec.structs.replace(secret, body="")
        assert Message.objects.count() == 1

    def test_the_log_holds_no_second_copy(self, alice: User, carol: User, room: RoomView) -> None:
        send(alice, room, "secret")
        services.join_room(actor=carol, room_id=room.id)
        assert "secret" not in "".join(Log().read(f"user.{carol.pk}", after=0).frames)
