"""What the engine loses, the log gives back: once, in order, to everybody who listens here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from django.db import OperationalError

from djwsbridge import reconciler as module
from djwsbridge.protocol.codec import encode_push
from djwsbridge.reconciler import Reconciler
from tests.contract.rig import eventually
from tests.servers import TIMEOUT

TOPIC = "room.1"


def push(seq: int) -> str:
    return encode_push("thing.done", topic=TOPIC, seq=seq, data={})


class MemoryLog:
    """A log in memory, of one topic."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.is_down = False
        self.reads = 0

    def append(self, count: int = 1) -> list[str]:
        new = [push(len(self.frames) + number) for number in range(1, count + 1)]
        self.frames += new
        return new

    def read(self, topic: str, *, after: int) -> list[str]:
        self._check()
        self.reads += 1
        return self.frames[after : after + 3]

    def tips(self, topics: Iterable[str]) -> dict[str, int]:
        self._check()
        return {topic: len(self.frames) for topic in topics}

    def recent_tips(self) -> dict[str, int]:
        return self.tips([TOPIC])

    def weaknesses(self) -> list[str]:
        return []

    def prune(self) -> int:
        return 0

    def _check(self) -> None:
        if self.is_down:
            raise OperationalError("down")


class Rig:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.delivered: list[tuple[str, str]] = []
        log: Any = self.log
        self.reconciler = Reconciler(log, lambda topic, text: self.delivered.append((topic, text)))

    def seqs(self) -> list[int]:
        return [json.loads(text)["seq"] for _, text in self.delivered]

    async def until_delivered(self, *seqs: int) -> None:
        await eventually(lambda: len(self.delivered) >= len(seqs))
        assert self.seqs() == list(seqs)


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    monkeypatch.setattr(module, "REORDER_WINDOW", 0.01)
    rig = Rig()
    rig.reconciler.start(TOPIC, 0)
    running = asyncio.ensure_future(rig.reconciler.run())
    yield rig
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_pushes_in_order_need_no_log(rig: Rig):
    for text in rig.log.append(3):
        rig.reconciler.receive(TOPIC, text)
    assert rig.seqs() == [1, 2, 3]
    assert rig.log.reads == 0


async def test_what_is_not_durable_passes(rig: Rig):
    rig.reconciler.receive(TOPIC, encode_push("typing", topic=TOPIC, data={}))
    assert len(rig.delivered) == 1


async def test_a_hole_is_filled_from_the_log_before_anything_later(rig: Rig):
    first, *_, last = rig.log.append(8)
    rig.reconciler.receive(TOPIC, first)
    rig.reconciler.receive(TOPIC, last)
    assert rig.seqs() == [1]
    await rig.until_delivered(1, 2, 3, 4, 5, 6, 7, 8)


async def test_a_silent_topic_is_compared_with_the_log(rig: Rig):
    rig.log.append(2)
    await rig.until_delivered(1, 2)


async def test_doubles_and_latecomers_are_dropped(rig: Rig):
    one, two = rig.log.append(2)
    for text in (two, one, two, one):
        rig.reconciler.receive(TOPIC, text)
    assert rig.seqs() == [1, 2]


async def test_when_the_engine_is_back_every_topic_is_looked_at(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rig.log, "recent_tips", dict)  # what was lost is not recent any more
    rig.log.append(1)
    rig.reconciler.suspect_all()
    await rig.until_delivered(1)


async def test_a_database_that_is_down_is_asked_again(rig: Rig):
    rig.log.is_down = True
    rig.log.append(1)
    rig.reconciler.suspect_all()
    await asyncio.sleep(0)
    rig.log.is_down = False
    await rig.until_delivered(1)


async def test_what_happened_before_a_long_outage_is_found_after_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def nothing_is_recent() -> dict[str, int]:
        rig.log._check()
        return {}

    monkeypatch.setattr(rig.log, "recent_tips", nothing_is_recent)
    rig.log.append(1)
    rig.log.is_down = True
    await eventually(lambda: "could not be read" in caplog.text)
    rig.log.is_down = False
    await rig.until_delivered(1)


async def test_a_reader_who_is_ahead_shows_that_this_node_is_behind(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "INTERVAL", TIMEOUT * 10)
    rig.log.append(2)
    rig.reconciler.start(TOPIC, 2)
    await rig.until_delivered(1, 2)


async def test_the_newest_numbers_go_into_the_heartbeat(rig: Rig):
    rig.reconciler.receive(TOPIC, rig.log.append(1)[0])
    assert rig.reconciler.tips([TOPIC, "room.2"]) == {TOPIC: 1}
    rig.reconciler.forget(TOPIC)
    assert rig.reconciler.tips([TOPIC]) == {}


async def test_the_first_push_of_a_topic_can_be_lost_too(rig: Rig):
    rig.reconciler.forget(TOPIC)
    await rig.reconciler.learn(TOPIC)
    rig.log.append(1)
    await rig.until_delivered(1)


async def test_learning_survives_a_database_that_is_down(rig: Rig):
    rig.log.is_down = True
    await rig.reconciler.learn("room.2")
    assert rig.reconciler.sequencer.delivered("room.2") is None
