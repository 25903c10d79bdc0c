"""Two processes of the site with Redis and PostgreSQL between them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.lasting_site import vacate
from tests.servers import PostgresServer, Site, run_manage, wait_until

IN_TIME = (
    2.0 * 3
)  # seconds: what is promised, times three for a machine that runs other tests as well
SignUp = Callable[[Site, str], Person]


@pytest.fixture(scope="module")
def lasting_sites(
    start_lasting_site: StartSite,
    postgres: PostgresServer,
    migrated_postgres: str,
    counter: Iterator[int],
    redis_url: str,
) -> tuple[Site, Site]:
    url = postgres.create_database(f"nodes_{next(counter)}", template=migrated_postgres)
    env = {"DATABASE_URL": url, "REDIS_URL": redis_url}
    return start_lasting_site("uvicorn", env=env), start_lasting_site("daphne", env=env)


@pytest.fixture
def sites(lasting_sites: tuple[Site, Site]) -> tuple[Site, Site]:
    one, other = lasting_sites
    return vacate(one), vacate(other)


@pytest.fixture
def fresh_sites(start_site: StartSite, postgres_site_url: str, redis_url: str) -> tuple[Site, Site]:
    """Serve it to one test: a process that has written who was here may take a minute to write it again."""
    env = {"DATABASE_URL": postgres_site_url, "REDIS_URL": redis_url}
    return start_site("uvicorn", env=env), start_site("daphne", env=env)


def test_people_on_two_nodes_talk(sites: tuple[Site, Site], sign_up: SignUp) -> None:
    one, other = sites
    alice, bob = sign_up(one, "alice"), sign_up(other, "bob")
    room = alice.make_room("General")
    a, b = alice.enter("general"), bob.enter("general")
    a.wait_for(type="user_join", user="bob")
    b.send(message="from the other node")
    a.wait_for(type="chat_message", user="bob", message="from the other node")
    a.send(message="/pm bob psst")
    b.wait_for(type="private_message", user="alice", message="psst")
    a.wait_for(type="private_message_delivered", target="bob", message="psst")

    pages = (alice.connect(), bob.connect())
    direct = bob.client.get("/chat/api/rooms/").json()["rooms"]
    [private] = [each for each in direct if each["kind"] == "direct"]
    assert private["last_message"]["body"] == "psst"
    pages[1].send(
        id=2,
        cmd="message.send",
        room=private["id"],
        body="heard",
        client_message_id="6fa459ea-ee8a-4ca4-894e-db77e160355e",
    )
    assert pages[1].wait_for(id=2)["ok"]["seq"] == 2
    assert pages[0].wait_for(push="message.sent", seq=2)["data"]["body"] == "heard"

    left = bob.post(f"/chat/api/rooms/{room['id']}/leave/")
    assert left.status_code == 200
    gone = pages[0].wait_for(push="member.left")
    assert gone["data"]["user"]["name"] == "bob"
    assert pages[1].wait_for(push="room.left")["data"] == {"room": room["id"]}
    a.send(message="is he gone?")
    a.wait_for(type="chat_message", message="is he gone?")
    b.send(message="let me say")
    assert b.wait_for(code="not_found")


def test_x2_a_user_has_one_limit_for_sockets_and_http(
    start_site: StartSite, sqlite_url: str, sign_up: SignUp
) -> None:
    alice = sign_up(start_site("uvicorn", env={"DATABASE_URL": sqlite_url}), "alice")
    room = alice.make_room("General")["id"]
    page = alice.connect()

    def send(number: int) -> dict[str, Any]:
        message = {"body": "hello", "client_message_id": str(uuid.uuid4())}
        if number % 2:
            answer: dict[str, Any] = alice.post(
                f"/chat/api/rooms/{room}/messages/", **message
            ).json()
            return answer
        page.send(id=number + 2, cmd="message.send", room=room, **message)
        frame = page.wait_for(id=number + 2)
        return frame.get("ok") or frame

    assert all("seq" in send(number) for number in range(20))
    refused = [send(number)["error"]["code"] for number in range(20, 23)]
    assert refused == ["rate_limited"] * 3


def test_the_first_message_of_a_private_conversation_arrives(
    sites: tuple[Site, Site], sign_up: SignUp
) -> None:
    """The other node is told to listen while the message is on its way; what it misses is recovered."""
    one, other = sites
    writers = [sign_up(one, f"writer{number}") for number in range(10)]
    bob = sign_up(other, "bob")
    bob_id = bob.client.get("/chat/api/me/").json()["id"]
    phone = bob.connect()
    for number, writer in enumerate(writers):
        room = writer.post("/chat/api/direct/", user=bob_id).json()
        topic = f"room.{room['id']}"
        sent = writer.post(
            f"/chat/api/rooms/{room['id']}/messages/",
            body=f"first {number}",
            client_message_id=str(uuid.uuid4()),
        ).json()
        joined = phone.wait_for(push="room.joined")
        assert joined["data"]["room"]["id"] == room["id"]
        asked = 2 + number
        heard = []
        phone.send(id=asked, cmd="topic.recover", topic=topic, epoch="", seq=0)
        while True:
            frame = phone.receive()
            if frame.get("push") == "message.sent":
                heard.append(frame)
            if frame.get("id") == asked:
                break
        heard += frame["ok"].get("events", [])
        if not heard:  # it was committed after the log was read: then it comes by itself
            heard.append(phone.wait_for(push="message.sent", topic=topic))
        assert {message["data"]["body"] for message in heard} == {sent["body"]}
        assert {message["seq"] for message in heard} == {1}


def test_receipts_typing_and_who_was_here_cross_the_nodes(
    fresh_sites: tuple[Site, Site], sign_up: SignUp, postgres_site_url: str
) -> None:
    one, other = fresh_sites
    alice, bob = sign_up(one, "alice"), sign_up(other, "bob")
    bob_id = bob.client.get("/chat/api/me/").json()["id"]
    room = alice.make_room("General")
    bob.post(f"/chat/api/rooms/{room['id']}/join/")
    topic = f"room.{room['id']}"
    a, b = alice.connect(), bob.connect()

    b.send(id=2, cmd="ack", seqs={topic: 1})
    assert b.wait_for(id=2)["ok"] == {}
    assert a.wait_for(push="receipt", topic=topic)["data"]["delivered_seq"] == 1
    b.send(id=3, cmd="typing.set", room=room["id"])
    assert a.wait_for(push="typing", topic=topic)["data"]["user"]["name"] == "bob"
    b.send(id=4, cmd="ack", seqs={topic: 2})
    assert b.wait_for(id=4)["error"]["code"] == "bad_ack"

    b.close()
    while a.wait_for(push="presence.changed", topic=topic)["data"]["state"] == "online":
        pass
    with psycopg.connect(postgres_site_url, autocommit=True) as database:
        seen = "SELECT 1 FROM djwsbridge_chat_profile WHERE user_id = %s AND last_seen IS NOT NULL"
        wait_until(lambda: database.execute(seen, [bob_id]).fetchone(), "bob was seen")
    a.send(id=5, cmd="room.members", room=room["id"])
    here, gone = a.wait_for(id=5)["ok"]["members"]
    assert (here["name"], here["online"], here["last_seen"]) == ("alice", True, None)
    assert (gone["name"], gone["online"]) == ("bob", False)
    assert gone["last_seen"] is not None


def test_a_new_name_reaches_what_is_sent_next_on_every_node(
    sites: tuple[Site, Site], sign_up: SignUp
) -> None:
    """Another person may take the old name at once; see S1 of the promises' holes."""
    one, other = sites
    alice, bob = sign_up(one, "alice"), sign_up(other, "bob")
    room = alice.make_room("General")
    topic = f"room.{room['id']}"
    devices = (alice.enter("general"), alice.connect())
    b, page = bob.enter("general"), bob.connect()

    rename = "u = User.objects.get(username='alice'); u.username = 'alicia'; u.save();"
    code = f"from django.contrib.auth.models import User; {rename} print(time.monotonic())"
    since = float(run_manage("shell", "-v0", "-c", f"import time; {code}", env=one.env))
    b.wait_for(type="user_leave", user="alice")
    b.wait_for(type="user_join", user="alicia")
    while page.wait_for(push="presence.changed", topic=topic)["data"]["state"] == "offline":
        pass
    assert time.monotonic() - since < IN_TIME
    page.send(id=2, cmd="presence.list", topic=topic)
    assert [user["name"] for user in page.wait_for(id=2)["ok"]["users"]] == ["alicia", "bob"]

    namesake = sign_up(other, "alice")
    for number, device in enumerate(devices):
        say(device, number, room["id"])
        sent = page.wait_for(push="message.sent", topic=topic)["data"]
        assert (sent["sender"]["name"], sent["body"]) == ("alicia", str(number))
        b.wait_for(type="chat_message", user="alicia", message=str(number))
    answer = alice.post(
        f"/chat/api/rooms/{room['id']}/messages/", body="2", client_message_id=str(uuid.uuid4())
    )
    assert answer.json()["sender"]["name"] == "alicia"
    devices[1].send(id=4, cmd="typing.set", room=room["id"])
    assert page.wait_for(push="typing", topic=topic)["data"]["user"]["name"] == "alicia"
    devices[0].send(message="/pm bob psst")
    b.wait_for(type="private_message", user="alicia", message="psst")
    namesake_device = namesake.enter("general")
    b.send(message="/pm alice for the new one")
    namesake_device.wait_for(type="private_message", message="for the new one")
    b.send(message="/pm alicia for the old one")
    devices[0].wait_for(type="private_message", message="for the old one")


def say(device: Any, number: int, room: int) -> None:
    """Send a message in the words of the device: the plain socket of a room, or the pages' own."""
    if number == 0:
        device.send(message=str(number))
    else:
        fields = {"room": room, "body": str(number), "client_message_id": str(uuid.uuid4())}
        device.send(id=3, cmd="message.send", **fields)


def test_both_nodes_are_ready(sites: tuple[Site, Site]) -> None:
    for site in sites:
        assert site.status("/healthz") == 200
        assert site.status("/readyz") == 200


def test_a_node_without_redis_is_not_ready(
    start_site: StartSite, sqlite_url: str, sign_up: SignUp
) -> None:
    env = {"DATABASE_URL": sqlite_url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    site = start_site("uvicorn", env=env)
    assert site.status("/healthz") == 200
    assert site.status("/readyz") == 503
    alice = sign_up(site, "alice")
    room = alice.make_room("General")
    sent = alice.post(
        f"/chat/api/rooms/{room['id']}/messages/",
        body="stored all the same",
        client_message_id="6fa459ea-ee8a-4ca4-894e-db77e160355e",
    )
    assert sent.status_code == 201
