"""The plain room socket under real servers, in the words of the second seed's page."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.lasting_site import vacate
from tests.servers import TIMEOUT, ServerName, Site

SignUp = Callable[[Site, str], Person]


@pytest.fixture(scope="module", params=["fast", "daphne"])
def lasting_site(request: pytest.FixtureRequest, start_lasting_site: StartSite) -> Site:
    server: ServerName = request.param
    return start_lasting_site(server)


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return vacate(lasting_site)


def test_three_people_talk_as_the_seeds_page_does(site: Site, sign_up: SignUp) -> None:
    alice, bob, carol = (sign_up(site, name) for name in ("alice", "bob", "carol"))
    room = alice.make_room("General")

    a = alice.open_socket("/ws/chat/General/")
    assert a.receive() == {"type": "user_list", "users": ["alice"]}
    assert a.receive() == {"type": "user_join", "user": "alice"}

    b = bob.open_socket("/ws/chat/general/")
    assert b.receive() == {"type": "user_list", "users": ["alice", "bob"]}
    assert a.receive() == {"type": "user_join", "user": "bob"}
    c = carol.enter("general")
    assert a.receive() == b.wait_for(user="carol") == {"type": "user_join", "user": "carol"}

    b.send(message="Hello <b>everybody</b>")
    said = {"type": "chat_message", "user": "bob", "message": "Hello <b>everybody</b>"}
    assert a.receive() == b.receive() == c.receive() == said

    a.send(message="/pm bob only  for you")
    heard = {"type": "private_message", "user": "alice", "message": "only  for you"}
    assert b.receive() == heard
    delivered = {
        "type": "private_message_delivered",
        "target": "bob",
        "message": "only  for you",
    }
    assert a.receive() == delivered

    a.send(message="to all")
    said = {"type": "chat_message", "user": "alice", "message": "to all"}
    assert a.receive() == b.receive() == c.receive() == said  # and nothing private before it

    history = bob.client.get(f"/chat/api/rooms/{room['id']}/messages/").json()
    assert [message["body"] for message in history["messages"]] == [
        "Hello <b>everybody</b>",
        "to all",
    ]
    direct = bob.post("/chat/api/direct/", user=alice_id(history)).json()
    assert direct["peer"]["name"] == "alice"
    assert direct["last_message"]["body"] == "only  for you"

    c.close()
    assert a.receive() == b.receive() == {"type": "user_leave", "user": "carol"}


@pytest.mark.parametrize("written", ["/pm\tbob secret", "/PM bob secret", " /pm bob secret"])
def test_nothing_private_is_said_aloud(site: Site, sign_up: SignUp, written: str) -> None:
    alice, bob = sign_up(site, "alice"), sign_up(site, "bob")
    room = alice.make_room("General")
    a, b = alice.enter("general"), bob.enter("general")
    a.wait_for(type="user_join", user="bob")
    a.send(message=written)
    assert b.receive() == {"type": "private_message", "user": "alice", "message": "secret"}
    history = bob.client.get(f"/chat/api/rooms/{room['id']}/messages/").json()
    assert history["last_seq"] == 1, "bob has joined, and nobody has said anything"
    assert history["messages"] == []


def test_who_says_something_and_goes_has_said_it(site: Site, sign_up: SignUp) -> None:
    alice, bob = sign_up(site, "alice"), sign_up(site, "bob")
    alice.make_room("General")
    a, b = alice.enter("general"), bob.enter("general")
    bodies = [f"last words {number}" for number in range(5)]
    # In one piece, as a page does that is closed: messages, and behind them the close frame.
    protocol = a.connection.protocol
    # Under its lock, or the thread that reads would send a part of it, behind the rest.
    with a.connection.protocol_mutex:
        for body in bodies:
            protocol.send_text(json.dumps({"message": body}).encode())
        protocol.send_close(1001)
        a.connection.socket.sendall(b"".join(protocol.data_to_send()))
    for body in bodies:
        said = {"type": "chat_message", "user": "alice", "message": body}
        assert b.wait_for(type="chat_message") == said
    b.wait_for(type="user_leave", user="alice")


def test_a_server_that_stops_has_stored_who_was_here(site: Site, sign_up: SignUp) -> None:
    alice = sign_up(site, "alice")
    alice.make_room("General")
    alice.enter("general")
    site.stop()
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT last_seen FROM djwsbridge_chat_profile").fetchall()
    assert len(rows) == 1
    assert rows[0][0] is not None


def alice_id(history: dict[str, list[dict[str, dict[str, int]]]]) -> int:
    return history["messages"][1]["sender"]["id"]


def test_a_private_message_to_somebody_who_is_away_waits_for_them(
    site: Site, sign_up: SignUp
) -> None:
    alice, bob = sign_up(site, "alice"), sign_up(site, "bob")
    alice.make_room("General")
    a, b = alice.enter("general"), bob.enter("general")
    a.wait_for(type="user_join", user="bob")
    b.close()
    a.send(message="/pm bob are you there?")
    a.send(message="to all")
    # No word of delivery comes before it, although bob's lease lingers.
    assert a.receive() == {"type": "chat_message", "user": "alice", "message": "to all"}
    page = bob.client.get("/chat/direct/alice/")
    assert "are you there?" in page.text


def test_mistakes_are_answered_and_cost_nothing(site: Site, sign_up: SignUp) -> None:
    alice = sign_up(site, "alice")
    room = alice.make_room("General")
    a = alice.enter("general")
    for frame, code in (
        ({"message": "/pm nobody hi"}, "bad_recipient"),
        ({"message": "/pm"}, "bad_recipient"),
        ({"message": "/pm alice"}, "empty_body"),
        ({"message": "/pm alice  "}, "empty_body"),
        ({"message": "/pmalice a secret"}, "bad_recipient"),
        ({"message": "  "}, "empty_body"),
        ({"message": 5}, "bad_field"),
        ({"message": None}, "bad_field"),
        ({}, "bad_field"),
    ):
        a.send(**frame)
        assert a.receive()["code"] == code, frame
    a.send(message="see /pm")
    assert a.receive()["message"] == "see /pm"
    history = alice.client.get(f"/chat/api/rooms/{room['id']}/messages/").json()
    assert history["last_seq"] == 1


def test_a_note_to_oneself_is_private(site: Site, sign_up: SignUp) -> None:
    alice = sign_up(site, "alice")
    alice.make_room("General")
    a = alice.enter("general")
    a.send(message="/pm alice buy milk")
    frames = [a.receive(), a.receive()]
    assert {"type": "private_message", "user": "alice", "message": "buy milk"} in frames
    delivered = {"type": "private_message_delivered", "target": "alice", "message": "buy milk"}
    assert delivered in frames


@pytest.mark.parametrize("title", ["Tea & biscuits", "Книжный клуб", "北京 の 旅", "a/b 100%"])
def test_any_title_is_an_address(site: Site, sign_up: SignUp, title: str) -> None:
    alice = sign_up(site, "alice")
    alice.make_room(title)
    a = alice.enter(quote(title))
    a.send(message="here")
    assert a.receive() == {"type": "chat_message", "user": "alice", "message": "here"}


def test_no_such_room(site: Site, sign_up: SignUp) -> None:
    alice, bob, carol = (sign_up(site, name) for name in ("alice", "bob", "carol"))
    a = alice.connect()
    carol_id = carol.client.get("/chat/").text.split('"user": {"id": ')[1].split(",")[0]
    private = bob.post("/chat/api/direct/", user=int(carol_id)).json()
    for name in ("nowhere", private["slug"]):
        socket = alice.open_socket(f"/ws/chat/{name}/")
        refused = socket.receive()
        assert refused == {"error": "Not found.", "code": "not_found"}
        with pytest.raises(ConnectionClosed) as caught:
            socket.connection.recv(timeout=TIMEOUT)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4403
    a.close()


def test_pages_and_plain_sockets_share_a_room(site: Site, sign_up: SignUp) -> None:
    alice, bob = sign_up(site, "alice"), sign_up(site, "bob")
    room = alice.make_room("General")
    other = alice.make_room("Other")
    page, plain = alice.connect(), bob.enter("general")
    joined = page.wait_for(push="member.joined")
    assert joined["data"]["user"]["name"] == "bob"
    bob.post(f"/chat/api/rooms/{other['id']}/join/")
    for number, (target, body) in enumerate(((other, "elsewhere"), (room, "here")), 2):
        page.send(
            id=number,
            cmd="message.send",
            room=target["id"],
            body=body,
            client_message_id=f"00000000-0000-4000-8000-00000000000{number}",
        )
        assert page.wait_for(id=number)["ok"]["body"] == body
    # What is said in the other room is not for this socket, although bob is a member there.
    assert plain.receive() == {"type": "chat_message", "user": "alice", "message": "here"}
    plain.send(message="and back")
    pushed = page.wait_for(push="message.sent", seq=3)
    assert pushed["data"]["body"] == "and back"
    assert pushed["topic"] == f"room.{room['id']}"
