"""The plain room socket against a scripted server; tests/integration/chat has it under real ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError

from djwsbridge import runtime as runtimes
from djwsbridge.chat import services
from djwsbridge.chat.consumers import RoomConsumer, RoomDialect, routes
from djwsbridge.chat.models import Membership, Message
from djwsbridge.presence import Person, Snapshot
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.runtime import Runtime, user_topic
from djwsbridge.transport.connection import Connection
from tests.unit.transport.fake_server import FakeClient, identity_of, make_scope

DIALECT = RoomDialect("room.4")
MESSAGE = {"room": 4, "seq": 1, "sender": {"id": 7, "name": "alice"}, "body": "hi"}
ALICE = {"id": 7, "name": "alice"}


@pytest.mark.parametrize(
    ("topic", "push", "data", "written"),
    [
        (
            "room.4",
            "message.sent",
            MESSAGE,
            {"type": "chat_message", "user": "alice", "message": "hi"},
        ),
        ("room.5", "message.sent", MESSAGE, None),
        (
            "room.4",
            "presence.changed",
            {"user": ALICE, "state": "online"},
            {"type": "user_join", "user": "alice"},
        ),
        (
            "room.4",
            "presence.changed",
            {"user": ALICE, "state": "offline"},
            {"type": "user_leave", "user": "alice"},
        ),
        ("user.7", "presence.changed", {"user": ALICE, "state": "online"}, None),
        ("room.5", "presence.changed", {"user": ALICE, "state": "online"}, None),
        (
            "user.8",
            "private_message",
            {"user": "alice", "message": "psst"},
            {"type": "private_message", "user": "alice", "message": "psst"},
        ),
        (None, "user_list", {"users": ["alice"]}, {"type": "user_list", "users": ["alice"]}),
        ("room.4", "message.sent", {"scrubbed": True}, None),
        ("room.4", "member.joined", {"room": 4, "user": ALICE}, None),
        ("user.7", "room.joined", {"room": {}}, None),
        ("user.7", "signal", {"type": "text"}, None),
    ],
)
def test_pushes_are_the_seeds_frames(
    topic: str | None, push: str, data: dict[str, Any], written: dict[str, Any] | None
) -> None:
    text = DIALECT.encode_push(encode_push(push, topic=topic, data=data))
    assert (None if text is None else json.loads(text)) == written


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ws/chat/general/", "general"),
        ("ws/chat/general", "general"),
        ("ws/chat/Tea & biscuits/", "Tea & biscuits"),
        ("ws/chat/北京の旅/", "北京の旅"),
        ("ws/chat/a/b/", "a/b"),
    ],
)
def test_the_route_takes_any_name(path: str, name: str) -> None:
    [route] = routes()
    match = route.resolve(path)
    assert match is not None
    assert match.kwargs == {"room_name": name}


Enter = Callable[..., Any]


@pytest.fixture
async def node(settings: Any) -> AsyncIterator[Runtime]:
    settings.DJWSBRIDGE_ENGINE = "memory"
    runtime = runtimes.current()
    yield runtime
    await runtime.stop()


@pytest.fixture
async def open_room(node: Runtime) -> AsyncIterator[Enter]:
    """Return a function that opens the socket of a room for a user."""
    clients: list[FakeClient] = []

    async def enter(user: User, name: str) -> FakeClient:
        scope = make_scope(
            identity_of(user), subprotocols=(), url_route={"kwargs": {"room_name": name}}
        )
        client = await FakeClient(RoomConsumer.as_asgi(), scope).open()
        clients.append(client)
        await client.assert_accepted()
        return client

    yield enter
    for client in clients:
        if not client.task.done():
            await client.leave()


@sync_to_async
def make_people() -> tuple[User, User]:
    alice, bob = User.objects.create_user("alice"), User.objects.create_user("bob")
    services.create_room(actor=alice, title="General")
    return alice, bob


async def hear_arrival(client: FakeClient, user: User) -> None:
    frames = [await client.hear(), await client.hear()]
    assert frames[0]["type"] == "user_list"
    assert user.username in frames[0]["users"]
    assert frames[1] == {"type": "user_join", "user": user.username}


@pytest.mark.django_db(transaction=True)
class TestSocket:
    async def test_connecting_joins_an_open_group(self, open_room: Enter) -> None:
        alice, bob = await make_people()
        a = await open_room(alice, "general")
        assert await a.hear() == {"type": "user_list", "users": ["alice"]}
        assert await a.hear() == {"type": "user_join", "user": "alice"}
        b = await open_room(bob, "General")
        assert await b.hear() == {"type": "user_list", "users": ["alice", "bob"]}
        assert await a.hear() == {"type": "user_join", "user": "bob"}
        assert await sync_to_async(Membership.objects.filter(user=bob).count)() == 1

    async def test_a_second_tab_is_no_second_person(self, open_room: Enter) -> None:
        alice, _ = await make_people()
        await hear_arrival(await open_room(alice, "general"), alice)
        second = await open_room(alice, "general")
        assert await second.hear() == {"type": "user_list", "users": ["alice"]}
        second.say({"message": "hi"})
        assert (await second.hear())["type"] == "chat_message"

    async def test_there_is_no_such_room(self, open_room: Enter) -> None:
        alice, _ = await make_people()
        client = await open_room(alice, "nowhere")
        assert (await client.hear())["code"] == "not_found"
        await client.assert_closed(4403)

    async def test_the_database_is_away(
        self, open_room: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, _ = await make_people()

        def fail(**_: Any) -> None:
            raise OperationalError("connection refused")

        monkeypatch.setattr(services, "find_topic", fail)
        client = await open_room(alice, "general")
        refused = await client.hear()
        assert refused["code"] == "db_unavailable"
        assert refused["retry_after_ms"] > 0
        await client.assert_closed(1013)

    @pytest.mark.parametrize("subprotocols", [(), ("djwsbridge.v1",)])
    @pytest.mark.parametrize("known", [True, False])
    async def test_no_stranger_makes_the_database_look_for_a_room(
        self,
        node: Runtime,
        monkeypatch: pytest.MonkeyPatch,
        subprotocols: tuple[str, ...],
        *,
        known: bool,
    ) -> None:
        def fail(**_: Any) -> None:
            raise OperationalError("nobody is to be asked")

        monkeypatch.setattr(services, "find_topic", fail)
        scope = make_scope(
            subprotocols=subprotocols,
            known=known,
            headers=[(b"origin", b"http://testserver"), (b"host", b"testserver")],
            url_route={"kwargs": {"room_name": "general"}},
        )
        client = await FakeClient(RoomConsumer.as_asgi(), scope).open()
        await client.assert_accepted()
        if subprotocols:
            client.say({"id": 1, "cmd": "ping"})
        refused = await client.hear()
        assert refused.get("data", refused)["code"] == "auth_required"
        await client.assert_closed(4401)

    async def test_a_foreign_page_is_denied(self, node: Runtime) -> None:
        scope = make_scope(
            subprotocols=(),
            known=False,
            headers=[(b"origin", b"http://evil.com"), (b"cookie", b"sessionid=x")],
            url_route={"kwargs": {"room_name": "general"}},
        )
        client = await FakeClient(RoomConsumer.as_asgi(), scope).open()
        await client.assert_denied(403)

    async def test_a_version_that_is_not_spoken_is_refused(self, node: Runtime) -> None:
        scope = make_scope(
            subprotocols=("djwsbridge.v99",),
            known=False,
            url_route={"kwargs": {"room_name": "general"}},
        )
        client = await FakeClient(RoomConsumer.as_asgi(), scope).open()
        await client.assert_accepted()
        await client.assert_told_and_closed(4400, "unsupported_version")

    async def test_a_client_of_v1_joins_too(self, node: Runtime) -> None:
        _, bob = await make_people()
        scope = make_scope(identity_of(bob), url_route={"kwargs": {"room_name": "general"}})
        client = FakeClient(RoomConsumer.as_asgi(), scope)
        frame = await client.join()
        while "ok" not in frame:
            assert frame["push"] in {"user_list", "room.joined", "member.joined"}
            frame = await client.hear()
        await client.leave()
        assert await sync_to_async(Membership.objects.filter(user=bob).count)() == 1

    async def test_a_node_that_cannot_listen_sends_its_people_away(
        self, open_room: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, _ = await make_people()

        async def fail(*_: object, **__: object) -> None:
            raise CommandError(ErrorCode.BUSY)

        monkeypatch.setattr(Connection, "subscribe", fail)
        client = await open_room(alice, "general")
        assert (await client.hear())["type"] == "user_list"
        assert (await client.hear())["code"] == "busy"
        await client.assert_closed(1013)

    async def test_messages_are_stored_and_heard(self, open_room: Enter) -> None:
        alice, _ = await make_people()
        client = await open_room(alice, "general")
        await hear_arrival(client, alice)
        client.say({"message": "hello"})
        said = {"type": "chat_message", "user": "alice", "message": "hello"}
        assert await client.hear() == said
        assert (await sync_to_async(Message.objects.get)()).body == "hello"

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            ({}, "bad_field"),
            ({"message": " "}, "empty_body"),
            ({"message": "/pm nobody hi"}, "bad_recipient"),
            ({"message": "/pm"}, "bad_recipient"),
            ({"message": "/pm bob"}, "empty_body"),
            ({"message": "/pm bob \t "}, "empty_body"),
            ({"message": "/pmbob secret"}, "bad_recipient"),
            ({"message": "/pm: bob secret"}, "bad_recipient"),
            ({"message": "\t/PMbob secret"}, "bad_recipient"),
            ({"message": "/pm\u3164bob secret"}, "bad_recipient"),
            ({"message": "\u2800"}, "empty_body"),
        ],
    )
    async def test_mistakes_are_answered(
        self, open_room: Enter, frame: dict[str, Any], code: str
    ) -> None:
        alice, _ = await make_people()
        client = await open_room(alice, "general")
        await hear_arrival(client, alice)
        client.say(frame)
        assert (await client.hear())["code"] == code
        assert await sync_to_async(Message.objects.count)() == 0

    @pytest.mark.parametrize(
        "written",
        [
            "/pm bob psst",
            "/pm\tbob psst",
            "/pm\nbob\npsst",
            "/pm\u3000bob\u00a0psst",
            "/PM bob psst",
            " /pm  bob  psst ",
            "\r\n/Pm bob psst",
            "\u200b/pm bob psst",
            "\u3164/pm bob psst",
            "\u2800/\ufe0fp\u2065m bob psst",
            "\uff0f\uff50\uff4d bob psst",
        ],
    )
    async def test_a_private_message_is_for_one(self, open_room: Enter, written: str) -> None:
        alice, bob = await make_people()
        a = await open_room(alice, "general")
        await hear_arrival(a, alice)
        b = await open_room(bob, "general")
        await hear_arrival(b, bob)
        assert await a.hear() == {"type": "user_join", "user": "bob"}
        a.say({"message": written})
        heard = {"type": "private_message", "user": "alice", "message": "psst"}
        assert await b.hear() == heard
        told = {"type": "private_message_delivered", "target": "bob", "message": "psst"}
        assert await a.hear() == told

    async def test_what_only_looks_like_a_command_is_a_message(self, open_room: Enter) -> None:
        alice, _ = await make_people()
        client = await open_room(alice, "general")
        await hear_arrival(client, alice)
        for body in ("see /pm bob psst", "/p bob", "/ pm bob"):
            client.say({"message": body})
            said = {"type": "chat_message", "user": "alice", "message": body}
            assert await client.hear() == said

    async def test_nothing_is_told_of_somebody_who_is_away(self, open_room: Enter) -> None:
        alice, bob = await make_people()
        a = await open_room(alice, "general")
        await hear_arrival(a, alice)
        a.say({"message": "/pm bob psst"})
        a.say({"message": "to all"})
        assert (await a.hear())["type"] == "chat_message"
        room = await sync_to_async(services.open_direct)(actor=bob, user_id=alice.pk)
        assert room.unread == 1

    async def test_a_device_on_another_node_counts(self, node: Runtime, open_room: Enter) -> None:
        alice, bob = await make_people()
        a = await open_room(alice, "general")
        await hear_arrival(a, alice)
        lease = (user_topic(bob.pk), Person(bob.pk, "bob"))
        node.presence.hear_snapshot(Snapshot("elsewhere", 1, [lease]), now=node.loop.time())
        a.say({"message": "/pm bob psst"})
        assert (await a.hear())["type"] == "private_message_delivered"
