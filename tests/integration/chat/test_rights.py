"""A right that was checked before the lock still holds at the commit: races of real threads, judged by the log."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from djwsbridge import runtime
from djwsbridge.chat import services, store
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.chat.values import MessageView, RoomView
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.transport.failures import failure_of
from tests.servers import TIMEOUT, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

T = TypeVar("T")
Reply = MessageView | Exception

RACES = 60
SENDS = 25  # messages of one person that are under way while their right ends
SENDERS = 3  # threads, as if the person had devices at three workers


@pytest.fixture(autouse=True)
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Collect what leaves after the commits."""
    frames: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        runtime,
        "hand_over_all",
        lambda all_: frames.extend((topic, json.loads(text)) for topic, text in all_),
    )
    return frames


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


def patiently(act: Callable[[], Any]) -> Any:
    """Return what `act` does, again after SQLite has given its one lock to others for too long."""

    def once() -> tuple[Any] | None:
        try:
            return (act(),)
        except OperationalError as error:
            if connection.vendor != "sqlite" or failure_of(error).code is not ErrorCode.BUSY:
                raise
            return None

    return wait_until(once, "the lock of the database")[0]


def race(person: User, room: RoomView, end: Callable[[], T]) -> tuple[list[Reply], T]:
    """Send messages of a person from several threads while their right to do so ends; return what came of both."""
    start = threading.Barrier(SENDERS + 1)

    def run(act: Callable[[], Any]) -> Any:
        try:
            start.wait(TIMEOUT)
            return act()
        finally:
            connection.close()

    def send(first: int) -> list[Reply]:
        return [patiently(partial(one, number)) for number in range(first, SENDS, SENDERS)]

    def one(number: int) -> Reply:
        return services.send_messages([outgoing(person, room, str(number))])[0]

    with ThreadPoolExecutor(SENDERS + 1) as pool:
        sending = [pool.submit(run, partial(send, first)) for first in range(SENDERS)]
        ending = pool.submit(run, lambda: patiently(end))
        replies = [reply for future in sending for reply in future.result(TIMEOUT)]
        ended: T = ending.result(TIMEOUT)
    assert all(not isinstance(reply, Exception) or is_not_found(reply) for reply in replies)
    return replies, ended


def outgoing(person: User, room: RoomView, body: str) -> services.Outgoing:
    return services.Outgoing(
        actor=person, room_id=room.id, body=body, client_message_id=uuid.uuid4()
    )


def is_not_found(reply: Reply) -> bool:
    return isinstance(reply, CommandError) and reply.code is ErrorCode.NOT_FOUND


def sent_after(room: RoomView, last: str) -> list[int]:
    """Return the numbers of the messages that are in the log of a room above an event."""
    events = Event.objects.filter(topic__name=f"room.{room.id}").order_by("seq")
    found = list(events.values_list("type", "seq"))
    assert [seq for _, seq in found] == list(range(1, len(found) + 1))
    ends = [seq for type_, seq in found if type_ == last]
    assert len(ends) == 1, f"{last} was told {len(ends)} times"
    return [seq for type_, seq in found if type_ == "message.sent" and seq > ends[0]]


def leave(person: User, room: RoomView) -> None:
    services.leave_room(actor=person, room_id=room.id)


def delete_account(person: User, room: RoomView) -> None:
    User.objects.filter(pk=person.pk).delete()  # as the admin does


def delete_membership(person: User, room: RoomView) -> None:
    Membership.objects.filter(user=person, room_id=room.id).delete()


@pytest.mark.parametrize("end", [leave, delete_account, delete_membership])
def test_no_message_of_a_former_member_has_a_number_above_the_leaving(
    owner: User, end: Callable[[User, RoomView], None]
) -> None:
    late = {}
    for number in range(RACES):
        person = User.objects.create_user(f"user{number}")
        room = services.create_room(actor=owner, title=f"Room {number}")
        services.join_room(actor=person, room_id=room.id)
        replies, _ = race(person, room, partial(end, person, room))
        late[number] = sent_after(room, "member.left")
        stored = Message.objects.filter(room_id=room.id).count()
        assert stored == sum(not isinstance(reply, Exception) for reply in replies)
    assert not any(late.values()), f"{sum(map(bool, late.values()))} of {RACES} leavings"


def test_no_message_of_a_user_is_stored_once_they_are_deactivated(owner: User) -> None:
    late = 0
    for number in range(RACES):
        person = User.objects.create_user(f"user{number}")
        room = services.create_room(actor=owner, title=f"Room {number}")
        services.join_room(actor=person, room_id=room.id)

        def deactivate() -> int:
            user = User.objects.get(pk=person.pk)  # noqa: B023
            user.is_active = False
            user.save()
            return Topic.objects.get(name=f"room.{room.id}").seq  # noqa: B023

        _, tip = race(person, room, deactivate)
        late += Message.objects.filter(room_id=room.id, seq__gt=tip).exists()
    assert not late, f"{late} of {RACES}"


def test_a_room_that_is_deleted_takes_all_its_messages_along(
    owner: User, pushed: list[tuple[str, dict[str, Any]]]
) -> None:
    for number in range(RACES):
        person = User.objects.create_user(f"user{number}")
        room = services.create_room(actor=owner, title=f"Room {number}")
        services.join_room(actor=person, room_id=room.id)
        pushed.clear()
        race(person, room, Room.objects.get(pk=room.id).delete)
        assert not Message.objects.exists()
        assert not Event.objects.filter(topic__name=f"room.{room.id}").exists()
        left = [topic for topic, frame in pushed if frame.get("push") == "room.left"]
        assert sorted(left) == sorted(f"user.{user.pk}" for user in (owner, person))


@pytest.mark.row_locks
def test_of_a_group_only_the_message_of_who_has_left_is_refused(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaving commits after the first look at the memberships."""
    person = User.objects.create_user("person")
    room = services.create_room(actor=owner, title="General")
    services.join_room(actor=person, room_id=room.id)
    before = outgoing(person, room, "before")
    first = services.send_message(
        actor=person, room_id=room.id, body="before", client_message_id=before.client_message_id
    )
    sends = [outgoing(owner, room, str(number)) for number in range(63)]
    sends.insert(40, outgoing(person, room, "too late"))
    find = store.find_writers

    def find_and_let_leave(pairs: Any) -> Any:
        monkeypatch.setattr(store, "find_writers", find)
        found = find(pairs)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(partial(leave_elsewhere, person, room)).result(TIMEOUT)
        return found

    monkeypatch.setattr(store, "find_writers", find_and_let_leave)
    replies = services.send_messages(sends)
    assert services.send_messages([before]) == [first]
    assert is_not_found(replies.pop(40))
    good = [reply for reply in replies if isinstance(reply, MessageView)]
    assert [(reply.seq, reply.body) for reply in good] == [(4 + n, str(n)) for n in range(63)]
    assert sent_after(room, "member.left") == [reply.seq for reply in good]
    stored = Message.objects.filter(room_id=room.id).exclude(sender=person).order_by("seq")
    assert list(stored.values_list("seq", "body")) == [(r.seq, r.body) for r in good]


def leave_elsewhere(person: User, room: RoomView) -> None:
    try:
        leave(person, room)
    finally:
        connection.close()
