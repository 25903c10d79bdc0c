"""Each operation of the chat is one transaction, of whichever database its tables are in."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction

from djwsbridge import runtime
from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.control import CONTROL_TOPIC
from djwsbridge.log import store as log_store
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from tests.unit.chat.conftest import Pushed
from tests.unit.log.databases import OURS, Elsewhere, Replica, second_database

pytestmark = [pytest.mark.django_db, pytest.mark.database]
PEOPLE = ("alice", "bob")


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> Pushed:
    """Collect what leaves: (topic, frame)."""
    found: Pushed = []
    monkeypatch.setattr(
        runtime,
        "hand_over_all",
        lambda pushes: found.extend((topic, json.loads(text)) for topic, text in pushes),
    )
    return found


class TestElsewhere:
    """The tables are under an alias that is not `default`."""

    @pytest.fixture(autouse=True)
    def other(self, db: None, settings: Any, tmp_path: Path) -> Iterator[None]:
        tables = ("contenttypes", "auth", "djwsbridge_log", "djwsbridge_chat")
        with second_database("other", tmp_path / "other.sqlite3", tables=tables):
            settings.DATABASE_ROUTERS = [Elsewhere("other", OURS | {"auth", "contenttypes"})]
            yield
            settings.DATABASE_ROUTERS = []

    @pytest.fixture
    def people(self) -> Mapping[str, User]:
        return {name: User.objects.create(username=name) for name in PEOPLE}

    def test_a_retry_publishes_nothing(self, people: Mapping[str, User], pushed: Pushed) -> None:
        alice, key = people["alice"], uuid.uuid4()
        room = services.create_room(actor=alice, title="General")
        fields = {"room_id": room.id, "body": "hi", "client_message_id": key}
        first = services.send_message(actor=alice, **fields)
        assert services.send_message(actor=alice, **fields) == first
        assert [frame.get("push") for _, frame in pushed].count("message.sent") == 1
        assert Event.objects.filter(type="message.sent").count() == Message.objects.count() == 1
        assert Topic.objects.get(name=f"room.{room.id}").seq == first.seq

    def test_what_is_told_waits_for_the_transaction_of_the_chat(
        self, people: Mapping[str, User], pushed: Pushed
    ) -> None:
        alice = people["alice"]
        with transaction.atomic(using="default"):  # of the project, for whatever it likes
            room = services.create_room(actor=alice, title="General")
            services.leave_room(actor=alice, room_id=room.id)
            topics = [topic for topic, _ in pushed]
            assert topics[:2] == [CONTROL_TOPIC, f"user.{alice.pk}"]  # listen, room.joined
            assert topics[2] == CONTROL_TOPIC  # and no longer
            with transaction.atomic(using="other"):
                pushed.clear()
                services.join_room(actor=alice, room_id=room.id)
                assert pushed == []
            assert len(pushed) == 3

    @pytest.mark.parametrize(
        ("operation", "fields"),
        [
            (services.create_room, {"title": "Another"}),
            (services.join_room, {"room_id": 1}),
            (services.leave_room, {"room_id": 2}),
            (services.open_direct, {"user_id": 1}),
            (services.send_private, {"username": "alice", "body": "hi"}),
            (
                services.send_message,
                {"room_id": 2, "body": "hi", "client_message_id": uuid.uuid4()},
            ),
        ],
    )
    def test_what_fails_at_its_last_step_leaves_nothing(
        self,
        operation: Callable[..., object],
        fields: Mapping[str, Any],
        people: Mapping[str, User],
        pushed: Pushed,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        rooms = [services.create_room(actor=people[name], title=name).id for name in PEOPLE]
        assert (people["alice"].pk, rooms[:2]) == (1, [1, 2])  # a new database
        before = self.everything()
        pushed.clear()

        def fail(*_: object, **__: object) -> None:
            raise OSError("The disk is full.")

        monkeypatch.setattr(log_store, "insert", fail)
        with pytest.raises(OSError, match="full"):
            operation(actor=people["bob"], **fields)
        assert self.everything() == before
        assert pushed == []

    @staticmethod
    def everything() -> list[object]:
        models = (Room, Membership, Message, Event, Topic)
        return [list(model._default_manager.order_by("pk").values()) for model in models]

    def test_the_project_may_be_in_a_transaction_of_its_own(
        self, people: Mapping[str, User], pushed: Pushed
    ) -> None:
        room = services.create_room(actor=people["alice"], title="General")
        pushed.clear()
        with transaction.atomic(using="other"):
            fields = {"room_id": room.id, "body": "hi", "client_message_id": uuid.uuid4()}
            first = services.send_message(actor=people["alice"], **fields)
            assert services.send_message(actor=people["alice"], **fields) == first
            assert connections["other"].in_atomic_block
        assert len(pushed) == 1


class TestReplica:
    """Reads are routed to a replica, here one so far behind that it has no tables."""

    @pytest.fixture(autouse=True)
    def replica(self, db: None, settings: Any, tmp_path: Path) -> Iterator[None]:
        with second_database("replica", tmp_path / "replica.sqlite3"):
            settings.DATABASE_ROUTERS = [Replica()]
            yield
            settings.DATABASE_ROUTERS = []

    def test_groups(self, alice: User, bob: User) -> None:
        room = services.create_room(actor=alice, title="General")
        assert services.join_room(actor=bob, room_id=room.id).is_member
        assert services.join_room(actor=bob, room_id=room.id).is_member
        assert services.find_room(actor=bob, name="General").id == room.id
        assert services.find_topic(name=room.slug) == f"room.{room.id}"
        assert [one.id for one in services.list_rooms(actor=bob).rooms] == [room.id]
        assert len(services.list_members(actor=bob, room_id=room.id).members) == 2
        assert len(services.list_last_seen(actor=bob, room_id=room.id)) == 2
        assert services.list_topics(actors=[bob]) == {bob.pk: [f"room.{room.id}"]}
        with pytest.raises(CommandError) as caught:
            services.create_room(actor=bob, title="general")
        assert caught.value.code is ErrorCode.CONFLICT
        services.leave_room(actor=alice, room_id=room.id)
        assert not services.may_subscribe(actor=alice, topic=f"room.{room.id}")
        assert Membership.objects.using("default").get().role == "owner"

    def test_messages_and_receipts(self, alice: User, bob: User) -> None:
        room = services.create_room(actor=alice, title="General")
        services.join_room(actor=bob, room_id=room.id)
        fields = {"room_id": room.id, "body": "hi", "client_message_id": uuid.uuid4()}
        sent = services.send_message(actor=alice, **fields)
        assert services.send_message(actor=alice, **fields) == sent
        page = services.list_messages(actor=bob, room_id=room.id)
        assert (page.messages, page.last_seq) == ([sent], sent.seq)
        assert services.list_messages(actor=bob, room_id=room.id, before=9).messages == [sent]
        topic = f"room.{room.id}"
        assert len(services.acknowledge(actor=bob, seqs={topic: sent.seq})) == 1
        assert services.mark_read(actor=bob, room_id=room.id, seq=sent.seq)[0] == sent.seq
        [told] = services.describe_topics(asked=[(alice, [topic])])
        assert {one.read_seq for one in told[topic]["receipts"]} == {0, sent.seq}  # type: ignore[attr-defined]
        assert services.erase_messages(topic=topic, seqs=[sent.seq]) == 1
        assert services.list_messages(actor=bob, room_id=room.id).messages[0].body == ""

    def test_direct_rooms(self, alice: User, bob: User) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        assert services.open_direct(actor=bob, user_id=alice.pk).id == room.id
        assert services.find_direct(actor=alice, username="bob")[1] == room
        services.send_private(actor=alice, username="bob", body="hi")
        assert services.list_rooms(actor=bob).rooms[0].unread == 1
