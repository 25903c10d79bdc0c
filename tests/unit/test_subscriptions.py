"""Where a log stands in for the engine, nobody waits for an engine that is down; it is joined when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from djwsbridge import subscriptions as module
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.hub import Hub
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.subscriptions import Subscriptions
from tests.contract.rig import eventually


class Moody(MemoryEngine):
    """Fails, or hangs, as long as it is told to."""

    waits = True

    def __init__(self) -> None:
        super().__init__(MemoryBus())
        self.mood = "well"
        self.asked: list[str] = []
        self.joined: set[str] = set()

    async def subscribe(self, topic: str) -> None:
        self.asked.append(topic)
        if self.mood == "down":
            raise EngineUnavailable("down")
        if self.mood == "broken":
            raise RuntimeError("no engine should")
        if self.mood == "hangs":
            await asyncio.Event().wait()
        self.joined.add(topic)

    async def unsubscribe(self, topic: str) -> None:
        self.joined.discard(topic)


class Reader:
    dialect: Any = object()
    write = None

    def push(self, text: str) -> None:
        raise AssertionError("nothing is pushed here")


class Rig:
    def __init__(self, *, needs_engine: bool = False) -> None:
        self.engine = Moody()
        self.hub = Hub()
        self.backs = 0
        self.heard: list[str] = []
        self.forgotten: list[str] = []
        self.subscriptions = Subscriptions(
            self.engine,
            self.hub,
            needs_engine=needs_engine,
            on_joined=self.joined,
            on_forgotten=self.forgotten.append,
            on_back=self.back,
        )

    async def joined(self, topic: str) -> None:
        self.heard.append(topic)

    def back(self) -> None:
        self.backs += 1


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(module, "JOIN_INTERVAL", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    rig = Rig()
    running = asyncio.ensure_future(rig.subscriptions.run())
    yield rig
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("mood", ["down", "hangs"])
async def test_nobody_waits_for_an_engine_that_is_down(rig: Rig, mood: str):
    rig.engine.mood = mood
    await rig.subscriptions.add("room.1", Reader())
    asked = list(rig.engine.asked)
    await rig.subscriptions.add("room.2", Reader())
    assert "room.1" in rig.hub
    assert "room.2" in rig.hub
    assert asked == ["room.1"]

    rig.engine.mood = "well"
    if mood == "down":
        await eventually(lambda: rig.engine.joined == {"room.1", "room.2"})
        await eventually(lambda: rig.backs == 1)


async def test_an_engine_that_fails_as_none_should_is_joined_all_the_same_when_it_is_well(
    rig: Rig, caplog: pytest.LogCaptureFixture
):
    rig.engine.mood = "down"
    await rig.subscriptions.add("room.1", Reader())
    rig.engine.mood = "broken"
    asked = len(rig.engine.asked)
    await eventually(lambda: len(rig.engine.asked) > asked + 1)
    assert "no engine should" in caplog.text
    rig.engine.mood = "well"
    await eventually(lambda: rig.engine.joined == {"room.1"})


async def test_what_nobody_wants_any_more_is_not_joined_late(rig: Rig):
    rig.engine.mood = "down"
    reader = Reader()
    await rig.subscriptions.keep("control.nodes")
    await rig.subscriptions.add("room.1", reader)
    await rig.subscriptions.remove("room.1", reader)
    rig.engine.mood = "well"
    await eventually(lambda: rig.backs == 1)
    assert rig.engine.joined == {"control.nodes"}
    assert rig.forgotten == ["room.1"]


async def test_without_a_log_the_engine_is_needed():
    rig = Rig(needs_engine=True)
    rig.engine.mood = "down"
    with pytest.raises(EngineUnavailable):
        await rig.subscriptions.add("room.1", Reader())
    assert "room.1" not in rig.hub


async def test_the_node_learns_where_a_topic_stands_before_its_first_reader_goes_on(rig: Rig):
    one, other = Reader(), Reader()
    await rig.subscriptions.add("room.1", one)
    await rig.subscriptions.add("room.1", other)
    assert rig.heard == ["room.1"]
