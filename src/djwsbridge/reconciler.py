"""Compare what was delivered on this node with the log, and deliver what is missing.

The engine carries hints; a lost one heals here, without the client: at once when a push shows a gap or the engine's
link comes back, and otherwise by a look at what has lately happened, every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from djwsbridge.durable import DurableLog
from djwsbridge.group_commit import READS_REST, GroupCommit
from djwsbridge.sequencer import Sequencer, seq_of
from djwsbridge.threads import run_service

__all__ = ["Reconciler"]

logger = logging.getLogger("djwsbridge.reconciler")

# Seconds between two looks; a reader is at most this late when the engine loses a push.
INTERVAL = 2.0
PRUNE_INTERVAL = 3_600.0  # seconds
REORDER_WINDOW = 0.1  # seconds in which an earlier push may still arrive by itself

Deliver = Callable[[str, str], None]


class Reconciler:
    """The durable pushes of one node, in order and complete.

    Args:
        log: where the truth is.
        deliver: hands a push to the subscriptions of this node.
    """

    def __init__(self, log: DurableLog, deliver: Deliver) -> None:
        self._log = log
        self._deliver = deliver
        self.sequencer = Sequencer()
        # Set when something is known or suspected to be missing.
        self._suspicion = asyncio.Event()
        # Whether the next look is at every topic, not only at those that have lately changed.
        self._look_at_all = False
        # Finds out where the logs of topics stand, of many at once.
        self._tips: GroupCommit[str, int] = GroupCommit(self._read_tips, rest=READS_REST)
        # Whether the durability of the database was looked at.
        self._inspected = False

    def receive(self, topic: str, text: str) -> None:
        """Take a push from the engine: deliver it when its turn has come, once."""
        seq = seq_of(text)
        if seq is None:
            self._deliver(topic, text)
            return
        for ready in self.sequencer.accept(topic, seq, text):
            self._deliver(topic, ready)
        if self.sequencer.has_gaps:
            self._suspicion.set()

    def start(self, topic: str, seq: int) -> None:
        """Learn where the log of a topic stands, from somebody who has just read it."""
        for ready in self.sequencer.start(topic, seq):
            self._deliver(topic, ready)
        if self.sequencer.behind({topic: seq}):
            self._suspicion.set()

    async def learn(self, topic: str) -> None:
        """Read where the log of a topic stands that this node has just begun to hear: what comes after is complete."""
        try:
            self.start(topic, await self._tips.submit(topic))
        except Exception as error:  # noqa: BLE001  the database may be down; whoever recovers brings it along
            logger.warning("The log of %s could not be read: %r", topic, error)

    def _read_tips(self, topics: Sequence[str]) -> list[int]:
        tips = self._log.tips(topics)
        return [tips.get(topic, 0) for topic in topics]

    def tips(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the newest seq that was delivered here of each topic of which something is known."""
        found = ((topic, self.sequencer.delivered(topic)) for topic in topics)
        return {topic: seq for topic, seq in found if seq}

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic: nobody here listens any more."""
        self.sequencer.forget(topic)

    def suspect_all(self) -> None:
        """Look at every topic as soon as possible: the engine may have lost anything."""
        self._look_at_all = True
        self._suspicion.set()

    async def tend(self) -> None:
        """Say at the start how safe the log is, and delete what is too old once an hour, until cancelled."""
        while True:
            try:
                if not self._inspected:
                    for weakness in await run_service(self._log.weaknesses):
                        logger.warning("%s", weakness)
                    self._inspected = True
                await run_service(self._log.prune)
            except Exception as error:  # noqa: BLE001  the database may be down; an hour is soon enough
                logger.warning("The log could not be tended: %r", error)
            # Not all nodes at once.
            await asyncio.sleep(PRUNE_INTERVAL * random.uniform(0.5, 1.5))  # noqa: S311

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
            timer = asyncio.get_running_loop().call_later(INTERVAL, self._suspicion.set)
            try:
                await self._suspicion.wait()
            finally:
                timer.cancel()
            self._suspicion.clear()
            await asyncio.sleep(REORDER_WINDOW)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  the database may be down; the next look comes
                logger.warning("The log could not be read: %r", error)
                # By the time it can, what happened meanwhile may not be recent any more.
                self._look_at_all = True

    async def _look(self) -> None:
        topics = self.sequencer.topics()
        if not topics:
            return
        missing = dict(self.sequencer.gaps())
        if self._look_at_all:
            self._look_at_all = False
            tips: Mapping[str, int] = await run_service(self._log.tips, topics)
        else:
            tips = await run_service(self._log.recent_tips)
        missing |= self.sequencer.behind(tips)
        for topic in missing:
            await self._repair(topic)

    async def _repair(self, topic: str) -> None:
        """Deliver what the log has after the last push that was delivered."""
        while (after := self.sequencer.delivered(topic)) is not None:
            frames = await run_service(self._log.read, topic, after=after)
            for text in frames:
                self.receive(topic, text)
            if not frames or self.sequencer.delivered(topic) == after:
                return
