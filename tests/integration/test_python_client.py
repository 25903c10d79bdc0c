"""The Python client against the reference project under real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from djwsbridge.client import (
    RESET,
    Client,
    CommandError,
    HandshakeRefusedError,
    Message,
    Push,
    State,
    StateChange,
    StoppedError,
)
from djwsbridge.protocol.codes import ErrorCode
from tests.conftest import StartSite
from tests.integration.chat.conftest import Person
from tests.lasting_site import vacate
from tests.servers import SERVERS, TIMEOUT, Process, ServerName, Site

MESSAGES = 100  # enough that many are on their way at any moment

ConnectAs = Callable[..., Client]


@pytest.fixture(scope="module", params=SERVERS)
def lasting_site(request: pytest.FixtureRequest, start_lasting_site: StartSite) -> Site:
    server: ServerName = request.param
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings_without_limits"}
    return start_lasting_site(server, env=env)


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return vacate(lasting_site)


@pytest.fixture
def people(site: Site) -> Iterator[tuple[Person, Person, int]]:
    """Return two people and a room that they are members of."""
    with ExitStack() as stack:
        alice, bob = (Person(site, name, stack) for name in ("alice", "bob"))
        room = alice.make_room("General")["id"]
        assert bob.post(f"/chat/api/rooms/{room}/join/").status_code == 200
        yield alice, bob, room


def client_of(person: Person, **options: Any) -> Client:
    cookies = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
    headers = {"Cookie": cookies, "Origin": person.site.url}
    return Client(f"{person.site.ws_url}/ws/bridge/", headers=lambda: headers, **options)


async def receive(client: Client, room: int, *, last: int) -> list[Push]:
    """Return the messages of a room as they come, up to a seq."""
    received: list[Push] = []
    async for push in client.pushes():
        assert push.type != RESET, push
        if push.type == "message.sent" and push.topic == f"room.{room}":
            received.append(push)
            if push.seq == last:
                return received
    raise AssertionError("The client has ended.")


async def stored(client: Client, room: int) -> list[dict[str, Any]]:
    """Return the messages of a room as the server has them."""
    page = await client.request("message.list", room=room, limit=500)
    messages: list[dict[str, Any]] = page["messages"]
    return messages


async def soon(*awaitables: Any) -> Any:
    return await asyncio.wait_for(asyncio.gather(*awaitables), TIMEOUT)


async def test_what_is_sent_together_arrives_in_order_and_once(
    people: tuple[Person, Person, int],
) -> None:
    alice, bob, room = people
    bodies = [f"message {number}" for number in range(MESSAGES)]
    async with client_of(alice) as sender, client_of(bob) as reader:
        sends = [asyncio.create_task(sender.send_message(room, body)) for body in bodies]
        sent: list[Message] = await soon(*sends)
        last = sent[-1].seq
        for client in (sender, reader):
            (received,) = await soon(receive(client, room, last=last))
            assert [push.data["body"] for push in received] == bodies
            assert [push.seq for push in received] == [message.seq for message in sent]
        assert [message["body"] for message in await stored(reader, room)] == bodies


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ws/nope/", {}, 404),
        ("/ws/bridge/", {"Cookie": "sessionid=x", "Origin": "https://evil.com"}, 403),
        ("/chat/", {}, 404),
    ],
)
async def test_a_refused_handshake_says_what_is_wrong(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    if site.server == "daphne":
        status = 403  # whatever the reason
    changes: list[StateChange] = []
    client = Client(
        f"{site.ws_url}{path}", headers=headers, on_state=changes.append, open_timeout=2.0
    )
    expected = StoppedError if status == 403 else TimeoutError
    with pytest.raises(expected, match=f"HTTP {status}") as failed:
        await client.__aenter__()
    assert isinstance(failed.value.__cause__, HandshakeRefusedError)
    assert failed.value.__cause__.status == status
    refused = [change.refused for change in changes if change.refused is not None]
    assert {error.status for error in refused} == {status}
    assert f"The WebSocket was refused with HTTP {status}. " in caplog.text


async def test_a_killed_server_loses_nothing_and_doubles_nothing(
    site: Site, people: tuple[Person, Person, int]
) -> None:
    alice, bob, room = people
    bodies = [f"message {number}" for number in range(MESSAGES)]
    async with client_of(alice) as sender, client_of(bob) as reader:
        sends = [asyncio.create_task(sender.send_message(room, body)) for body in bodies]
        await soon(sends[MESSAGES // 4])
        await asyncio.to_thread(site.kill)
        while sender.state is State.ONLINE:
            await sender._wait_change()
        Process.start(site)  # from this thread: a server ends with the thread that started it
        await asyncio.to_thread(site.wait_answer)
        sent: list[Message] = await soon(*sends)
        found = await stored(reader, room)
        for client in (sender, reader):
            (received,) = await soon(receive(client, room, last=sent[-1].seq))
            assert [push.data["body"] for push in received] == bodies
    assert [message["body"] for message in found] == bodies
    assert [message["seq"] for message in found] == [message.seq for message in sent]


async def test_another_process_goes_on_where_one_ended(
    people: tuple[Person, Person, int],
) -> None:
    alice, bob, room = people
    async with client_of(alice) as sender:
        async with client_of(bob) as reader:
            first = await sender.send_message(room, "while here")
            await soon(receive(reader, room, last=first.seq))
            cursors = reader.cursors
        missed = [await sender.send_message(room, f"missed {number}") for number in range(3)]
        async with client_of(bob, cursors=cursors) as reader:
            live = await sender.send_message(room, "live")
            (received,) = await soon(receive(reader, room, last=live.seq))
            expected = [message.seq for message in (*missed, live)]
            assert [push.seq for push in received] == expected


async def test_a_refusal_is_raised_and_the_client_goes_on(
    people: tuple[Person, Person, int],
) -> None:
    alice, _, room = people
    async with client_of(alice) as client:
        with pytest.raises(CommandError) as caught:
            await client.send_message(room + 1000, "hi")
        assert caught.value.code is ErrorCode.NOT_FOUND
        sent = await client.send_message(room, "hi", "7e57d004-2b97-4e7a-b45f-5387367791cd")
        again = await client.send_message(room, "hi", "7e57d004-2b97-4e7a-b45f-5387367791cd")
        assert again == sent
        with pytest.raises(CommandError) as caught:
            await client.send_message(room, "ho", "7e57d004-2b97-4e7a-b45f-5387367791cd")
        assert caught.value.code is ErrorCode.IDEMPOTENCY_CONFLICT


async def test_a_room_joined_later_is_heard(people: tuple[Person, Person, int]) -> None:
    alice, bob, _ = people
    async with client_of(alice) as sender, client_of(bob) as reader:
        room = (await asyncio.to_thread(alice.make_room, "Later"))["id"]
        await asyncio.to_thread(bob.post, f"/chat/api/rooms/{room}/join/")
        async for push in reader.pushes():
            if push.type == "room.joined":
                break
        sent = await sender.send_message(room, "welcome")
        (received,) = await soon(receive(reader, room, last=sent.seq))
        assert [push.data["body"] for push in received] == ["welcome"]
