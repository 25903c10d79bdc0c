from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from djwsbridge.chat import services, store
from djwsbridge.chat.models import Membership, Role, Room
from djwsbridge.chat.services import rooms
from djwsbridge.chat.values import RoomKind
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.runtime import CONTROL_TOPIC
from tests.unit.chat.conftest import Capture

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def refusal(function: Any, **fields: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(**fields)
    return caught.value.code


def roles(room_id: int) -> dict[str, str]:
    rows = Membership.objects.filter(room_id=room_id)
    return {row.user.get_username(): row.role for row in rows.select_related("user")}


class TestCreateRoom:
    def test_makes_a_group_that_its_maker_owns_and_hears(
        self, alice: User, capture_pushes: Capture
    ) -> None:
        with capture_pushes() as pushed:
            room = services.create_room(actor=alice, title=" Tea & biscuits ")
        assert room.title == "Tea & biscuits"
        assert room.slug == "tea-biscuits"
        assert room.url == "/chat/tea-biscuits/"
        assert room.kind is RoomKind.GROUP
        assert room.is_member
        assert (room.last_seq, room.read_seq, room.unread) == (0, 0, 0)
        assert room.peer is None
        assert room.last_message is None
        assert Membership.objects.get(room_id=room.id).role == Role.OWNER
        control, joined = pushed
        assert control[0] == CONTROL_TOPIC
        assert control[1] == {
            "type": "user.subscribe",
            "user": str(alice.pk),
            "topic": f"room.{room.id}",
        }
        assert joined[0] == f"user.{alice.pk}"
        assert joined[1]["push"] == "room.joined"
        assert joined[1]["data"]["room"]["id"] == room.id

    @pytest.mark.parametrize("title", ["General", "gENERAL", " General\t"])
    def test_titles_are_unique_whatever_their_case(self, alice: User, title: str) -> None:
        services.create_room(actor=alice, title="General")
        assert refusal(services.create_room, actor=alice, title=title) is ErrorCode.CONFLICT
        assert Room.objects.count() == 1

    def test_titles_that_make_one_slug_get_two(self, alice: User) -> None:
        made = [
            services.create_room(actor=alice, title=title).slug
            for title in ("🍲", "☕", "Room", "API")
        ]
        assert made == ["room", "room-2", "room-3", "api-2"]

    def test_refuses_a_title_that_cannot_be_used(self, alice: User) -> None:
        assert refusal(services.create_room, actor=alice, title=" ") is ErrorCode.BAD_NAME

    @pytest.mark.django_db(transaction=True)
    def test_refuses_somebody_whose_account_was_just_deleted(self, alice: User) -> None:
        User.objects.filter(pk=alice.pk).delete()
        assert refusal(services.create_room, actor=alice, title="General") is ErrorCode.REVOKED
        assert Room.objects.count() == 0

    def test_tries_no_other_slug_when_that_cannot_help(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(**_: Any) -> int:
            raise IntegrityError

        monkeypatch.setattr(store, "add_group", refuse)
        with pytest.raises(IntegrityError):
            services.create_room(actor=alice, title="General")

    def test_queries(self, alice: User, django_assert_num_queries: Any) -> None:
        # A savepoint, the room and its owner, the room as it is seen, and the first event on the topic
        # of its owner.
        with django_assert_num_queries(12):
            services.create_room(actor=alice, title="General")


class TestFindRoom:
    @pytest.mark.parametrize("name", ["cafe-au-lait", "Café au lait", "Cafe\u0301 au lait"])
    def test_by_slug_or_exact_title(self, alice: User, bob: User, name: str) -> None:
        room = services.create_room(actor=alice, title="Cafe\u0301 au lait")
        slug = room.slug if name.startswith("cafe") else name
        found = services.find_room(actor=bob, name=slug)
        assert found.id == room.id
        assert not found.is_member
        assert (found.last_seq, found.unread) == (0, 0)

    def test_a_slug_goes_before_a_title(self, alice: User) -> None:
        by_slug = services.create_room(actor=alice, title="Room-2!")
        assert by_slug.slug == "room-2"
        by_title = services.create_room(actor=alice, title="room-2")
        assert by_title.slug == "room-2-2"
        assert services.find_room(actor=alice, name="room-2").id == by_slug.id

    def test_does_not_find_what_is_not_there(self, alice: User) -> None:
        services.create_room(actor=alice, title="General")
        for name in ("nowhere", "", "GENERAL", "%", "a\0b", "x" * 10_000):
            assert refusal(services.find_room, actor=alice, name=name) is ErrorCode.NOT_FOUND

    def test_does_not_find_a_strangers_conversation(
        self, alice: User, bob: User, carol: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        assert services.find_room(actor=bob, name=room.slug).id == room.id
        assert refusal(services.find_room, actor=carol, name=room.slug) is ErrorCode.NOT_FOUND

    def test_queries(self, alice: User, bob: User, django_assert_num_queries: Any) -> None:
        room = services.create_room(actor=alice, title="General")
        private = services.open_direct(actor=alice, user_id=bob.pk)
        for name, count in ((room.slug, 5), (private.slug, 6)):
            with django_assert_num_queries(count):
                services.find_room(actor=alice, name=name)
        for name, topic, count in (
            (room.slug, f"room.{room.id}", 1),
            ("General", f"room.{room.id}", 2),
            ("nowhere", "room.0", 2),
        ):
            with django_assert_num_queries(count):
                assert services.find_topic(name=name) == topic

    def test_no_table_is_scanned(self, alice: User) -> None:
        services.create_room(actor=alice, title="General")
        with CaptureQueriesContext(connection) as queries:
            services.find_topic(name="nowhere")
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")  # the table is small
            for query in queries:
                explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
                cursor.execute(f"{explain} {query['sql']}")
                plan = str(cursor.fetchall())
                assert "SCAN" not in plan
                assert "Seq Scan" not in plan


class TestListRooms:
    def test_shows_own_rooms_and_groups_to_join(self, alice: User, bob: User, carol: User) -> None:
        general = services.create_room(actor=alice, title="General")
        books = services.create_room(actor=bob, title="books")
        services.open_direct(actor=bob, user_id=carol.pk)
        private = services.open_direct(actor=alice, user_id=bob.pk)
        services.send_message(
            actor=bob, room_id=private.id, body="psst", client_message_id=uuid.uuid4()
        )
        services.send_message(
            actor=bob, room_id=books.id, body="page 1", client_message_id=uuid.uuid4()
        )
        listed = services.list_rooms(actor=alice).rooms
        assert [view.title for view in listed] == ["bob", "books", "General"]
        direct, group, own = listed
        assert direct.peer is not None
        assert direct.peer.id == bob.pk
        assert direct.url == "/chat/direct/bob/"
        assert direct.unread == 1
        assert direct.last_message is not None
        assert direct.last_message.body == "psst"
        assert (group.id, group.is_member) == (books.id, False)
        assert (group.last_seq, group.unread, group.last_message) == (0, 0, None)
        assert (own.id, own.is_member) == (general.id, True)

    def test_lists_a_bounded_number_of_groups_to_join(
        self, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rooms, "OPEN_GROUPS_LISTED", 2)
        for number in range(4):
            services.create_room(actor=alice, title=f"Room {number}")
        assert len(services.list_rooms(actor=bob).rooms) == 2
        assert len(services.list_rooms(actor=alice).rooms) == 4

    def test_has_no_address_where_the_project_has_no_pages(
        self, alice: User, settings: Any
    ) -> None:
        settings.ROOT_URLCONF = "tests.urls"
        assert services.create_room(actor=alice, title="General").url == ""

    def test_queries(self, alice: User, bob: User, django_assert_num_queries: Any) -> None:
        for number in range(5):
            services.create_room(actor=alice, title=f"Room {number}")
            services.create_room(actor=bob, title=f"Other {number}")
            services.open_direct(actor=alice, user_id=User.objects.create(username=str(number)).pk)
        with django_assert_num_queries(6):
            assert len(services.list_rooms(actor=alice).rooms) == 15


class TestJoinRoom:
    def test_joins_with_everything_read(
        self, alice: User, bob: User, capture_pushes: Capture
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        services.send_message(
            actor=alice, room_id=room.id, body="hello", client_message_id=uuid.uuid4()
        )
        with capture_pushes() as pushed:
            joined = services.join_room(actor=bob, room_id=room.id)
        assert joined.is_member
        assert (joined.last_seq, joined.read_seq, joined.unread) == (1, 1, 0)
        row = Membership.objects.get(room_id=room.id, user=bob)
        assert (row.role, row.joined_seq) == (Role.MEMBER, 1)
        assert [(topic, frame.get("push")) for topic, frame in pushed] == [
            (CONTROL_TOPIC, None),
            (f"user.{bob.pk}", "room.joined"),
            (f"room.{room.id}", "member.joined"),
        ]
        assert pushed[2][1]["data"] == {"room": room.id, "user": {"id": bob.pk, "name": "bob"}}
        assert (pushed[1][1]["seq"], pushed[2][1]["seq"]) == (1, 2)

    def test_twice_is_once(self, alice: User, capture_pushes: Capture) -> None:
        room = services.create_room(actor=alice, title="General")
        with capture_pushes() as pushed:
            assert services.join_room(actor=alice, room_id=room.id).id == room.id
        assert pushed == []
        assert Membership.objects.get(room_id=room.id).role == Role.OWNER

    def test_private_conversations_cannot_be_joined(
        self, alice: User, bob: User, carol: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        for actor, room_id in ((carol, room.id), (carol, 10**9), (alice, room.id)):
            code = refusal(services.join_room, actor=actor, room_id=room_id)
            assert code is ErrorCode.NOT_FOUND

    def test_queries(self, alice: User, bob: User, django_assert_max_num_queries: Any) -> None:
        room = services.create_room(actor=alice, title="General")
        # At most: two savepoints, the room and its seq, the look-up, the membership and who owns, the room
        # as it is seen, and one event for the user and one for the room, each the first on its topic.
        with django_assert_max_num_queries(20):
            services.join_room(actor=bob, room_id=room.id)


class TestLeaveRoom:
    def test_ends_membership_and_subscription(
        self, alice: User, bob: User, capture_pushes: Capture
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        services.join_room(actor=bob, room_id=room.id)
        with capture_pushes() as pushed:
            services.leave_room(actor=bob, room_id=room.id)
        assert not Membership.objects.filter(user=bob).exists()
        control, left, gone = pushed
        assert control[1] == {
            "type": "user.unsubscribe",
            "user": str(bob.pk),
            "topic": f"room.{room.id}",
        }
        assert left[0] == f"user.{bob.pk}"
        assert left[1]["push"] == "room.left"
        assert left[1]["data"] == {"room": room.id}
        assert gone[0] == f"room.{room.id}"
        assert gone[1]["push"] == "member.left"
        assert gone[1]["data"] == {"room": room.id, "user": {"id": bob.pk, "name": "bob"}}

    def test_the_longest_member_succeeds_the_last_owner(
        self, alice: User, bob: User, carol: User
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        for actor in (bob, carol):
            services.join_room(actor=actor, room_id=room.id)
        services.leave_room(actor=alice, room_id=room.id)
        assert roles(room.id) == {"bob": Role.OWNER, "carol": Role.MEMBER}

    def test_an_admin_goes_before_the_longest_member(
        self, alice: User, bob: User, carol: User
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        for actor in (bob, carol):
            services.join_room(actor=actor, room_id=room.id)
        Membership.objects.filter(user=carol).update(role=Role.ADMIN)
        services.leave_room(actor=alice, room_id=room.id)
        assert roles(room.id) == {"bob": Role.MEMBER, "carol": Role.OWNER}

    def test_another_owner_is_enough(self, alice: User, bob: User, carol: User) -> None:
        room = services.create_room(actor=alice, title="General")
        for actor in (bob, carol):
            services.join_room(actor=actor, room_id=room.id)
        Membership.objects.filter(user=carol).update(role=Role.OWNER)
        services.leave_room(actor=alice, room_id=room.id)
        assert roles(room.id) == {"bob": Role.MEMBER, "carol": Role.OWNER}

    def test_who_joins_an_empty_room_owns_it(self, alice: User, bob: User) -> None:
        room = services.create_room(actor=alice, title="General")
        services.leave_room(actor=alice, room_id=room.id)
        assert roles(room.id) == {}
        services.join_room(actor=bob, room_id=room.id)
        services.join_room(actor=alice, room_id=room.id)
        assert roles(room.id) == {"bob": Role.OWNER, "alice": Role.MEMBER}

    def test_is_for_members_of_groups(self, alice: User, bob: User) -> None:
        room = services.create_room(actor=alice, title="General")
        private = services.open_direct(actor=alice, user_id=bob.pk)
        for room_id, code in (
            (room.id, ErrorCode.NOT_FOUND),
            (10**9, ErrorCode.NOT_FOUND),
            (private.id, ErrorCode.FORBIDDEN),
        ):
            assert refusal(services.leave_room, actor=bob, room_id=room_id) is code

    def test_queries(self, alice: User, bob: User, django_assert_max_num_queries: Any) -> None:
        room = services.create_room(actor=alice, title="General")
        services.join_room(actor=bob, room_id=room.id)
        with django_assert_max_num_queries(10):
            services.leave_room(actor=bob, room_id=room.id)


class TestMembersAndTopics:
    def test_members_know_each_other(self, alice: User, bob: User, carol: User) -> None:
        room = services.create_room(actor=alice, title="General")
        services.join_room(actor=bob, room_id=room.id)
        found = services.list_members(actor=bob, room_id=room.id).members
        assert [member.name for member in found] == ["alice", "bob"]
        assert refusal(services.list_members, actor=carol, room_id=room.id) is ErrorCode.NOT_FOUND

    def test_listing_members_takes_two_queries(
        self, alice: User, bob: User, django_assert_num_queries: Any
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        services.join_room(actor=bob, room_id=room.id)
        with django_assert_num_queries(2):
            services.list_members(actor=bob, room_id=room.id)

    def test_topics_are_those_of_own_rooms(self, alice: User, bob: User) -> None:
        own = services.create_room(actor=alice, title="General")
        services.create_room(actor=bob, title="Other")
        private = services.open_direct(actor=bob, user_id=alice.pk)
        carol = User.objects.create_user("carol")
        topics = services.list_topics(actors=[alice, bob, carol])
        assert topics.keys() == {alice.pk, bob.pk}
        assert sorted(topics[alice.pk]) == sorted([f"room.{own.id}", f"room.{private.id}"])

    def test_only_members_may_subscribe(self, alice: User, bob: User) -> None:
        room = services.create_room(actor=alice, title="General")
        assert services.may_subscribe(actor=alice, topic=f"room.{room.id}")
        assert not services.may_subscribe(actor=bob, topic=f"room.{room.id}")

    def test_topics_and_access_take_one_query(
        self, alice: User, bob: User, django_assert_num_queries: Any
    ) -> None:
        room = services.create_room(actor=alice, title="General")
        with django_assert_num_queries(1):
            services.list_topics(actors=[alice, bob])
        with django_assert_num_queries(1):
            services.may_subscribe(actor=alice, topic=f"room.{room.id}")

    @pytest.mark.parametrize("name", ["", "x", "-1", "1.5", "١", "1 ", "9" * 70])
    def test_a_strange_topic_is_nobodys(self, alice: User, name: str) -> None:
        assert not services.may_subscribe(actor=alice, topic=f"room.{name}")

    @pytest.mark.parametrize("topic", ["{}", "user.{}", "room{}", "room.room.{}"])
    def test_a_topic_of_something_else_is_not_the_chats(self, alice: User, topic: str) -> None:
        room = services.create_room(actor=alice, title="General")
        assert not services.may_subscribe(actor=alice, topic=topic.format(room.id))
