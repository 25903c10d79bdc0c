"""A node believes what its own site has published, and looks up everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge import runtime
from djwsbridge.control import (
    CONTROL_TOPIC,
    SubscribeUser,
    UnsubscribeUser,
    UserChanged,
    write_control,
)
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.engine.sealed import Seal, SealedEngine
from djwsbridge.protocol.codec import Codec, encode_push
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.runtime import Runtime
from tests.contract.rig import eventually

SECRET = "the secret of this site"
OBJECTS = st.dictionaries(st.text(), st.integers() | st.text(), min_size=1)


# -- the seal --------------------------------------------------------------------------------------------------------


@given(OBJECTS)
def test_what_is_sealed_opens_as_it_was(value: dict[str, Any]):
    text, seal = json.dumps(value, ensure_ascii=False), Seal([SECRET])
    sealed = seal.close("room.1", text)
    assert seal.open("room.1", sealed) == (text, True)
    assert {**json.loads(sealed), "mac": None} == {**value, "mac": None}


@given(OBJECTS, st.integers(0, 200), st.characters())
def test_what_was_changed_is_not_genuine(value: dict[str, Any], place: int, character: str):
    seal = Seal([SECRET])
    sealed = seal.close("room.1", json.dumps(value))
    place %= len(sealed)
    changed = sealed[:place] + character + sealed[place + 1 :]
    if changed != sealed:
        assert not seal.open("room.1", changed)[1]


@pytest.mark.parametrize("text", ["", "}", "{}", '{"mac":"', "no JSON", "\ud800" * 60, '"}' * 40])
def test_what_has_no_seal_stays_as_it_is(text: str):
    assert Seal([SECRET]).open("room.1", text) == (text, False)


def test_a_seal_holds_for_one_topic_and_one_site():
    seal = Seal([SECRET])
    sealed = seal.close("room.1", "{}")
    assert not seal.open("room.2", sealed)[1]
    assert not Seal(["another secret"]).open("room.1", sealed)[1]


def test_a_changed_secret_is_valid_as_long_as_it_is_a_fallback():
    sealed = Seal([SECRET]).close("room.1", "{}")
    assert Seal(["the new secret", SECRET]).open("room.1", sealed) == ("{}", True)


def test_a_secret_may_be_bytes_as_in_django():
    sealed = Seal([b"secret"]).close("room.1", "{}")
    assert Seal(["secret"]).open("room.1", sealed) == ("{}", True)


# -- what a node does with what is not genuine -----------------------------------------------------------------------


class Reconciler:
    """Keeps a record of what a node asks of it."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.suspected: list[str] = []

    def receive(self, topic: str, text: str) -> None:
        self.received.append(text)

    def suspect(self, topic: str) -> None:
        self.suspected.append(topic)

    def forget(self, topic: str) -> None:
        """Have nothing to forget."""

    async def learn(self, topic: str) -> None:
        """Know everything."""

    def suspect_all(self) -> None:
        """Have nothing to look at."""

    async def run(self) -> None:
        """Look at nothing."""

    tend = run


class Reader:
    """A connection of user 7, as the node sees it."""

    dialect = Codec([Heartbeat])
    write = None

    def __init__(self) -> None:
        self.got: list[str] = []
        self.looked_up: list[str] = []
        self.revalidated = 0

    def push(self, text: str) -> None:
        self.got.append(text)

    async def look_up_access(self, topic: str) -> None:
        self.looked_up.append(topic)

    async def revalidate(self, *, ended_session: str | None) -> None:
        self.revalidated += 1

    def check(self, *, now: float) -> None:
        """Have no deadlines."""


class Rig:
    def __init__(self) -> None:
        bus = MemoryBus()
        # What a stranger with the password of Redis can do.
        self.liar = MemoryEngine(bus)
        self.node = Runtime(SealedEngine(MemoryEngine(bus), Seal([SECRET])))
        self.reader = Reader()
        self.reconciler = Reconciler()

    async def settle(self) -> None:
        """Return when everything that was published before has been received."""
        before = len(self.reader.got)
        await self.liar.publish("user.7", encode_push("signal", topic="user.7", data={}))
        await eventually(lambda: len(self.reader.got) > before)
        self.reader.got.pop()


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(runtime, "installed_log", lambda: None)
    rig = Rig()
    reconciler: Any = rig.reconciler
    rig.node.reconciler = reconciler
    await rig.node.start()
    for topic in ("user.7", "room.1"):
        await rig.node.subscribe(topic, rig.reader)
    yield rig
    await rig.node.stop()


def durable(topic: str = "room.1", seq: int = 8) -> str:
    return encode_push("message.sent", topic=topic, seq=seq, data={"body": "a"})


async def test_what_the_node_itself_publishes_is_received_as_it_was(rig: Rig):
    rig.node.hand_over("room.1", durable())
    await eventually(lambda: rig.reconciler.received)
    assert rig.reconciler.received == [durable()]
    assert rig.reconciler.suspected == []


async def test_a_number_without_a_seal_makes_the_node_read_the_log(
    rig: Rig, caplog: pytest.LogCaptureFixture
):
    await rig.liar.publish("room.1", durable())
    await rig.settle()
    assert caplog.text.count("without this site's seal") == 1
    assert rig.reconciler.suspected == ["room.1"]
    assert rig.reconciler.received == rig.reader.got == []


@pytest.mark.parametrize(
    "text",
    [
        durable("room.2"),
        encode_push("typing", topic="room.2", data={}),
        encode_push("typing", data={}),
        "no JSON",
        "[]",
        '{"push":"typing","topic":"room.1","data":{"a":}}',
        '{"push":5,"topic":"room.1"}',
        '{"push":"typing","topic":"room.1","data":{"a":"\ud800',
        "",
    ],
)
async def test_what_is_no_push_of_its_topic_is_dropped(
    rig: Rig, text: str, caplog: pytest.LogCaptureFixture
):
    await rig.liar.publish("room.1", text)
    await rig.settle()
    assert rig.reader.got == rig.reconciler.suspected == rig.reconciler.received == []
    assert "was dropped" in caplog.text


async def test_an_event_that_code_sends_to_the_group_of_a_user_goes_through(rig: Rig):
    signal = encode_push("signal", topic="user.7", data={"user": 5})
    await rig.liar.publish("user.7", signal)
    await rig.settle()
    assert rig.reader.got == [signal]


@pytest.mark.parametrize(
    ("topic", "type_"),
    [("room.1", "message.sent"), ("room.1", "signal"), ("user.7", "message.sent")],
)
async def test_a_forged_push_without_a_number_is_not_shown(rig: Rig, topic: str, type_: str):
    await rig.liar.publish(topic, encode_push(type_, topic=topic, data={"body": "a lie"}))
    await rig.settle()
    assert rig.reader.got == []


@pytest.mark.parametrize("kind", [SubscribeUser, UnsubscribeUser])
async def test_a_change_of_access_without_a_seal_is_looked_up(rig: Rig, kind: Any):
    await rig.liar.publish(CONTROL_TOPIC, write_control(kind("7", "room.1")))
    await eventually(lambda: rig.reader.looked_up)
    assert rig.reader.looked_up == ["room.1"]
    rig.node.hub.deliver("room.1", "{}")
    assert rig.reader.got == ["{}"]


async def test_a_changed_user_without_a_seal_is_looked_at_again(rig: Rig):
    await rig.liar.publish(CONTROL_TOPIC, write_control(UserChanged("7")))
    await eventually(lambda: rig.reader.revalidated)


async def test_what_nodes_tell_each_other_is_sealed(rig: Rig):
    heard: list[str] = []
    stranger = MemoryEngine(rig.liar._bus)
    await stranger.start(lambda _topic, text: heard.append(text))
    await stranger.subscribe(CONTROL_TOPIC)
    rig.node._tell(UserChanged("7"))
    await eventually(lambda: heard)
    text, is_genuine = Seal([SECRET]).open(CONTROL_TOPIC, heard[0])
    assert (text, is_genuine) == (write_control(UserChanged("7")), True)
    await asyncio.sleep(0)
    await stranger.stop()
