"""What a node tells of its people, seen by scripted clients."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection
from django.utils import timezone

from djwsbridge import runtime as runtimes
from djwsbridge.chat import node, services, store
from djwsbridge.chat.models import Membership, Profile
from djwsbridge.chat.node import ChatNode
from djwsbridge.chat.values import RoomView
from djwsbridge.consumers import UserConsumer
from djwsbridge.runtime import Runtime
from djwsbridge.transport.node import node_of
from tests.servers import TIMEOUT
from tests.unit.transport.fake_server import FakeClient, identity_of, make_scope

pytestmark = pytest.mark.django_db(transaction=True)

Enter = Callable[[User], Awaitable[FakeClient]]
INTERVAL = 0.5  # seconds; short, and long enough for a few commands to fall into it


@pytest.fixture
async def runtime(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    settings.DJWSBRIDGE_ENGINE = "memory"
    monkeypatch.setattr(node, "RECEIPT_INTERVAL", INTERVAL)
    current = runtimes.current()
    yield current
    await current.stop()


@pytest.fixture
async def enter(runtime: Runtime) -> AsyncIterator[Enter]:
    """Return a function that lets a user in by a new connection."""
    clients: list[FakeClient] = []

    async def open_one(user: User) -> FakeClient:
        client = FakeClient(UserConsumer.as_asgi(), make_scope(identity_of(user)))
        clients.append(client)
        assert "ok" in await client.join()
        return client

    yield open_one
    for client in clients:
        if not client.task.done():
            await client.leave()


@sync_to_async
def meet(*people: User) -> RoomView:
    """Put people into a room with five messages of the first."""
    room = services.create_room(actor=people[0], title="General")
    for person in people[1:]:
        services.join_room(actor=person, room_id=room.id)
    for _ in range(5):
        services.send_message(
            actor=people[0], room_id=room.id, body="hello", client_message_id=uuid.uuid4()
        )
    return services.find_room(actor=people[0], name="General")


class TestReceipts:
    async def test_the_first_and_the_last_of_a_second_are_told(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        a, b = await enter(alice), await enter(bob)
        for number, seq in enumerate((1, 2, 3, 4), 2):
            b.say({"id": number, "cmd": "ack", "seqs": {f"room.{room.id}": seq}})
        heard = [await a.hear(), await a.hear()]
        assert [frame["data"] for frame in heard] == [
            {"room": room.id, "user": bob.pk, "delivered_seq": seq, "read_seq": 0} for seq in (1, 4)
        ]
        for frame in heard:
            assert (frame["push"], frame["topic"]) == ("receipt", f"room.{room.id}")
            assert "seq" not in frame
        a.assert_silent()

    async def test_reading_is_told_to_all_devices(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        a, b, phone = await enter(alice), await enter(bob), await enter(bob)
        b.say({"id": 2, "cmd": "room.mark_read", "room": room.id, "seq": 4})
        for client in (a, phone):
            await client.assert_pushed("receipt", user=bob.pk, delivered_seq=4, read_seq=4)

    async def test_who_hides_is_told_without_what_was_read(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        await sync_to_async(services.set_read_receipts)(actor=bob, is_on=False)
        a, b, phone = await enter(alice), await enter(bob), await enter(bob)
        b.say({"id": 2, "cmd": "room.mark_read", "room": room.id, "seq": 4})
        others = (await a.assert_pushed("receipt"))["data"]
        assert others == {"room": room.id, "user": bob.pk, "delivered_seq": 4}
        own = [await phone.hear(), await phone.hear()]
        whole = {**others, "read_seq": 4}
        assert {"push": "receipt", "topic": f"user.{bob.pk}", "data": whole} in own

    async def test_they_come_whole_with_every_connect(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        await sync_to_async(services.acknowledge)(actor=bob, seqs={f"room.{room.id}": 3})
        client = FakeClient(UserConsumer.as_asgi(), make_scope(identity_of(alice)))
        topics = (await client.join())["ok"]["topics"]
        assert topics[f"room.{room.id}"]["receipts"] == [
            {"user": alice.pk, "delivered_seq": 0, "read_seq": 0},
            {"user": bob.pk, "delivered_seq": 3, "read_seq": 0},
        ]
        assert "receipts" not in topics[f"user.{alice.pk}"]
        await client.leave()

    async def test_what_is_overtaken_never_goes_back(
        self, alice: User, bob: User, enter: Enter, runtime: Runtime
    ) -> None:
        room = await meet(alice, bob)
        a, chat = await enter(alice), ChatNode(runtime)
        pushes = [
            await sync_to_async(services.acknowledge)(actor=bob, seqs={f"room.{room.id}": seq})
            for seq in (2, 3, 4)
        ]
        for number in (0, 2, 1):  # the threads of two connections
            chat.tell_receipts(pushes[number])
        await a.assert_pushed("receipt", delivered_seq=2)
        await a.assert_pushed("receipt", delivered_seq=4)


class TestTyping:
    async def test_is_pushed_once_in_a_while_and_not_stored(
        self, alice: User, bob: User, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = await meet(alice, bob)
        a, b = await enter(alice), await enter(bob)
        before = await sync_to_async(Membership.objects.values().get)(user=bob)

        def fail(**_: object) -> bool:
            raise OperationalError("nobody is to be asked")

        monkeypatch.setattr(services, "may_subscribe", fail)
        for number in (2, 3, 4):
            b.say({"id": number, "cmd": "typing.set", "room": room.id})
        typing = await a.assert_pushed("typing")
        assert typing == {
            "push": "typing",
            "topic": f"room.{room.id}",
            "data": {"room": room.id, "user": {"id": bob.pk, "name": "bob"}},
        }
        frames = [await b.hear() for _ in range(4)]
        assert [frame["ok"] for frame in frames if "id" in frame] == [{}, {}, {}]
        a.assert_silent()
        assert await sync_to_async(Membership.objects.values().get)(user=bob) == before

    async def test_two_people_do_not_silence_each_other(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        a, b = await enter(alice), await enter(bob)
        b.say({"id": 2, "cmd": "typing.set", "room": room.id})
        await a.assert_pushed("typing", user={"id": bob.pk, "name": "bob"})
        frames = [await a.ask("typing.set", id=2, room=room.id), await a.hear()]
        assert [frame["data"]["user"]["name"] for frame in frames if "push" in frame] == ["alice"]

    async def test_is_for_members(self, alice: User, bob: User, carol: User, enter: Enter) -> None:
        room = await meet(alice, bob)
        a, c = await enter(alice), await enter(carol)
        for number, room_id in enumerate((room.id, 10**9, 2**53 - 1), 2):
            answer = await c.ask("typing.set", id=number, room=room_id)
            assert answer["error"]["code"] == "not_found"
        a.assert_silent()

    async def test_a_member_who_does_not_listen_may_type(
        self, alice: User, bob: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob)
        a, b = await enter(alice), await enter(bob)
        await b.ask("unsubscribe", id=2, topic=f"room.{room.id}")
        assert (await b.ask("typing.set", id=3, room=room.id))["ok"] == {}
        await a.assert_pushed("typing")


class TestMembers:
    async def test_shows_who_is_here_and_when_the_others_were(
        self, alice: User, bob: User, carol: User, enter: Enter
    ) -> None:
        room = await meet(alice, bob, carol)
        moment = timezone.now() - timedelta(days=1)
        await sync_to_async(store.save_last_seen)({alice.pk: moment, bob.pk: moment})
        a = await enter(alice)
        members = (await a.ask("room.members", id=2, room=room.id))["ok"]["members"]
        yesterday = moment.isoformat().replace("+00:00", "Z")
        assert members == [
            {"id": alice.pk, "name": "alice", "online": True, "last_seen": None},
            {"id": bob.pk, "name": "bob", "online": False, "last_seen": yesterday},
            {"id": carol.pk, "name": "carol", "online": False, "last_seen": None},
        ]

    async def test_is_for_members(self, alice: User, bob: User, carol: User, enter: Enter) -> None:
        room = await meet(alice, bob)
        c = await enter(carol)
        for number, room_id in enumerate((room.id, 10**9), 2):
            answer = await c.ask("room.members", id=number, room=room_id)
            assert answer["error"]["code"] == "not_found"


class TestLastSeen:
    async def test_is_stored_when_somebody_comes_or_goes(
        self, alice: User, bob: User, enter: Enter, runtime: Runtime
    ) -> None:
        first = await enter(alice)
        second = await enter(alice)
        chat = await save(runtime)
        came = await last_seen(alice)
        assert came is not None
        await first.leave()
        await second.leave()
        await save(runtime)
        assert await last_seen(alice) == came, "once a minute is enough"
        [(_, went)] = chat._seen.take_due(now=runtime.loop.time() + node.SEEN_INTERVAL)
        assert went > came
        assert not chat._present
        assert await last_seen(bob) is None

    async def test_one_tab_of_two_that_goes_is_no_news(
        self, alice: User, enter: Enter, runtime: Runtime
    ) -> None:
        first, _ = await enter(alice), await enter(alice)
        await first.leave()
        chat = await save(runtime)
        assert not chat._seen.take_due(now=runtime.loop.time() + node.SEEN_INTERVAL)

    async def test_no_visit_is_too_short(self, bob: User, enter: Enter, runtime: Runtime) -> None:
        await (await enter(bob)).leave()
        await save(runtime)
        assert await last_seen(bob) is not None

    async def test_one_write_serves_all(
        self, alice: User, bob: User, carol: User, enter: Enter, runtime: Runtime
    ) -> None:
        for person in (alice, bob, carol):
            await enter(person)
        await sync_to_async(bob.delete)()  # an account that is gone spoils nothing
        await save(runtime)
        seen = await sync_to_async(set)(Profile.objects.values_list("user_id", flat=True))
        assert seen == {alice.pk, carol.pk}

    async def test_an_account_deleted_meanwhile_spoils_nothing(
        self, alice: User, bob: User, carol: User
    ) -> None:
        moment = timezone.now()

        @sync_to_async
        def record() -> None:
            deleted = []

            def delete_bob(execute: Any, *arguments: Any) -> Any:
                """Let the account go after the look at who is left, and before anything is stored."""
                if arguments[0].startswith("INSERT") and not deleted:
                    deleted.append(bob.pk)
                    raise IntegrityError("violates a foreign key")
                return execute(*arguments)

            with connection.execute_wrapper(delete_bob):
                store.save_last_seen({person.pk: moment for person in (alice, bob, carol)})
            assert deleted

        await record()
        assert await last_seen(alice) == await last_seen(carol) == moment

    async def test_never_goes_back(self, alice: User, bob: User, carol: User) -> None:
        now = timezone.now()
        earlier, later = now - timedelta(seconds=50), now + timedelta(seconds=50)
        await sync_to_async(services.set_read_receipts)(actor=carol, is_on=False)
        save = sync_to_async(store.save_last_seen)
        await save({alice.pk: now, bob.pk: now})
        await save({alice.pk: earlier, bob.pk: later, carol.pk: earlier})
        assert await last_seen(alice) == now, "another node has seen alice since"
        assert await last_seen(bob) == later
        assert await last_seen(carol) == earlier
        assert (await sync_to_async(Profile.objects.get)(user=carol)).read_receipts is False

    async def test_what_was_gathered_is_stored_when_the_node_stops(
        self, alice: User, bob: User, enter: Enter, runtime: Runtime
    ) -> None:
        a = await enter(alice)
        came = await save(runtime) and await last_seen(alice)
        b = await enter(bob)
        node_of(runtime).draining = True
        await b.leave()
        await a.leave()
        chat = node._nodes[runtime]
        while chat._saving is not None:
            await chat._saving
        assert await last_seen(bob) is not None
        went = await last_seen(alice)
        assert came is not None
        assert went is not None
        assert went > came, "not in a minute, when nobody is here any more"

    async def test_keeps_what_somebody_has_chosen(
        self, alice: User, enter: Enter, runtime: Runtime
    ) -> None:
        await sync_to_async(services.set_read_receipts)(actor=alice, is_on=False)
        await enter(alice)
        await save(runtime)
        profile = await sync_to_async(Profile.objects.get)()
        assert profile.last_seen is not None
        assert profile.read_receipts is False

    async def test_a_database_that_is_down_costs_a_line_of_log(
        self,
        alice: User,
        enter: Enter,
        runtime: Runtime,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(_: object) -> None:
            raise OperationalError("down")

        monkeypatch.setattr(services, "record_seen", fail)
        await enter(alice)
        await save(runtime)
        assert "could not be stored" in caplog.text

    async def test_it_is_stored_by_itself_and_then_again(
        self, alice: User, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node, "SEEN_DELAY", 0.01)
        monkeypatch.setattr(node, "SEEN_INTERVAL", 0.3)
        stored: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def record(moments: dict[int, Any]) -> None:
            loop.call_soon_threadsafe(stored.put_nowait, moments[alice.pk])

        monkeypatch.setattr(services, "record_seen", record)
        client = await enter(alice)
        came = await asyncio.wait_for(stored.get(), TIMEOUT)
        await client.leave()
        assert await asyncio.wait_for(stored.get(), TIMEOUT) > came

    async def test_who_comes_waits_for_nobody_who_was_stored_a_moment_ago(
        self, alice: User, bob: User, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node, "SEEN_DELAY", 0.01)
        stored: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def record(moments: dict[int, Any]) -> None:
            loop.call_soon_threadsafe(stored.put_nowait, set(moments))

        monkeypatch.setattr(services, "record_seen", record)
        client = await enter(alice)
        assert await asyncio.wait_for(stored.get(), TIMEOUT) == {alice.pk}
        await client.leave()  # to be stored in a minute
        await enter(bob)
        assert await asyncio.wait_for(stored.get(), TIMEOUT) == {bob.pk}


async def save(runtime: Runtime) -> ChatNode:
    """Store what is due now, and return what did it."""
    chat = node._nodes[runtime]
    chat.save_seen()
    if chat._saving is not None:
        await chat._saving
    return chat


@sync_to_async
def last_seen(user: User) -> Any:
    return Profile.objects.filter(user=user).values_list("last_seen", flat=True).first()
