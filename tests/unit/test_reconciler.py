"""What the engine loses, the log gives back: once, in order, to everybody who listens here."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from django.db import OperationalError

from djwsbridge import reconciler as module
from djwsbridge.durable import Page, Survey, Witness
from djwsbridge.protocol.codec import encode_push
from djwsbridge.reconciler import Reconciler
from djwsbridge.sequencer import Tip
from tests.contract.rig import eventually
from tests.servers import TIMEOUT

TOPIC = "room.1"


class MemoryLog:
    """A log in memory, of one topic."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.epoch = "e0"
        self.is_down = False
        self.reads = 0
        # Whether a look finds what has lately happened.
        self.is_recent = True
        # How many events there have ever been: no two have the same moment.
        self._moment = 0
        self._moments: list[int] = []

    def append(self, count: int = 1) -> list[str]:
        new = []
        for _ in range(count):
            self._moment += 1
            self._moments.append(self._moment)
            new.append(
                encode_push(
                    "thing.done",
                    topic=TOPIC,
                    seq=len(self.frames) + 1,
                    data={"moment": self._moment},
                )
            )
            self.frames.append(new[-1])
        return new

    def rewind(self, to: int) -> None:
        """Forget what came after a seq, as a restored backup does."""
        del self.frames[to:], self._moments[to:]

    def read(self, topic: str, *, after: int) -> Page:
        self._check()
        self.reads += 1
        return Page(Tip(self.epoch, len(self.frames)), self.frames[after : after + 3])

    def tips(self, topics: Iterable[str]) -> dict[str, Tip]:
        self._check()
        return {topic: Tip(self.epoch, len(self.frames)) for topic in topics}

    def survey(self, witness: Witness | None) -> Survey:
        self._check()
        is_rewound = witness is not None and self._witness(witness.seq) != witness
        newest = self._witness(len(self.frames)) if self.frames else None
        return Survey(newest, is_rewound, self.tips([TOPIC]) if self.is_recent else {})

    def _witness(self, seq: int) -> Witness | None:
        if seq > len(self.frames):
            return None
        moment = dt.datetime.fromtimestamp(self._moments[seq - 1], dt.timezone.utc)
        return Witness(seq, 1, seq, moment)

    def renew(self, topic: str, epoch: str) -> None:
        self._check()
        if epoch == self.epoch:
            self.epoch += "+"

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
        self.rewound: list[str] = []
        log: Any = self.log
        self.reconciler = Reconciler(
            log,
            lambda topic, text: self.delivered.append((topic, text)),
            on_rewound=self.rewound.append,
        )

    def receive(self, *texts: str) -> None:
        for text in texts:
            self.reconciler.receive(TOPIC, text)

    def seqs(self) -> list[int]:
        return [json.loads(text)["seq"] for _, text in self.delivered]

    def texts(self) -> list[str]:
        return [text for _, text in self.delivered]

    async def until_delivered(self, *seqs: int) -> None:
        await eventually(lambda: len(self.delivered) >= len(seqs))
        assert self.seqs() == list(seqs)

    async def until_looked(self) -> None:
        """Return when a look has seen the log as it is now."""
        witness = self.log._witness(len(self.log.frames))
        await eventually(lambda: self.reconciler._witness == witness)

    async def until_rewound(self) -> None:
        await eventually(lambda: self.rewound)
        assert self.rewound == [TOPIC]
        assert self.log.epoch == "e0+"


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    monkeypatch.setattr(module, "REORDER_WINDOW", 0.01)
    rig = Rig()
    rig.reconciler.start(TOPIC, Tip("e0", 0))
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


async def test_when_the_engine_is_back_every_topic_is_looked_at(rig: Rig):
    rig.log.is_recent = False  # what was lost is not recent any more
    rig.log.append(1)
    rig.reconciler.suspect_all()
    await rig.until_delivered(1)


async def test_every_topic_is_looked_at_now_and_then(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.log.append(1)
    await rig.until_delivered(1)
    rig.log.is_recent = False  # as after a transaction that took longer than a look goes back
    rig.log.append(1)
    rig.reconciler._next_full_look = 0.0
    await rig.until_delivered(1, 2)


async def test_a_database_that_is_down_is_asked_again(rig: Rig):
    rig.log.is_down = True
    rig.log.append(1)
    rig.reconciler.suspect_all()
    await asyncio.sleep(0)
    rig.log.is_down = False
    await rig.until_delivered(1)


async def test_what_happened_before_a_long_outage_is_found_after_it(
    rig: Rig, caplog: pytest.LogCaptureFixture
):
    rig.log.is_recent = False
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
    rig.reconciler.start(TOPIC, Tip("e0", 2))
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


# -- a history that was rewound --------------------------------------------------------------------------------------


async def test_a_silent_topic_that_was_rewound_is_found_out(
    rig: Rig, caplog: pytest.LogCaptureFixture
):
    rig.receive(*rig.log.append(5))
    await rig.until_looked()
    rig.log.is_recent = False
    rig.log.rewind(3)
    await rig.until_rewound()
    await eventually(lambda: "rewound" in caplog.text)
    rig.receive(*rig.log.append(1))
    assert rig.seqs() == [1, 2, 3, 4, 5, 4]
    assert caplog.text.count("was rewound") == 1


async def test_what_was_lost_a_moment_ago_is_missed(rig: Rig):
    rig.receive(*rig.log.append(3))
    await rig.until_looked()
    rig.receive(*rig.log.append(2))
    rig.log.rewind(3)  # as far as the last look had seen
    rig.log.is_recent = False
    await rig.until_rewound()


async def test_a_new_event_under_an_old_number_shows_a_rewind_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "INTERVAL", TIMEOUT * 10)
    old = rig.log.append(5)
    rig.receive(*old)
    rig.log.rewind(3)
    new = rig.log.append(4)
    rig.receive(*new)
    assert rig.texts() == old, "the topic stands still until the log has been read"
    await rig.until_rewound()
    rig.receive(*rig.log.append(1))
    assert rig.seqs() == [1, 2, 3, 4, 5, 8]


async def test_new_events_that_overtake_what_was_lost_do_not_hide_the_rewind(rig: Rig):
    rig.receive(*rig.log.append(5))
    rig.log.rewind(3)
    rig.log.append(20)  # of which the engine brings nothing
    await rig.until_rewound()
    assert rig.seqs() == [1, 2, 3, 4, 5]


async def test_after_a_known_rewind_a_topic_with_new_events_is_not_compared(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    rig.log.append(5)
    rig.reconciler.forget(TOPIC)
    await rig.reconciler.learn(TOPIC)
    await rig.until_looked()
    monkeypatch.setattr(module, "INTERVAL", 0.3)
    rig.log.rewind(3)
    rig.log.append(4)  # 4 and 5 among them, and nothing here remembers the old ones
    await rig.until_rewound()


async def test_a_topic_that_is_new_here_is_of_the_history_after_the_rewind(rig: Rig):
    rig.receive(*rig.log.append(5))
    await rig.until_looked()
    rig.log.rewind(0)
    rig.log.append(2)
    rig.reconciler.forget(TOPIC)
    await rig.reconciler.learn(TOPIC)
    await rig.until_looked()
    rig.receive(*rig.log.append(1))
    assert rig.seqs() == [1, 2, 3, 4, 5, 3]
    assert rig.rewound == []


async def test_without_topics_there_is_nothing_to_compare(rig: Rig):
    rig.receive(*rig.log.append(5))
    await rig.until_looked()
    rig.reconciler.forget(TOPIC)
    await eventually(lambda: rig.reconciler._witness is None)


async def test_another_epoch_is_another_history(rig: Rig):
    rig.receive(*rig.log.append(2))
    await rig.until_looked()
    rig.log.epoch = "e0+"  # an operator has run `djwsbridge_new_epoch`
    await rig.until_rewound()


async def test_an_epoch_that_another_node_has_renewed_stays(rig: Rig):
    rig.receive(*rig.log.append(5))
    rig.log.rewind(3)
    rig.log.epoch = "e0+"
    await rig.until_rewound()


async def test_a_late_duplicate_is_no_rewind(rig: Rig):
    old = rig.log.append(40)
    rig.receive(*old)
    await rig.until_looked()
    reads = rig.log.reads
    rig.receive(old[0])
    assert rig.reconciler.sequencer.has_suspects
    await eventually(lambda: not rig.reconciler.sequencer.has_suspects)
    assert rig.log.reads > reads
    assert rig.rewound == []
    assert rig.log.epoch == "e0"


async def test_an_erased_event_is_no_rewind(rig: Rig):
    old = rig.log.append(3)
    rig.receive(*old)
    rig.log.frames[2] = encode_push("thing.done", topic=TOPIC, seq=3, data={"scrubbed": True})
    rig.receive(rig.log.append(2)[1])
    await rig.until_delivered(1, 2, 3, 4, 5)
    rig.log.frames[4] = encode_push("thing.done", topic=TOPIC, seq=5, data={"scrubbed": True})
    reads = rig.log.reads
    rig.reconciler.suspect(TOPIC)
    await eventually(lambda: rig.log.reads > reads + 1)
    rig.receive(*rig.log.append(1))
    assert rig.seqs()[-1] == 6
    assert rig.rewound == []


async def test_what_the_log_has_deleted_holds_up_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.receive(*rig.log.append(2))
    last = rig.log.append(3)[-1]
    read = rig.log.read

    def read_what_is_left(topic: str, *, after: int) -> Page:
        page = read(topic, after=after)
        left = [text for text in page.frames if json.loads(text)["seq"] not in (3, 4)]
        return Page(page.tip, left) if left or after >= 4 else read_what_is_left(topic, after=4)

    monkeypatch.setattr(rig.log, "read", read_what_is_left)
    rig.receive(last)
    await rig.until_delivered(1, 2, 5)
    await eventually(lambda: not rig.reconciler.sequencer.has_suspects)
    rig.receive(*rig.log.append(1))
    assert rig.seqs() == [1, 2, 5, 6]


async def test_a_database_that_fails_during_a_rewind_leaves_no_client_untold(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    rig.reconciler.start("room.2", Tip("e0", 0))
    for text in rig.log.append(5):
        for topic in (TOPIC, "room.2"):
            rig.reconciler.receive(topic, text)
    await rig.until_looked()
    read, failures = rig.log.read, [OperationalError("down")]

    def read_once_in_vain(topic: str, *, after: int) -> Page:
        if topic == "room.2" and failures:
            raise failures.pop()
        return read(topic, after=after)

    monkeypatch.setattr(rig.log, "read", read_once_in_vain)
    rig.log.rewind(3)
    await eventually(lambda: len(rig.rewound) >= 2)
    await rig.until_looked()
    assert sorted(rig.rewound) == [TOPIC, "room.2"]


async def test_a_rumour_is_looked_up_and_never_delivered(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "INTERVAL", TIMEOUT * 10)
    rig.log.append(2)
    rig.reconciler.suspect(TOPIC)
    await rig.until_delivered(1, 2)


async def test_a_push_beyond_the_log_is_dropped_and_hides_nothing(rig: Rig):
    rig.receive(encode_push("thing.done", topic=TOPIC, seq=3, data={"a": "lie"}))
    await eventually(lambda: rig.reconciler.sequencer.held(TOPIC) == [])
    truth = rig.log.append(3)
    await rig.until_delivered(1, 2, 3)
    assert rig.texts() == truth
