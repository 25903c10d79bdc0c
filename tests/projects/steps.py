"""The twenty steps that every project is taken through, in their order: `STEPS`, at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from djwsbridge.client import Client, Push
from tests.projects.browser import chat_in_chromium
from tests.projects.rig import Person, Trial
from tests.projects.waiting import heard, soon, until

__all__ = ["STEPS", "Step"]

REVOKED_AFTER = 5.0  # seconds until a socket whose credential has ended must be closed
DRAINED_AFTER = 18.0  # seconds: DJWSBRIDGE_DRAIN_SECONDS, and what deploy.md adds to it
REVOKED, TOKEN_INVALID = 4410, 4401
NO_ISSUES = "System check identified no issues (0 silenced)."
NEW_PASSWORD = "another correct horse"

Step = Callable[[Trial], Awaitable[None]]


async def migrate(trial: Trial) -> None:
    """Make the tables and collect the static files."""
    trial.build()
    for arguments in trial.project.migrations:
        await trial.manage("migrate", "--verbosity=0", *arguments)
    await trial.manage("collectstatic", "--no-input", "--verbosity=0")
    assert "No changes detected" in await trial.manage("makemigrations", "--check", "--dry-run")


async def check(trial: Trial) -> None:
    """Hear nothing from `check`."""
    said = await trial.manage("check")
    assert said.strip() == NO_ISSUES, said


async def check_deploy(trial: Trial) -> None:
    """Hear from `check --deploy` what is expected, and nothing else."""
    said = await trial.manage("check", "--deploy")
    assert set(re.findall(r"\((\w+\.[A-Z]\d+)\)", said)) == trial.project.deploy, said


async def log_in(trial: Trial) -> None:
    """Start the server, and log everybody in with the login form."""
    await trial.make_people()
    trial.start()
    for person in trial.people:
        page = await trial.log_in(person)
        assert page.status_code == 200, page.text
        assert page.url.path == trial.page(trial.project.home), page.text


async def connect_by_cookie(trial: Trial) -> None:
    """Connect as a page does."""
    for person in trial.people:
        async with trial.client(person) as client:
            assert client.user is not None
            assert (client.user.id, client.user.name) == (person.id, person.name)


async def connect_by_token(trial: Trial) -> None:
    """Ask for a JWT with name and password; connect with it in `connect` and in the header."""
    for person in trial.people:
        credentials = {person.name_field: person.name, "password": person.password}
        answer = await person.http.post(trial.path("/api/token/"), json=credentials)
        assert answer.status_code == 200, answer.text
        person.token = answer.json()["access"]
        async with trial.client(person, token=person.token) as client:
            assert client.user is not None
            assert client.user.id == person.id
    header = {"Authorization": f"{trial.project.token_type} {trial.people[0].token}"}
    async with trial.v1(header) as socket:
        assert await answer_to_connect(socket) == trial.people[0].id


async def connect_by_ticket(trial: Trial) -> None:
    """Get a ticket over HTTP for each attempt, and connect with it; it works once."""
    ann = trial.people[0]
    async with trial.client(ann, ticket=lambda: trial.ask_ticket(ann)) as client:
        assert client.user is not None
        assert client.user.id == ann.id
    ticket = await trial.ask_ticket(ann)
    async with trial.v1({}, ticket=ticket) as socket:
        assert await answer_to_connect(socket) == ann.id
    async with trial.v1({}, ticket=ticket) as socket:
        assert await close_code_of(socket) == TOKEN_INVALID


async def push_live(trial: Trial) -> None:
    """Push to one user; both kinds of sockets hear it, and no other user does."""
    ann, ben, _ = trial.people
    async with (
        trial.client(ann) as client,
        trial.client(ben) as other,
        trial.plain(ann) as plain,
    ):
        await trial.push(ann, {"content": "live"})
        assert (await heard(client, "signal")).data == {"content": "live"}
        assert json.loads(await soon(plain.recv())) == {"content": "live"}
        await trial.push(ben, {"content": "for ben"})
        assert (await heard(other, "signal")).data == {"content": "for ben"}


async def push_durable(trial: Trial) -> None:
    """Push durably: each push has the next number."""
    ann = trial.people[0]
    async with trial.client(ann) as client:
        for content in ("first", "second"):
            await trial.push(ann, {"content": content}, durable=True)
        first, second = [await heard(client, "signal") for _ in range(2)]
        assert [first.data["content"], second.data["content"]] == ["first", "second"]
        assert first.seq is not None
        assert second.seq == first.seq + 1


async def store_letters(trial: Trial) -> None:
    """Write private messages in the Store way: each is delivered, stored, and in the one chat of the two."""
    ann, ben, _ = trial.people
    letters = ["one", "two", "three"]
    async with trial.plain(ann) as sender, trial.plain(ben) as receiver:
        for letter in letters:
            frame = {"type": "text", "message": letter, "recipient": ben.id}
            await sender.send(json.dumps(frame))
            for socket in (sender, receiver):
                assert json.loads(await soon(socket.recv())) == {**frame, "sender": ann.id}

    async def are_stored() -> bool:
        stored = (await ben.http.get(trial.path("/letters/"))).json()
        assert stored["chats"] <= 1, stored
        return bool(stored["letters"] == letters)

    await until(are_stored, "the letters to be stored")


async def chat_over_socket(trial: Trial) -> None:
    """Make a room, and write to each other in it over sockets."""
    ann, ben, _ = trial.people
    trial.room = await trial.api(ann, "rooms/", {"title": "Harbour"})
    room = trial.room["id"]
    async with trial.client(ann) as one, trial.client(ben) as other:
        await trial.api(ben, f"rooms/{room}/join/", {})
        await heard(one, "member.joined")
        sent = await soon(one.send_message(room, "Is anyone there?"))
        push = await heard(other, "message.sent")
        assert (push.seq, push.data["sender"]) == (sent.seq, {"id": ann.id, "name": ann.name})
        await soon(other.send_message(room, "Yes."))
        await heard(one, "message.sent", body="Yes.")


async def chat_over_rest(trial: Trial) -> None:
    """Write in the room and in a private conversation over the REST API; sockets hear it, and the pages are there."""
    ann, ben, _ = trial.people
    room = trial.room["id"]
    async with trial.client(ann) as one, trial.client(ben) as other:
        await trial.send(ann, room, "By REST")
        await heard(other, "message.sent", body="By REST")
        await trial.send(ben, room, "Likewise")
        await heard(one, "message.sent", body="Likewise")
        direct = await trial.api(ann, "direct/", {"user": ben.id})
        assert direct["peer"]["id"] == ben.id
        joined = await heard(other, "room.joined")
        await trial.send(ann, direct["id"], "Between us")
        await heard(other, "message.sent", body="Between us", room=direct["id"])
    page = await trial.api(ann, f"rooms/{room}/messages/")
    assert [one["body"] for one in page["messages"]][-2:] == ["By REST", "Likewise"]
    urls = {ann: direct["url"], ben: joined.data["room"]["url"]}
    for person, url in urls.items():
        answer = await person.http.get(url)
        assert answer.status_code == 200, (url, answer.text)
        assert 'id="chat-data"' in answer.text


async def page_in_chromium(trial: Trial) -> None:
    """Let two people chat on the pages, in two browsers."""
    await asyncio.to_thread(chat_in_chromium, trial, trial.report("png"))


async def recover(trial: Trial) -> None:
    """Come back after a while and get what was missed, in order and once."""
    ann, ben, _ = trial.people
    room = trial.room["id"]
    async with trial.client(ann) as sender:
        async with trial.client(ben) as reader:
            await soon(sender.send_message(room, "while here"))
            await heard(reader, "message.sent", body="while here")
            await trial.push(ben, {"content": "while here"}, durable=True)
            await heard(reader, "signal")
            cursors = reader.cursors
        missed = [f"missed {number}" for number in range(3)]
        for body in missed:
            await soon(sender.send_message(room, body))
        await trial.push(ben, {"content": "missed"}, durable=True)
        async with trial.client(ben, cursors=cursors) as reader:
            await soon(sender.send_message(room, "live"))
            found = await soon(durable_pushes(reader, last="live"))
    of_room = [one.data["body"] for one in found if one.type == "message.sent"]
    assert of_room == [*missed, "live"]
    assert [one.data for one in found if one.type == "signal"] == [{"content": "missed"}]


async def read(trial: Trial) -> None:
    """See how much is unread, read it, and let the author see that."""
    ann, ben, _ = trial.people
    room = trial.room["id"]
    async with trial.client(ann) as author, trial.client(ben) as reader:
        for client in (author, reader):
            await client.request("room.mark_read", room=room, seq=await last_seq(trial, ann))
        sent = await soon(author.send_message(room, "Read this"))
        await heard(reader, "message.sent", body="Read this")
        assert await unread(trial, ben) == 1
        assert await unread(trial, ann) == 0
        answer = await reader.request("room.mark_read", room=room, seq=sent.seq)
        assert answer == {"read_seq": sent.seq}
        await heard(author, "receipt", user=ben.id, read_seq=sent.seq)
        assert await unread(trial, ben) == 0


async def presence(trial: Trial) -> None:
    """See who is here, who comes, and who has left."""
    ann, _, cleo = trial.people
    room = trial.room["id"]
    person = {"id": cleo.id, "name": cleo.name}
    await trial.api(cleo, f"rooms/{room}/join/", {})
    async with trial.client(ann) as client:
        online = await client.request("presence.list", topic=f"room.{room}")
        assert person not in online["users"]
        async with trial.client(cleo):
            await heard(client, "presence.changed", user=person, state="online")
            online = await client.request("presence.list", topic=f"room.{room}")
            assert {"id": ann.id, "name": ann.name} in online["users"]
            assert person in online["users"]
        await heard(client, "presence.changed", user=person, state="offline")


async def typing(trial: Trial) -> None:
    """See that the other one is writing."""
    ann, ben, _ = trial.people
    room = trial.room["id"]
    async with trial.client(ann) as reader, trial.client(ben) as writer:
        await writer.request("typing.set", room=room)
        await heard(reader, "typing", room=room, user={"id": ben.id, "name": ben.name})


async def revoke(trial: Trial) -> None:
    """Log out, and change a password: the sockets that this concerns are closed soon, and the old token is refused."""
    cleo = trial.people[2]
    async with trial.v1(trial.headers(cleo)) as socket:
        assert await answer_to_connect(socket) == cleo.id
        await trial.post_form(cleo, trial.page("/accounts/logout/"))
        await assert_revoked(socket)
    await trial.log_in(cleo)
    ticket = await trial.ask_ticket(cleo)
    async with (
        trial.v1({}, token=cleo.token) as by_token,
        trial.v1({}, ticket=ticket) as by_ticket,
    ):
        for socket in (by_token, by_ticket):
            assert await answer_to_connect(socket) == cleo.id
        await change_password(trial, cleo)
        for socket in (by_token, by_ticket):
            await assert_revoked(socket)
    async with trial.v1({}, token=cleo.token) as socket:
        assert await close_code_of(socket) == TOKEN_INVALID


async def drain(trial: Trial) -> None:
    """End the server by SIGTERM and start it again: clients come back, and what was sent meanwhile is stored once."""
    ann, ben, _ = trial.people
    room = trial.room["id"]
    async with (
        trial.client(ann, ticket=lambda: trial.ask_ticket(ann)) as sender,
        trial.client(ben) as reader,
    ):
        begun = time.monotonic()
        await trial.stop()
        assert time.monotonic() - begun < DRAINED_AFTER
        sending = asyncio.ensure_future(sender.send_message(room, "while it was down"))
        await trial.start_again()
        sent = await soon(sending)
        push = await heard(reader, "message.sent", body="while it was down")
        assert push.seq == sent.seq
    page = await trial.api(ben, f"rooms/{room}/messages/")
    assert [one["body"] for one in page["messages"]].count("while it was down") == 1
    assert_quiet(trial)


async def soak(trial: Trial) -> None:
    """Put the site under load for ten seconds: nothing is lost, doubled or reordered, and no error is logged."""
    options = ("--url", trial.origin + trial.path("/"), "--seconds", "10", "--users", "3")
    said = await trial.manage("djwsbridge_soak", *options)
    assert "duplicates 0, gaps 0" in said, said
    assert_quiet(trial)


# -- what several steps need -------------------------------------------------------------------------------------------


async def durable_pushes(client: Client, *, last: str) -> list[Push]:
    """Return the numbered pushes that come, up to the message with this body and a push of the project."""
    found: list[Push] = []
    async for push in client.pushes():
        if push.seq is not None:
            found.append(push)
        types = {one.type for one in found}
        if "signal" in types and any(one.data.get("body") == last for one in found):
            break
    return found


async def answer_to_connect(socket: ClientConnection) -> int | str:
    """Return who the server says that the connection is."""
    while True:
        frame = json.loads(await soon(socket.recv()))
        if frame.get("id") == 1:
            user: int | str = frame["ok"]["user"]["id"]
            return user


async def close_code_of(socket: ClientConnection) -> int | None:
    """Read until the server has closed the connection, and return its close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await soon(socket.recv())
    return socket.close_code


async def assert_revoked(socket: ClientConnection) -> None:
    """Expect that the server closes a connection soon because its credential has ended."""
    assert await asyncio.wait_for(close_code_of(socket), REVOKED_AFTER) == REVOKED


async def change_password(trial: Trial, person: Person) -> None:
    """Fill in Django's form for a new password."""
    answer = await trial.post_form(
        person,
        trial.page("/accounts/password_change/"),
        old_password=person.password,
        new_password1=NEW_PASSWORD,
        new_password2=NEW_PASSWORD,
    )
    # The page after it may be denied: a replica does not know the new password yet.
    assert answer.history[0].status_code == 302, answer.text
    person.password = NEW_PASSWORD


async def unread(trial: Trial, person: Person) -> int:
    """Return how many messages of the room a person has not read."""
    listed = (await trial.api(person, "rooms/"))["rooms"]
    (count,) = (one["unread"] for one in listed if one["id"] == trial.room["id"])
    return int(count)


async def last_seq(trial: Trial, person: Person) -> int:
    """Return the newest number of the room."""
    return int((await trial.api(person, f"rooms/{trial.room['id']}/messages/"))["last_seq"])


def assert_quiet(trial: Trial) -> None:
    """Expect that the server has logged no error."""
    assert not re.search(r"Traceback|\bERROR\b|returned without", trial.site.log), trial.site.log


STEPS: tuple[Step, ...] = (
    migrate,
    check,
    check_deploy,
    log_in,
    connect_by_cookie,
    connect_by_token,
    connect_by_ticket,
    push_live,
    push_durable,
    store_letters,
    chat_over_socket,
    chat_over_rest,
    page_in_chromium,
    recover,
    read,
    presence,
    typing,
    revoke,
    drain,
    soak,
)
