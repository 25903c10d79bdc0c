"""A right that was checked before the lock still holds at the commit: races of real threads, judged by the log."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from djwsbridge import runtime
from djwsbridge.chat import services
from djwsbridge.chat.models import Message
from djwsbridge.chat.values import MessageView, RoomView
from djwsbridge.log.models import Event
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.transport.failures import failure_of
from tests.servers import TIMEOUT, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

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


def race(person: User, room: RoomView, end: Callable[[], Any]) -> list[MessageView | Exception]:
    """Send messages of a person from several threads while their right to do so ends; return the replies."""
    start = threading.Barrier(SENDERS + 1)

    def send(numbers: range) -> list[MessageView | Exception]:
        try:
            start.wait(TIMEOUT)
            return [reply for number in numbers for reply in patiently(lambda: one(number))]  # noqa: B023
        finally:
            connection.close()

    def one(number: int) -> list[MessageView | Exception]:
        outgoing = services.Outgoing(
            actor=person, room_id=room.id, body=str(number), client_message_id=uuid.uuid4()
        )
        return services.send_messages([outgoing])

    def finish() -> None:
        try:
            start.wait(TIMEOUT)
            patiently(end)
        finally:
            connection.close()

    with ThreadPoolExecutor(SENDERS + 1) as pool:
        sending = [pool.submit(send, range(n, SENDS, SENDERS)) for n in range(SENDERS)]
        ending: Future[None] = pool.submit(finish)
        replies = [reply for future in sending for reply in future.result(TIMEOUT)]
        ending.result(TIMEOUT)
    return replies


def sent_after(room: RoomView, last: str) -> list[int]:
    """Return the numbers of the messages that are in the log of a room above an event."""
    events = Event.objects.filter(topic__name=f"room.{room.id}").order_by("seq")
    found = list(events.values_list("type", "seq"))
    assert [seq for _, seq in found] == list(range(1, len(found) + 1))
    [end] = [seq for type_, seq in found if type_ == last]
    return [seq for type_, seq in found if type_ == "message.sent" and seq > end]


def test_no_message_of_a_member_who_leaves_has_a_number_above_the_leaving(owner: User) -> None:
    late = {}
    for number in range(RACES):
        person = User.objects.create_user(f"user{number}")
        room = services.create_room(actor=owner, title=f"Room {number}")
        services.join_room(actor=person, room_id=room.id)
        race(person, room, lambda: services.leave_room(actor=person, room_id=room.id))  # noqa: B023
        late[number] = sent_after(room, "member.left")
    assert not any(late.values()), f"{sum(map(bool, late.values()))} of {RACES} leavings"
