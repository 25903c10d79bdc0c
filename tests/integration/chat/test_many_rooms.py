"""A person who is in more rooms than a connection listens to."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.servers import Site, run_manage

SignUp = Callable[[Site, str], Person]

LIMIT = 1_000  # DJWSBRIDGE_SUBSCRIPTIONS
ROOMS = 1_100
MAKE = f"""
from django.contrib.auth.models import User
from djwsbridge.chat.models import Membership, Room
ann, ben = User.objects.get(username="ann"), User.objects.get(username="ben")
rooms = Room.objects.bulk_create(
    Room(kind="group", title=f"Room {{n}}", title_key=f"room {{n}}", slug=f"room-{{n}}") for n in range({ROOMS})
)
Membership.objects.bulk_create(Membership(room=room, user=ann) for room in rooms)
Membership.objects.bulk_create(Membership(room=room, user=ben) for room in rooms[-3:] + rooms[:1])
"""


@pytest.fixture
def server() -> str:
    return "uvicorn"


@pytest.fixture
def people(
    server: str, start_site: StartSite, sqlite_url: str, sign_up: SignUp
) -> tuple[Person, Person]:
    """Return ann, who is in all rooms, and ben, who is in a few."""
    site = start_site(server, env={"DATABASE_URL": sqlite_url})
    ann, ben = sign_up(site, "ann"), sign_up(site, "ben")
    run_manage("shell", "-c", MAKE, env=site.env)
    return ann, ben


def say(person: Person, room: int, body: str) -> dict[str, Any]:
    message = {"body": body, "client_message_id": str(uuid.uuid4())}
    answer = person.post(f"/chat/api/rooms/{room}/messages/", **message)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def greet(person: Person, **fields: Any) -> tuple[Any, dict[str, Any]]:
    socket = person.open_socket("/ws/bridge/", subprotocol="djwsbridge.v1")
    socket.send(id=1, cmd="connect", **fields)
    return socket, socket.wait_for(id=1)["ok"]


def common(ben: Person) -> list[int]:
    """Return the rooms that ben is in."""
    rooms = ben.client.get("/chat/api/rooms/").json()["rooms"]
    return [room["id"] for room in rooms if room["is_member"]]


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_no_room_is_cut_off_in_silence(people: tuple[Person, Person]) -> None:
    ann, ben = people
    socket, welcome = greet(ann)
    assert len(welcome["topics"]) == LIMIT
    assert len(welcome["announced"]) == ROOMS + 1 - LIMIT
    assert not welcome["topics"].keys() & welcome["announced"].keys()
    [room, other, *_] = [id_ for id_ in common(ben) if f"room.{id_}" in welcome["announced"]]

    # Of an announced room the newest seq is told, once.
    seq = say(ben, room, "hello")["seq"]
    assert socket.wait_for(push="topics.moved")["data"] == {"topics": {f"room.{room}": seq}}

    # Whoever wants its pushes subscribes, although the connection has as many topics as it may.
    socket.send(id=2, cmd="subscribe", topic=f"room.{room}")
    assert socket.wait_for(id=2)["ok"] == {}
    say(ben, room, "and again")
    assert socket.wait_for(push="message.sent")["data"]["body"] == "and again"

    # The client shows another room.
    socket.send(id=3, cmd="unsubscribe", topic=f"room.{room}")
    assert socket.wait_for(id=3)["ok"] == {}
    seq = say(ben, room, "once more")["seq"]
    assert socket.wait_for(push="topics.moved")["data"] == {"topics": {f"room.{room}": seq}}

    # The client comes back: what it has shown lately comes first.
    cursors = {f"room.{room}": ("an epoch", seq)}
    _, welcome = greet(ann, cursors=cursors)
    assert f"room.{room}" in welcome["topics"]
    assert f"room.{other}" in welcome["announced"]


def test_others_see_a_person_in_an_announced_room(people: tuple[Person, Person]) -> None:
    ann, ben = people
    _, welcome = greet(ann)
    [room, *_] = [id_ for id_ in common(ben) if f"room.{id_}" in welcome["announced"]]
    socket, _ = greet(ben)
    socket.send(id=2, cmd="presence.list", topic=f"room.{room}")
    assert [user["name"] for user in socket.wait_for(id=2)["ok"]["users"]] == ["ann", "ben"]


def test_a_room_that_was_left_is_not_announced(people: tuple[Person, Person]) -> None:
    ann, ben = people
    socket, welcome = greet(ann)
    left, kept = [id_ for id_ in common(ben) if f"room.{id_}" in welcome["announced"]][:2]
    assert ann.post(f"/chat/api/rooms/{left}/leave/").status_code == 200
    socket.wait_for(push="room.left")
    say(ben, left, "unheard")
    say(ben, kept, "heard")
    told = socket.wait_for(push="topics.moved")["data"]["topics"]
    assert f"room.{kept}" in told
    say(ben, left, "unheard")
    say(ben, kept, "heard")
    assert socket.wait_for(push="topics.moved")["data"]["topics"].keys() == {f"room.{kept}"}


def test_a_room_that_is_joined_beyond_the_limit_is_announced(
    people: tuple[Person, Person],
) -> None:
    ann, ben = people
    socket, _ = greet(ann)
    room = ben.make_room("One more")["id"]
    assert ann.post(f"/chat/api/rooms/{room}/join/").status_code == 200
    socket.wait_for(push="room.joined")
    seq = say(ben, room, "hello")["seq"]
    while True:
        told = socket.wait_for(push="topics.moved")["data"]["topics"]
        if told.get(f"room.{room}") == seq:
            break


def test_rooms_are_listed_by_their_ids(people: tuple[Person, Person]) -> None:
    ann, ben = people
    [first, second, *_] = common(ben)
    ids = ann.client.get(f"/chat/api/rooms/?ids={first},{second},999999").json()["rooms"]
    assert {room["id"] for room in ids} == {first, second}
    one = ann.client.get(f"/chat/api/rooms/?ids={first}").json()["rooms"]
    assert [room["id"] for room in one] == [first]
    too_many = ",".join(["1"] * 201)
    for bad in ("", "a", "1,", "-1", too_many, "1%0A"):
        answer = ann.client.get(f"/chat/api/rooms/?ids={bad}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_field"), bad
