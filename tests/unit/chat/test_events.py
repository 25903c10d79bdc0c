"""State before + events == state after: a device that was away catches up by the log alone.

The model below is a client. It loads everything once, misses whatever happens then, and is told what it has missed: the
events of its topics and the receipts. What it holds then must be what a fresh load would give.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from djwsbridge.chat import services
from djwsbridge.durable import installed_log
from djwsbridge.log.models import Event
from djwsbridge.protocol.errors import CommandError

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOTHING = ("", 0)  # the cursor of who was there before the first event


class World:
    """Three people who do things."""

    def __init__(self) -> None:
        self.people = [User.objects.create(username=name) for name in ("ann", "ben", "cleo")]
        self.rooms: list[int] = []

    def act(self, person: int, action: str, number: int) -> None:
        """Do something; what cannot be done is not done."""
        actor, other = self.people[person], self.people[number % len(self.people)]
        with suppress(CommandError):
            if action == "create":
                self.rooms.append(services.create_room(actor=actor, title=f"{uuid.uuid4()}").id)
            elif action == "direct":
                room = services.open_direct(actor=actor, user_id=other.pk)
                self.rooms = list(dict.fromkeys([*self.rooms, room.id]))
            elif self.rooms:
                ACTIONS[action](actor, self.rooms[number % len(self.rooms)], number)


def send(actor: User, room_id: int, number: int) -> None:
    body, key = f"number {number}", uuid.uuid4()
    services.send_message(actor=actor, room_id=room_id, body=body, client_message_id=key)


def read(actor: User, room_id: int, number: int) -> None:
    last_seq = services.list_messages(actor=actor, room_id=room_id).last_seq
    services.mark_read(actor=actor, room_id=room_id, seq=number % (last_seq + 1))


ACTIONS: dict[str, Callable[[User, int, int], object]] = {
    "join": lambda actor, room_id, _: services.join_room(actor=actor, room_id=room_id),
    "leave": lambda actor, room_id, _: services.leave_room(actor=actor, room_id=room_id),
    "send": send,
    "read": read,
}


class Room:
    """What a device holds of one room."""

    def __init__(self, view: dict[str, Any]) -> None:
        self.view = view
        self.messages: dict[int, dict[str, Any]] = {}
        self.members: list[dict[str, Any]] = []
        # Until then the members came with the snapshot.
        self.members_at = 0

    def hear(self, push: str, seq: int, data: dict[str, Any]) -> None:
        """Apply an event."""
        self.view["last_seq"] = max(self.view["last_seq"], seq)
        if push == "message.sent":
            self.messages[seq] = data
        elif seq > self.members_at:
            self.members = [each for each in self.members if each != data["user"]]
            if push == "member.joined":
                self.members.append(data["user"])

    def told(self, user: int, read_seq: int) -> dict[str, Any]:
        """Return the room as its list shows it, once the user's own receipt is known."""
        others = [seq for seq, one in self.messages.items() if one["sender"]["id"] != user]
        return {
            **self.view,
            "read_seq": read_seq,
            "unread": sum(seq > read_seq for seq in others),
            "last_message": self.messages[max(self.messages)] if self.messages else None,
        }


class Device:
    """A client of one user."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.cursors: dict[str, tuple[str, int]] = {}
        self.rooms: dict[int, Room] = {}
        for view in own_rooms(user):
            self.rooms[view["id"]] = self.load(Room(view))
        topics = [f"user.{user.pk}", *(f"room.{key}" for key in self.rooms)]
        found = log().recover([dict.fromkeys(topics)])[0]
        for topic in topics:
            at = found.get(topic)
            self.cursors[topic] = (at.epoch, at.seq) if at else NOTHING

    def load(self, room: Room) -> Room:
        """Fill a room from a snapshot."""
        room.messages = {one["seq"]: one for one in messages_of(self.user, room.view["id"])}
        self.load_members(room)
        return room

    def load_members(self, room: Room) -> None:
        room.members = members_of(self.user, room.view["id"])
        room.members_at = services.list_messages(actor=self.user, room_id=room.view["id"]).last_seq

    def resume(self) -> None:
        """Catch up: first what happened to the user, then what happened in each room."""
        own = f"user.{self.user.pk}"
        for push, _, data in missed(own, self.cursors[own]):
            if push == "room.left":
                del self.rooms[data["room"]]
                del self.cursors[f"room.{data['room']}"]
            else:
                assert push == "room.joined", push
                self.rooms[data["room"]["id"]] = Room(data["room"])
                self.cursors[f"room.{data['room']['id']}"] = NOTHING
        for key, room in self.rooms.items():
            topic = f"room.{key}"
            if self.cursors[topic] == NOTHING:
                self.load_members(room)
            for push, seq, data in missed(topic, self.cursors[topic]):
                room.hear(push, seq, data)

    def state(self) -> list[Any]:
        """Return all that the device holds."""
        topics = [f"room.{key}" for key in self.rooms]
        receipts = services.describe_topics(asked=[(self.user, topics)])[0]
        return [
            (
                room.told(self.user.pk, own_read_seq(self.user, receipts[f"room.{key}"])),
                [room.messages[seq] for seq in sorted(room.messages)],
                room.members,
            )
            for key, room in sorted(self.rooms.items())
        ]


def log() -> Any:
    found = installed_log()
    assert found is not None
    return found


def missed(topic: str, cursor: tuple[str, int]) -> Iterable[tuple[str, int, dict[str, Any]]]:
    """Yield the events of a topic after a cursor, and make sure that none is left out."""
    recovery = log().recover([{topic: cursor}])[0].get(topic)
    if recovery is None:
        assert cursor == NOTHING
        return
    assert recovery.recovered
    frames = json.loads(bytes(recovery.events or b"[]"))
    assert [frame["seq"] for frame in frames] == list(range(cursor[1] + 1, recovery.seq + 1))
    for frame in frames:
        yield frame["push"], frame["seq"], frame["data"]


def own_read_seq(user: User, described: dict[str, Any]) -> int:
    [receipt] = [one for one in described["receipts"] if one.user == user.pk]
    seq: int = receipt.read_seq
    return seq


def plain(value: object) -> Any:
    """Return a value as it comes out of a frame."""
    return json.loads(msgspec.json.encode(value))


def own_rooms(user: User) -> list[dict[str, Any]]:
    return [plain(view) for view in services.list_rooms(actor=user).rooms if view.is_member]


def messages_of(user: User, room_id: int) -> list[dict[str, Any]]:
    page = services.list_messages(actor=user, room_id=room_id, limit=10**6)
    return [plain(message) for message in page.messages]


def members_of(user: User, room_id: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(services.list_members(actor=user, room_id=room_id).members)
    return found


def state_of(user: User) -> list[Any]:
    """Return what a fresh load gives."""
    return [
        (view, messages_of(user, view["id"]), members_of(user, view["id"]))
        for view in sorted(own_rooms(user), key=lambda view: view["id"])
    ]


def happens(*steps: tuple[int, str, int], before: Iterable[tuple[int, str, int]] = ()) -> set[str]:
    """Let things happen while everybody's devices are away; return the types of the events."""
    with transaction.atomic():
        world = World()
        for step in before:
            world.act(*step)
        devices = [Device(person) for person in world.people]
        for device in devices:
            assert device.state() == state_of(device.user)
        for step in steps:
            world.act(*step)
        for device in devices:
            device.resume()
            assert device.state() == state_of(device.user)
        types = set(Event.objects.values_list("type", flat=True))
        transaction.set_rollback(True)
    return types


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["create", "direct", "join", "join", "leave", "read", "send", "send"]),
        st.integers(0, 11),
    ),
    max_size=25,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=STEPS, after=STEPS)
def test_state_before_and_events_make_state_after(
    before: list[tuple[int, str, int]], after: list[tuple[int, str, int]]
) -> None:
    happens(*after, before=before)


def test_every_type_of_event_is_in_the_model() -> None:
    before = [(0, "create", 0), (1, "join", 0), (0, "send", 0)]
    after = [
        (2, "join", 0), (1, "leave", 0), (2, "send", 0), (1, "join", 0), (0, "read", 0),
        (1, "direct", 2), (2, "send", 1), (2, "leave", 0),
    ]  # fmt: skip
    types = happens(*after, before=before)
    assert types == {
        "message.sent", "member.joined", "member.left", "room.joined", "room.left",
    }  # fmt: skip
