"""One connection against a scripted server: its life, its replies, its failures."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from djwsbridge.control import SubscribeUser, UnsubscribeUser, UserChanged, write_control
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError, EngineUnavailable
from djwsbridge.protocol.frames import Command
from djwsbridge.protocol.server import State
from djwsbridge.reconciler import Reconciler
from djwsbridge.runtime import Runtime
from djwsbridge.transport import commands, failures, registry, seats, topics
from djwsbridge.transport import connection as connections
from djwsbridge.transport import credential as credentials
from djwsbridge.transport.admission import admission_of
from djwsbridge.transport.auth.identity import session_digest
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.together import Together
from tests.servers import TIMEOUT
from tests.unit.transport.conftest import NewClient, QuietConsumer
from tests.unit.transport.fake_server import identity_of, make_user

LONG = 3600.0  # seconds that never pass in a test


class Ask(Command, frozen=True, kw_only=True, tag="test.ask"):
    """A command whose handler does what the test wants."""


class Script:
    """What the handler of `Ask` does, one function per call."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    async def __call__(self, connection: Connection, command: Ask) -> object:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return await step()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Register `test.ask` for this test."""
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    handler = Script()
    registry.register_command(Ask, handler)
    yield handler
    monkeypatch.undo()
    registry.codec.cache_clear()


def only_member(node: Runtime) -> Connection:
    (member,) = node.members
    assert isinstance(member, Connection)
    return member


async def until(condition: Any) -> None:
    """Let the loop turn until a condition holds."""

    async def turn() -> None:
        while not condition():  # noqa: ASYNC110  the condition is anything
            await asyncio.sleep(0)

    await asyncio.wait_for(turn(), TIMEOUT)


# -- life -------------------------------------------------------------------------------------------------------------


async def test_connect_answers_with_who_and_what(new_client: NewClient) -> None:
    client = new_client()
    reply = await client.join()
    assert client.subprotocol == "djwsbridge.v1"
    assert reply["id"] == 1
    assert reply["ok"]["user"] == {"id": 7, "name": "user7"}
    assert reply["ok"]["heartbeat_ms"] == 25_000
    assert reply["ok"]["topics"] == {"user.7": {"recovered": False}}


async def test_the_plain_dialect_needs_no_connect(new_client: NewClient, node: Runtime) -> None:
    client = await new_client(subprotocols=()).open()
    await client.assert_accepted()
    await until(lambda: "user.7" in node.hub)
    node.hub.deliver("user.7", encode_push("signal", topic="user.7", data={"a": 1}))
    assert await client.hear() == {"a": 1}


async def test_the_clients_of_a_rewound_topic_are_sent_to_connect_again(
    new_client: NewClient, node: Runtime
) -> None:
    modern, plain = new_client(7), await new_client(7, subprotocols=()).open()
    await modern.join()
    await plain.assert_accepted()
    await until(lambda: len(list(node.hub.subscribers("user.7"))) == 2)
    node._on_rewound("user.7")
    node.hub.deliver("user.7", encode_push("signal", topic="user.7", data={"a": 1}))
    told = await modern.assert_pushed("reconnect")
    assert 0 <= told["data"]["after_ms"] <= 1_500
    await modern.assert_closed(1012)
    assert await plain.hear() == {"a": 1}


async def test_a_frame_before_connect_ends_the_connection(new_client: NewClient) -> None:
    client = await new_client().open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "heartbeat"})
    await client.assert_told_and_closed(4401, "auth_required")


async def test_a_second_connect_is_refused_and_the_connection_lives(new_client: NewClient) -> None:
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "connect"})
    await client.assert_failed("already_authenticated", id=2)
    assert await client.ask("heartbeat", id=3) == {"id": 3, "ok": {}}


async def test_nobody_waits_for_ever_for_a_connect(new_client: NewClient, node: Runtime) -> None:
    client = await new_client().open()
    await client.assert_accepted()
    only_member(node).check(now=node.loop.time() + 4.9)
    client.assert_silent()
    only_member(node).check(now=node.loop.time() + 5.1)
    await client.assert_told_and_closed(4408, "auth_required")


async def test_silence_ends_a_v1_connection(new_client: NewClient, node: Runtime) -> None:
    client = new_client()
    await client.join()
    only_member(node).check(now=node.loop.time() + 61)
    await client.assert_told_and_closed(4421, "auth_required")


async def test_the_first_reason_to_close_is_the_only_one(
    new_client: NewClient, node: Runtime
) -> None:
    client = new_client()
    await client.join()
    member = only_member(node)
    for code in (CloseCode.REVOKED, CloseCode.FORBIDDEN, CloseCode.INTERNAL):
        member.close(CloseConnection(code, CommandError(ErrorCode.REVOKED)))
    await client.assert_told_and_closed(4410, "revoked")
    assert client.closes == [4410]


async def test_what_comes_after_the_close_is_not_carried_out(
    new_client: NewClient, node: Runtime, script: Script
) -> None:
    client = new_client()
    await client.join()
    only_member(node).close(CloseConnection(CloseCode.REVOKED, CommandError(ErrorCode.REVOKED)))
    client.say({"id": 2, "cmd": "test.ask"})
    await client.assert_told_and_closed(4410, "revoked")
    client.assert_silent()


async def test_a_full_queue_at_the_farewell_closes_once(
    new_client: NewClient, node: Runtime, settings: Any
) -> None:
    settings.DJWSBRIDGE_SEND_QUEUE_BYTES = 400
    client = new_client()
    await client.join()
    client.stop_reading()
    node.hub.deliver("user.7", encode_push("signal", topic="user.7", data="x" * 330))
    only_member(node).close(CloseConnection(CloseCode.REVOKED, CommandError(ErrorCode.REVOKED)))
    client.go_on_reading()
    await until(lambda: client.closes)
    assert client.closes == [4410]


async def test_a_server_without_the_code_sends_its_stand_in(new_client: NewClient) -> None:
    client = new_client(unsendable=(1003,))
    await client.join()
    client.say(b"\x00")
    await client.assert_told_and_closed(4400, "unsupported_binary")


async def test_a_binary_frame_ends_the_connection(new_client: NewClient) -> None:
    client = new_client()
    await client.join()
    client.say(b"{}")
    await client.assert_told_and_closed(1003, "unsupported_binary")


# -- replies and failures ---------------------------------------------------------------------------------------------


async def test_replies_come_in_the_order_of_their_commands(
    new_client: NewClient, script: Script
) -> None:
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "slow"

    async def quick() -> str:
        return "quick"

    script.steps = [slow, quick]
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.ask"})
    client.say({"id": 3, "cmd": "test.ask"})
    gate.set()
    assert await client.hear() == {"id": 2, "ok": "slow"}
    assert await client.hear() == {"id": 3, "ok": "quick"}


async def test_an_unknown_exception_becomes_a_reference(
    new_client: NewClient, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.steps = [RuntimeError("password=hunter2 in /etc/secret")]
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.ask"})
    error = await client.assert_failed("internal", id=2)
    assert error["retryable"] is True
    assert "hunter2" not in str(error)
    assert "secret" not in str(error)
    assert error["reference"] in caplog.text
    assert "hunter2" in caplog.text
    assert await client.ask("heartbeat", id=3) == {"id": 3, "ok": {}}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("database is locked", "busy"),
        ("server closed the connection unexpectedly", "db_unavailable"),
    ],
)
async def test_a_failing_database_is_named(
    new_client: NewClient, script: Script, text: str, code: str
) -> None:
    script.steps = [OperationalError(text)]
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.ask"})
    error = await client.assert_failed(code, id=2)
    assert error["retryable"] is True
    assert text not in str(error)


async def test_a_database_that_fails_at_connect_is_tried_again(
    new_client: NewClient, node: Runtime
) -> None:
    failures = [OperationalError("server closed the connection")]

    class Failing(QuietConsumer):
        def topics(self) -> list[str]:
            if failures:
                raise failures.pop()
            return ["room.1"]

    client = await new_client(consumer=Failing).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await client.assert_failed("db_unavailable")
    assert not list(node.hub.topics())
    reply = await client.ask("connect", id=2)
    assert set(reply["ok"]["topics"]) == {"user.7", "room.1"}
    assert admission_of(node)._users.counts == {"7": 1}


async def test_a_database_that_fails_sends_a_plain_client_away(new_client: NewClient) -> None:
    class Failing(QuietConsumer):
        def topics(self) -> list[str]:
            raise OperationalError("server closed the connection")

    client = await new_client(consumer=Failing, subprotocols=()).open()
    await client.assert_accepted()
    frame = await client.hear()
    assert frame["code"] == "db_unavailable"
    assert 1_000 <= frame["retry_after_ms"] <= 5_000
    await client.assert_closed(1013)


# -- the developer's class --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subprotocols", [(), ("djwsbridge.v1",)], ids=["plain", "v1"])
async def test_a_consumer_that_fails_to_begin_ends_the_connection(
    new_client: NewClient, subprotocols: tuple[str, ...]
) -> None:
    class Failing(QuietConsumer):
        async def connected(self) -> None:
            raise RuntimeError("oh no")

    client = await new_client(consumer=Failing, subprotocols=subprotocols).open()
    await client.assert_accepted()
    if subprotocols:
        client.say({"id": 1, "cmd": "connect"})
    frame = await client.hear()
    assert frame.get("data", frame)["code"] == "internal"
    assert "oh no" not in str(frame)
    await client.assert_closed(4500)


async def test_a_consumer_can_refuse_its_user(new_client: NewClient) -> None:
    class Refusing(QuietConsumer):
        async def connected(self) -> None:
            raise CommandError(ErrorCode.FORBIDDEN)

    client = await new_client(consumer=Refusing).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await client.assert_told_and_closed(4403, "forbidden")


async def test_a_consumer_that_fails_to_end_is_logged(
    new_client: NewClient, node: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    codes: list[int] = []

    class Failing(QuietConsumer):
        async def disconnected(self, close_code: int) -> None:
            codes.append(close_code)
            raise RuntimeError("oh no")

    client = new_client(consumer=Failing)
    await client.join()
    await client.leave(1001)
    assert codes == [1001]
    assert "oh no" in caplog.text
    assert not list(node.hub.topics())


async def test_apps_hear_of_every_visit_that_began(new_client: NewClient) -> None:
    heard: list[tuple[str, object]] = []
    registry.register_visits(
        came=lambda one: heard.append(("came", one.user.pk)),
        left=lambda one: heard.append(("left", one.user.pk)),
    )
    await (await new_client().open()).leave()  # before it was let in
    assert heard == []
    client = new_client()
    user_id = (await client.join())["ok"]["user"]["id"]
    await client.leave()
    assert heard == [("came", user_id), ("left", user_id)]


async def test_nobody_says_goodbye_who_was_never_there(new_client: NewClient) -> None:
    seen: list[int] = []

    class Watching(QuietConsumer):
        async def disconnected(self, close_code: int) -> None:
            seen.append(close_code)

    client = await new_client(consumer=Watching).open()
    await client.assert_accepted()
    await client.leave()
    assert seen == []


# -- slow readers -----------------------------------------------------------------------------------------------------


SMALL = 10_000  # bytes that may wait for a reader


@pytest.fixture
def small_queue(settings: Any) -> None:
    settings.DJWSBRIDGE_SEND_QUEUE_BYTES = SMALL


def burst(node: Runtime, *, first: int = 1, last: int = 30) -> None:
    """Deliver more durable pushes than may wait."""
    for seq in range(first, last + 1):
        data = {"text": "x" * 1_000}
        node.hub.deliver("user.7", encode_push("signal", topic="user.7", seq=seq, data=data))


async def test_a_slow_reader_delays_nobody_and_is_told_what_it_missed(
    new_client: NewClient, node: Runtime, small_queue: None
) -> None:
    slow, quick = new_client(), new_client()
    await slow.join()
    await quick.join()
    slow.stop_reading()
    for seq in range(1, 31):
        burst(node, first=seq, last=seq)
        assert (await quick.hear())["seq"] == seq
    slow.go_on_reading()
    for seq in range(1, 10):
        assert (await slow.hear())["seq"] == seq
    assert await slow.hear() == {"push": "tips", "data": {"user.7": 30}}
    burst(node, first=31, last=31)
    assert (await slow.hear())["seq"] == 31


async def test_only_what_can_be_recovered_is_told(
    new_client: NewClient, node: Runtime, small_queue: None
) -> None:
    slow = new_client()
    await slow.join()
    slow.stop_reading()
    big = encode_push("signal", topic="user.7", data={"text": "x" * SMALL})
    node.hub.deliver("user.7", big)
    node.hub.deliver("user.7", encode_push("signal", topic="user.7", data={}))
    slow.go_on_reading()
    assert await slow.ask("heartbeat", id=2) == {"id": 2, "ok": {}}
    await until(lambda: not only_member(node).queue.is_slow)
    slow.assert_silent()


async def test_who_reads_nothing_is_told_why_and_closed(
    new_client: NewClient, node: Runtime, small_queue: None
) -> None:
    slow = new_client()
    await slow.join()
    slow.stop_reading()
    burst(node)
    member, now = only_member(node), node.loop.time()
    member.check(now=now + 29)
    assert member.protocol.state is State.OPEN
    member.check(now=now + 31)
    slow.go_on_reading()
    frame = await slow.hear()
    while frame["push"] == "signal":
        frame = await slow.hear()
    assert frame["data"]["code"] == "busy"
    await slow.assert_closed(4420)


async def test_who_never_reads_again_is_cut(
    new_client: NewClient, node: Runtime, small_queue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLOSE_TIMEOUT", 0.01)
    monkeypatch.setattr(failures, "CLOSE_TIMEOUT", 0.01)
    dead = new_client()
    await dead.join()
    dead.stop_reading()
    burst(node)
    only_member(node).check(now=node.loop.time() + 31)
    await asyncio.wait_for(asyncio.shield(dead.task), TIMEOUT)
    assert not node.members
    assert dead.closes == []
    assert dead.was_cut


async def test_a_slow_reader_of_plain_frames_is_closed_at_once(
    new_client: NewClient, node: Runtime, small_queue: None
) -> None:
    slow = await new_client(subprotocols=()).open()
    await slow.assert_accepted()
    await until(lambda: "user.7" in node.hub)
    slow.stop_reading()
    burst(node)
    slow.go_on_reading()
    await until(lambda: slow.closes)
    assert slow.closes == [4420]
    await slow.leave()


async def test_commands_of_a_slow_reader_wait_until_it_has_read_the_answers(
    new_client: NewClient, node: Runtime, small_queue: None, script: Script
) -> None:
    async def answer() -> str:
        return "x" * SMALL

    script.steps = [answer, answer]
    client = new_client()
    await client.join()
    client.stop_reading()
    client.say({"id": 2, "cmd": "test.ask"})
    client.say({"id": 3, "cmd": "test.ask"})
    await until(lambda: len(script.steps) == 1)
    client.go_on_reading()
    assert [(await client.hear())["id"], (await client.hear())["id"]] == [2, 3]


# -- topics -----------------------------------------------------------------------------------------------------------


async def test_a_topic_without_a_rule_is_not_found(new_client: NewClient) -> None:
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "subscribe", "topic": "nobody.1"})
    await client.assert_failed("not_found", id=2)
    client.say({"id": 3, "cmd": "presence.list", "topic": "user.8"})
    await client.assert_failed("not_found", id=3)


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Let a test decide who may subscribe to `shop.*`."""
    allowed = {"answer": True}
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    registry.register_topic_rule("shop", lambda *_: allowed["answer"])
    return allowed


async def test_in_a_crowd_nobody_is_told_who_comes_and_goes(
    new_client: NewClient, node: Runtime, rule: dict[str, bool], settings: Any
) -> None:
    settings.DJWSBRIDGE_PRESENCE_LIMIT = 1
    alice, bob = new_client(7), new_client(8)
    await alice.join()
    await alice.ask("subscribe", id=2, topic="shop.1")
    await until(lambda: not node.presence.news)
    told = Told()
    node.hub.add("shop.1", told)
    await bob.join()
    await bob.ask("subscribe", id=2, topic="shop.1")
    await until(lambda: not node.presence.news)
    assert told.got == []
    reply = await bob.ask("presence.list", id=3, topic="shop.1")
    assert reply["ok"] == {"users": [{"id": 7, "name": "user7"}], "count": 2}
    await bob.ask("unsubscribe", id=4, topic="shop.1")
    await until(lambda: len(told.got) == 1)  # few enough again
    node.hub.remove("shop.1", told)


class Told:
    """A subscriber that keeps what it gets."""

    dialect: Any = registry.codec()
    write = None

    def __init__(self) -> None:
        self.got: list[str] = []

    def push(self, text: str) -> None:
        self.got.append(text)


async def test_a_rule_decides(new_client: NewClient, node: Runtime, rule: dict[str, bool]) -> None:
    client = new_client()
    await client.join()
    assert await client.ask("subscribe", id=2, topic="shop.1") == {"id": 2, "ok": {}}
    rule["answer"] = False
    client.say({"id": 3, "cmd": "subscribe", "topic": "shop.2"})
    await client.assert_failed("not_found", id=3)
    assert "shop.2" not in node.hub
    reply = await client.ask("presence.list", id=4, topic="shop.1")
    assert reply["ok"] == {"users": [{"id": 7, "name": "user7"}], "count": 1}
    await client.ask("unsubscribe", id=5, topic="shop.1")
    assert "shop.1" not in node.hub


async def test_access_that_is_looked_up_again_follows_the_rule(
    new_client: NewClient, node: Runtime, rule: dict[str, bool]
) -> None:
    client = new_client()
    await client.join()
    connection = only_member(node)
    await connection.look_up_access("shop.1")
    assert "shop.1" in connection.topics
    rule["answer"] = False
    await connection.look_up_access("shop.1")
    assert "shop.1" not in node.hub
    await connection.look_up_access("user.7")  # a topic without a rule
    assert connection.topics == {"user.7"}


async def test_a_topic_that_a_user_was_let_in_to_is_up_to_its_rule(
    new_client: NewClient, node: Runtime, rule: dict[str, bool]
) -> None:
    """A change of access can arrive late or again: what is true now is asked."""
    client = new_client()
    await client.join()
    rule["answer"] = False
    await only_member(node).let_in("shop.1")
    node._hear(write_control(SubscribeUser("7", "club.1")))
    await until(lambda: "club.1" in only_member(node).topics)
    rule["answer"] = True
    node._hear(write_control(SubscribeUser("7", "shop.2")))
    await until(lambda: "shop.2" in only_member(node).topics)
    assert only_member(node).topics == {"user.7", "club.1", "shop.2"}


async def test_subscriptions_have_a_limit(
    new_client: NewClient, rule: dict[str, bool], settings: Any
) -> None:
    settings.DJWSBRIDGE_SUBSCRIPTIONS = 3
    client = new_client()
    await client.join()
    await client.ask("subscribe", id=2, topic="shop.1")
    await client.ask("subscribe", id=3, topic="shop.2")
    client.say({"id": 4, "cmd": "subscribe", "topic": "shop.3"})
    assert (await client.assert_failed("too_many", id=4))["limit"] == 3
    assert await client.ask("subscribe", id=5, topic="shop.1") == {"id": 5, "ok": {}}


async def test_more_topics_of_apps_than_the_limit_are_refused_and_not_cut_in_silence(
    new_client: NewClient, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No app has said that these topics may be announced."""
    settings.DJWSBRIDGE_SUBSCRIPTIONS = 3

    class ShopConsumer(QuietConsumer):
        async def find_topics(self) -> list[str]:
            return ["shop.1", "shop.2", "shop.3"]

    client = await new_client(consumer=ShopConsumer).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await client.assert_told_and_closed(4403, "too_many")
    [record] = [record for record in caplog.records if record.name == "djwsbridge.topics"]
    assert "User 7 has 3 topics" in record.getMessage()
    assert "DJWSBRIDGE_SUBSCRIPTIONS" in record.getMessage()


@pytest.fixture
async def quiet_log(node: Runtime, monkeypatch: pytest.MonkeyPatch) -> Reconciler:
    """Let topics of rooms be announced on this node, whose log is empty."""

    class QuietLog:
        def tips(self, topics: Any) -> dict[str, Any]:
            return {}

    log: Any = QuietLog()
    reconciler = Reconciler(log, node.hub.deliver, on_rewound=print)
    monkeypatch.setattr(node, "reconciler", reconciler)
    monkeypatch.setattr(registry, "may_be_announced", lambda topic: topic.startswith("room."))
    return reconciler


class Inhabitant(QuietConsumer):
    async def find_topics(self) -> list[str]:
        return ["room.1", "room.2", "room.3"]


async def test_access_that_is_lost_while_other_topics_are_joined_is_not_announced(
    new_client: NewClient, node: Runtime, gated: GatedEngine, quiet_log: Reconciler, settings: Any
) -> None:
    settings.DJWSBRIDGE_SUBSCRIPTIONS = 2
    gated.gates["room.1"] = asyncio.Event()
    client = await new_client(consumer=Inhabitant).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await until(lambda: "room.1" in node.hub)
    await only_member(node).unsubscribe("room.3")
    gated.gates["room.1"].set()
    reply = await client.hear()
    assert reply["ok"]["announced"] == {"room.2": 0}
    assert set(quiet_log.announcements.topics()) == {"room.2"}
    assert node.presence.online("room.3") == []


async def test_a_topic_whose_rule_fails_is_not_known(
    new_client: NewClient,
    node: Runtime,
    quiet_log: Reconciler,
    rule: dict[str, bool],
    settings: Any,
) -> None:
    def fail(user: object, topic: str) -> bool:
        raise OperationalError("down")

    settings.DJWSBRIDGE_SUBSCRIPTIONS = 1
    registry._rules["room"] = fail
    await new_client().join()
    member = only_member(node)
    with pytest.raises(OperationalError):
        await member.let_in("room.1")
    assert not member.knows("room.1")


async def test_many_announced_topics_are_told_in_several_frames(
    new_client: NewClient, quiet_log: Reconciler, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJWSBRIDGE_SUBSCRIPTIONS = 1
    monkeypatch.setattr(topics, "TOLD_AT_ONCE", 2)
    monkeypatch.setattr(commands, "TOLD_AT_ONCE", 2)
    client = await new_client(consumer=Inhabitant).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    rest = await client.hear()
    reply = await client.hear()
    assert rest["push"] == "topics.moved"
    told = [*reply["ok"]["announced"], *rest["data"]["topics"]]
    assert (len(reply["ok"]["announced"]), sorted(told)) == (2, ["room.1", "room.2", "room.3"])


class GatedEngine(MemoryEngine):
    """An engine whose subscriptions to some topics wait or fail."""

    def __init__(self) -> None:
        super().__init__(MemoryBus())
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()

    async def subscribe(self, topic: str) -> None:
        if topic in self.gates:
            await self.gates[topic].wait()
        if topic in self.broken:
            raise EngineUnavailable("down")
        await super().subscribe(topic)


@pytest.fixture
async def gated(node: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GatedEngine]:
    """Give the node an engine that waits where the test says so."""
    engine = GatedEngine()
    monkeypatch.setattr(node.subscriptions, "_engine", engine)
    # Without a log nobody can do without the engine.
    monkeypatch.setattr(node.subscriptions, "_needs_engine", True)
    yield engine
    for gate in engine.gates.values():
        gate.set()


async def test_access_lost_while_subscribing_is_lost(
    new_client: NewClient, node: Runtime, gated: GatedEngine, rule: dict[str, bool]
) -> None:
    client = new_client()
    await client.join()
    gated.gates["shop.1"] = asyncio.Event()
    client.say({"id": 2, "cmd": "subscribe", "topic": "shop.1"})
    await until(lambda: "shop.1" in node.hub)
    losing = asyncio.create_task(only_member(node).unsubscribe("shop.1"))
    await until(lambda: "shop.1" not in node.hub)
    gated.gates["shop.1"].set()
    await losing
    await client.hear()
    assert "shop.1" not in node.hub
    assert only_member(node).topics == {"user.7"}
    assert node.presence.online("shop.1") == []


async def test_access_lost_while_connecting_is_lost(
    new_client: NewClient, node: Runtime, gated: GatedEngine
) -> None:
    class Member(QuietConsumer):
        def topics(self) -> list[str]:
            return ["room.1", "room.2"]

    gated.gates["room.1"] = asyncio.Event()
    client = await new_client(consumer=Member).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await until(lambda: "room.1" in node.hub)
    node._hear('{"type":"user.unsubscribe","user":"7","topic":"room.1"}')
    gated.gates["room.1"].set()
    reply = await client.hear()
    assert set(reply["ok"]["topics"]) == {"user.7", "room.2"}
    assert "room.1" not in node.hub


async def test_access_lost_after_it_was_asked_for_topics_is_lost(
    new_client: NewClient, node: Runtime
) -> None:
    """Of topics without a rule; a rule would be asked."""
    asked, answer = asyncio.Event(), asyncio.Event()

    class Member(QuietConsumer):
        async def find_topics(self) -> list[str]:
            asked.set()
            await answer.wait()
            return ["club.1", "club.2", "club.3"]  # as the database said before

    client = await new_client(consumer=Member).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    await asked.wait()
    for topic in ("club.1", "club.2"):
        node._hear(write_control(UnsubscribeUser("7", topic)))
    node._hear(write_control(SubscribeUser("7", "club.2")))  # and came back
    await until(lambda: "club.2" in node.hub)
    answer.set()
    reply = await client.hear()
    assert set(reply["ok"]["topics"]) == {"user.7", "club.2", "club.3"}
    assert "club.1" not in node.hub


async def test_access_given_while_a_rule_is_asked_is_kept(
    new_client: NewClient, node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def rule(user: object, topic: str) -> bool:
        asked.set()
        return not answer.wait(TIMEOUT)  # "no", as it was before

    monkeypatch.setattr(registry, "_rules", {"room": rule})
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "subscribe", "topic": "room.5"})
    await until(asked.is_set)
    await only_member(node).subscribe("room.5")  # as a node does that hears of a new member
    answer.set()
    assert await client.hear() == {"id": 2, "ok": {}}
    assert only_member(node).topics == {"user.7", "room.5"}


async def test_nothing_is_subscribed_to_by_one_who_is_leaving(
    new_client: NewClient, node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Member(QuietConsumer):
        def topics(self) -> list[str]:
            return ["room.1", "room.2"]

    client = new_client(consumer=Member)
    await client.join()
    leaving, go_on = asyncio.Event(), asyncio.Event()
    unsubscribe = node.engine.unsubscribe

    async def unsubscribe_slowly(topic: str) -> None:
        leaving.set()
        await go_on.wait()
        await unsubscribe(topic)

    monkeypatch.setattr(node.engine, "unsubscribe", unsubscribe_slowly)
    member = only_member(node)
    left = asyncio.create_task(client.leave())
    await leaving.wait()
    assert not list(node.hub.topics())
    await member.subscribe("room.99")
    go_on.set()
    await left
    assert not list(node.hub.topics())
    assert node.presence.online("room.99") == []


async def test_a_connection_that_ends_while_subscribing_leaves_nothing(
    new_client: NewClient, node: Runtime, gated: GatedEngine
) -> None:
    client = new_client()
    await client.join()
    member = only_member(node)
    gated.gates["room.9"] = asyncio.Event()
    joining = asyncio.create_task(member.subscribe("room.9"))
    await until(lambda: "room.9" in node.hub)
    leaving = asyncio.create_task(client.leave())
    await until(lambda: member.topics == frozenset())
    gated.gates["room.9"].set()
    await joining
    await leaving
    assert not list(node.hub.topics())
    assert node.presence.online("room.9") == []


async def test_an_engine_that_fails_sends_the_client_away_and_keeps_nothing(
    new_client: NewClient, node: Runtime, gated: GatedEngine
) -> None:
    class Member(QuietConsumer):
        def topics(self) -> list[str]:
            return ["room.1", "room.2", "room.3"]

    gated.broken.add("room.2")
    client = await new_client(consumer=Member).open()
    await client.assert_accepted()
    client.say({"id": 1, "cmd": "connect"})
    data = await client.assert_told_and_closed(1013, "busy")
    assert data["retry_after_ms"] > 0
    assert not list(node.hub.topics())
    assert not admission_of(node)._users.counts


async def test_an_engine_that_fails_later_fails_one_command(
    new_client: NewClient, gated: GatedEngine, rule: dict[str, bool]
) -> None:
    client = new_client()
    await client.join()
    gated.broken.add("shop.1")
    client.say({"id": 2, "cmd": "subscribe", "topic": "shop.1"})
    await client.assert_failed("busy", id=2)
    gated.broken.clear()
    assert await client.ask("subscribe", id=3, topic="shop.1") == {"id": 3, "ok": {}}


async def test_a_server_that_gives_up_a_handshake_leaves_nothing(
    new_client: NewClient, node: Runtime, gated: GatedEngine
) -> None:
    gated.gates["user.7"] = asyncio.Event()
    client = await new_client(subprotocols=()).open()
    await client.assert_accepted()
    await until(lambda: "user.7" in node.hub)
    client.task.cancel()
    gated.gates["user.7"].set()
    await asyncio.wait({client.task})
    assert client.task.cancelled()
    assert not list(node.hub.topics())
    assert not admission_of(node)._users.counts


# -- presence ---------------------------------------------------------------------------------------------------------


async def test_two_connections_are_two_leases(new_client: NewClient, node: Runtime) -> None:
    one, other = new_client(), new_client()
    await one.join()
    await other.join()
    connections_left = node.presence
    await one.leave()
    assert connections_left.is_online("user.7", 7)


@pytest.mark.parametrize(
    ("code", "lingers"), [(1000, False), (1001, False), (1006, True), (1012, True), (4420, True)]
)
async def test_a_lease_outlives_a_lost_connection_only(
    new_client: NewClient,
    node: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    lingers: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    monkeypatch.setattr(topics, "LINGER_AFTER_CLOSE", 0.0)
    monkeypatch.setattr(topics, "LINGER_AFTER_LOSS", LONG)
    client = new_client()
    await client.join()
    await client.leave(code)
    assert node.presence.is_online("user.7", 7) is lingers


async def test_a_revoked_user_does_not_linger(
    new_client: NewClient, node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "LINGER_AFTER_CLOSE", 0.0)
    client = new_client()
    await client.join()
    only_member(node).close(CloseConnection(CloseCode.REVOKED, CommandError(ErrorCode.REVOKED)))
    await client.assert_told_and_closed(4410, "revoked")
    assert not node.presence.is_online("user.7", 7)


# -- credentials and limits -------------------------------------------------------------------------------------------


async def test_a_credential_that_ends_is_announced_and_then_enforced(
    new_client: NewClient, node: Runtime
) -> None:
    client = new_client(identity={"expires_in": 100.0})
    await client.join()
    member, now = only_member(node), node.loop.time()
    member.check(now=now + 39)
    client.assert_silent()
    member.check(now=now + 41)
    member.check(now=now + 50)
    member.protocol.last_seen = now + 140
    await client.assert_pushed("auth.expiring")
    client.assert_silent()
    member.check(now=now + 129)
    client.assert_silent()
    member.check(now=now + 131)
    await client.assert_told_and_closed(4411, "token_expired")


async def test_a_client_that_gives_the_same_token_again_is_not_warned_again(
    new_client: NewClient, node: Runtime
) -> None:
    client = new_client(identity={"expires_in": 50.0})
    await client.join()
    member, now = only_member(node), node.loop.time()
    member.check(now=now)
    await client.assert_pushed("auth.expiring")
    member.replace_identity(identity_of(member.user, expires_in=50.0))
    assert member.check(now=now + 1) > 10  # no look twice a second
    assert await client.ask("heartbeat", id=2) == {"id": 2, "ok": {}}
    member.replace_identity(identity_of(member.user, expires_in=100.0))
    member.check(now=now + 55)
    await client.assert_pushed("auth.expiring")


async def test_only_the_connections_of_an_ended_session_are_closed(
    new_client: NewClient, node: Runtime
) -> None:
    one = new_client(identity={"session": "a"})
    other = new_client(identity={"session": "b"})
    await one.join()
    await other.join()
    node._hear('{"type":"user.changed","user":"7","session":"a"}')
    await one.assert_told_and_closed(4410, "revoked")
    assert await other.ask("heartbeat", id=2) == {"id": 2, "ok": {}}


@pytest.mark.parametrize("ended", [None, session_digest("k")])
async def test_a_credential_that_ends_before_connect_is_noticed_then(
    new_client: NewClient, node: Runtime, monkeypatch: pytest.MonkeyPatch, ended: str | None
) -> None:
    monkeypatch.setattr(credentials, "_look", Together(lambda asked: [None] * len(asked)))
    known = {"session_key": "k", "session": session_digest("k")}
    client = await new_client(identity=known).open()
    await client.assert_accepted()
    node._hear(write_control(UserChanged("7", ended)))
    client.say({"id": 1, "cmd": "connect"})
    await client.assert_told_and_closed(4410, "revoked")
    assert "user.7" not in node.hub


async def test_a_look_at_the_credential_that_fails_changes_nothing(
    new_client: NewClient,
    node: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(identities: object) -> list[bool]:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(credentials, "_look", Together(fail))
    client = new_client()
    await client.join()
    await only_member(node).revalidate(ended_session=None)
    assert "could not be checked" in caplog.text
    assert await client.ask("heartbeat", id=2) == {"id": 2, "ok": {}}


async def test_a_look_at_the_credential_finds_a_new_name(
    new_client: NewClient, node: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = make_user(7, "renamed")
    monkeypatch.setattr(credentials, "_look", Together(lambda asked: [renamed] * len(asked)))
    await new_client().join()
    for member in node.members:
        await member.subscribe("room.1")
    node._hear(write_control(UserChanged("7")))
    await until(lambda: node.presence.online("room.1")[0].name == "renamed")
    [member] = [member for member in node.members if member.user_key == "7"]
    assert member.user is renamed


async def test_the_eleventh_connection_of_a_user_is_closed_and_the_others_stay(
    new_client: NewClient,
) -> None:
    first = [new_client() for _ in range(10)]
    for client in first:
        await client.join()
        client.gives_proofs = True
    late = await new_client().open()
    await late.assert_accepted()
    late.say({"id": 1, "cmd": "connect"})
    told = await late.assert_told_and_closed(4430, "too_many")
    assert 10_000 <= told["retry_after_ms"] <= 20_000
    assert await first[0].ask("heartbeat", id=2) == {"id": 2, "ok": {}}
    await first[0].leave()
    assert "ok" in await new_client().join()


async def test_a_dead_connection_makes_room_for_a_living_client(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "ANSWER_TIME", 0.3)
    first = [new_client() for _ in range(10)]
    for client in first:
        await client.join()
        client.gives_proofs = client not in first[3:5]
    assert "ok" in await first[3].ask("heartbeat", id=2)
    assert "ok" in await new_client().join()
    assert first[4].closes == [4421]
    assert not first[3].closes
    assert "ok" in await first[0].ask("heartbeat", id=3)


async def test_clients_that_come_together_each_take_the_place_of_a_dead_one(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "ANSWER_TIME", 0.3)
    dead = [new_client() for _ in range(10)]
    for client in dead:
        await client.join()
    living = [new_client() for _ in range(4)]
    for client in living:
        client.gives_proofs = True
    assert all("ok" in reply for reply in await asyncio.gather(*(one.join() for one in living)))
    assert [client.closes for client in dead] == [[4421]] * 4 + [[]] * 6
    for client in living:
        assert "ok" in await client.ask("heartbeat", id=2)


async def test_a_connection_that_is_being_closed_keeps_no_client_out(
    new_client: NewClient, node: Runtime
) -> None:
    first = [new_client() for _ in range(10)]
    for client in first:
        await client.join()
        client.gives_proofs = True
    first[0].stop_reading()
    next(iter(node.members)).close(
        CloseConnection(CloseCode.REVOKED, CommandError(ErrorCode.REVOKED))
    )
    assert "ok" in await new_client().join()
    first[0].go_on_reading()


async def test_three_breaches_of_the_rate_end_the_connection(
    new_client: NewClient, settings: Any, node: Runtime
) -> None:
    settings.DJWSBRIDGE_FRAME_RATE = (3, 0.05)
    client = new_client()
    await client.join()
    refused = 0
    for number in range(2, 400):
        client.say({"id": number, "cmd": "heartbeat"})
        event = await client.next_event()
        if event["type"] == "websocket.close":
            break
        refused += "rate_limited" in event["text"]
    assert client.closes == [4429]
    assert refused >= 3
    await client.leave()


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_an_answer_that_is_not_json_fails_one_command(
    new_client: NewClient, script: Script, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(connection: Connection, command: Ask) -> object:
        return {"unwritable": object()}

    async def answer_later() -> object:
        return {"unwritable": object()}

    script.steps = [answer_later]
    if when == "at once":
        registry._handlers[Ask] = answer
    client = new_client()
    await client.join()
    client.say({"id": 2, "cmd": "test.ask"})
    assert (await client.assert_failed("internal", id=2))["reference"] in caplog.text
    assert await client.ask("heartbeat", id=3) == {"id": 3, "ok": {}}


async def test_an_application_that_serves_ends_with_its_connection(
    new_client: NewClient, node: Runtime
) -> None:
    clients = [new_client(number) for number in range(5)]
    for client in clients:
        await client.join()
    for client in clients:
        await client.leave()
    assert not node.members
    assert not list(node.hub.topics())
    assert not admission_of(node)._users.counts


# -- memory -----------------------------------------------------------------------------------------------------------


async def test_nothing_of_a_connection_is_left_to_the_garbage_collector(
    new_client: NewClient, node: Runtime
) -> None:
    client = new_client()
    await client.join()
    gone = weakref.ref(only_member(node))
    gc.collect()
    gc.disable()
    try:
        await client.leave()
        await until(lambda: gone() is None)
    finally:
        gc.enable()
