"""Two processes of the site with Redis and PostgreSQL between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.servers import Site

SignUp = Callable[[Site, str], Person]


@pytest.fixture
def sites(start_site: StartSite, postgres_site_url: str, redis_url: str) -> tuple[Site, Site]:
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
