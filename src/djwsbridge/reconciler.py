"""Compare what was delivered on this node with the log, and deliver what is missing.

The engine carries hints. A lost hint heals here, without the client: at once when a push shows a gap or the engine's
link comes back, and otherwise by a look at what has lately happened, every few seconds.

The same look detects that the history was rewound under the running node: a backup was restored, or a replica that was
behind has become the primary. The clients then have events that the database no longer knows, and the database gives
their numbers away again. Such a topic gets another epoch, and its clients reconnect and learn it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from djwsbridge.announcements import Announcements
from djwsbridge.durable import DurableLog, Page, Survey, Witness
from djwsbridge.group_commit import READS_REST, GroupCommit
from djwsbridge.sequencer import Sequencer, Tip, seq_of
from djwsbridge.threads import run_service

__all__ = ["Reconciler"]

logger = logging.getLogger("djwsbridge.reconciler")

# Seconds between two looks; a reader is at most this late when the engine loses a push.
INTERVAL = 2.0
# Seconds between two looks at every topic. The looks between them see events of the last half minute, by the time at
# which a transaction has numbered them: a transaction that commits later than that, by a process that dies then, leaves
# an event that no hint has told and no such look finds.
FULL_INTERVAL = 60.0
PRUNE_INTERVAL = 3_600.0  # seconds
REORDER_WINDOW = 0.1  # seconds in which an earlier push may still arrive by itself
SETTLED_AT_ONCE = 8  # topics; more would only wait for each other in the pool of threads
NO_LOG = Tip("", 0)  # the position of a topic without a log

Deliver = Callable[[str, str], None]


class Reconciler:
    """The durable pushes of one node, in order and complete.

    Args:
        log: where the truth is.
        deliver: hands a push to the subscriptions of this node.
        on_rewound: called with a topic whose history was rewound: what its subscribers have is not true any more.
    """

    def __init__(
        self, log: DurableLog, deliver: Deliver, *, on_rewound: Callable[[str], None]
    ) -> None:
        self._log = log
        self._deliver = deliver
        self._on_rewound = on_rewound
        self.sequencer = Sequencer()
        # Connections that are told when topics have moved which this node need not listen to.
        self.announcements = Announcements()
        # Set when something is known or suspected to be missing.
        self._suspicion = asyncio.Event()
        # Topics that were said to have moved, by a hint that cannot be trusted.
        self._rumoured: set[str] = set()
        # Whether the next look is at every topic, not only at those that have lately changed.
        self._look_at_all = False
        # When that is due in any case, in seconds of the loop's clock.
        self._next_full_look = 0.0
        # The newest event of the last look; None before the first look, and while the log is empty.
        self._witness: Witness | None = None
        # The topics that were known then: what is known since is of the history that the database has now.
        self._known: set[str] = set()
        # Finds out where the logs of topics stand, of many at once.
        self._tips: GroupCommit[str, Tip] = GroupCommit(self._read_tips, rest=READS_REST)
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
        if self.sequencer.has_suspects:
            self._suspicion.set()

    def suspect(self, topic: str) -> None:
        """Read the log of a topic soon: a hint says that it has moved, and the hint itself cannot be trusted."""
        self._rumoured.add(topic)
        self._suspicion.set()

    def start(self, topic: str, tip: Tip) -> None:
        """Learn where the log of a topic stands, from a caller that has just read it."""
        for ready in self.sequencer.start(topic, tip):
            self._deliver(topic, ready)
        if (self.sequencer.delivered(topic) or 0) < tip.seq:
            self._rumoured.add(topic)
        if self._rumoured or self.sequencer.has_suspects:
            self._suspicion.set()

    async def learn(self, topic: str) -> None:
        """Read where the log of a topic stands that this node has just begun to hear: what comes after is complete."""
        try:
            self.start(topic, await self._tips.submit(topic))
        except Exception as error:  # noqa: BLE001  the database may be down; a client that recovers brings the position
            logger.warning("The log of %s could not be read: %r", topic, error)

    def _read_tips(self, topics: Sequence[str]) -> list[Tip]:
        """Return where the logs of topics stand. Talks to the database."""
        tips = self._log.tips(topics)
        return [tips.get(topic, NO_LOG) for topic in topics]

    async def announced(self, topics: Sequence[str]) -> dict[str, int]:
        """Return the newest seq of topics whose announcements begin; what comes after is announced."""
        tips = dict(zip(topics, await run_service(self._read_tips, topics), strict=True))
        self.announcements.begin(tips)
        return {topic: tip.seq for topic, tip in tips.items()}

    def tips(self, topics: Iterable[str]) -> dict[str, int]:
        """Return the newest seq that was delivered here of each topic of which something is known."""
        found = ((topic, self.sequencer.delivered(topic)) for topic in topics)
        return {topic: seq for topic, seq in found if seq}

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic: it has no subscriber here any more."""
        self.sequencer.forget(topic)
        self._known.discard(topic)

    def suspect_all(self) -> None:
        """Look at every topic as soon as possible: the engine may have lost anything."""
        self._look_at_all = True
        self._suspicion.set()

    async def tend(self) -> None:
        """Log at the start how safe the log is, and delete what is too old once an hour, until cancelled."""
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
        """Find the topics that stand elsewhere in the log than here, and settle each of them."""
        if not self.sequencer.topics():
            self._witness = None
            return
        unsettled = self.sequencer.suspects | self._rumoured
        moved, self._rumoured = self.sequencer.take_moved(), set()
        survey = await run_service(self._log.survey, self._witness)
        # A topic that has moved here and not in the log was rewound a moment ago.
        unsettled |= moved - survey.tips.keys()
        tips = await self._tips_to_compare(survey)
        unsettled |= self.sequencer.differing(tips)
        self.announcements.tell(tips)
        # What came after a rewind may have overtaken what was lost: a topic with new events cannot be compared.
        overtaken = survey.tips.keys() & self._known if survey.is_rewound else set()
        unsettled |= overtaken
        await self._settle_all(list(unsettled), overtaken)
        self._witness, self._known = survey.witness, set(self.sequencer.topics())

    async def _settle_all(self, topics: Sequence[str], overtaken: Collection[str]) -> None:
        """Settle topics, and tell the subscribers of those whose history was rewound.

        The subscribers are told at the end, because clients that leave take the last subscriber of other topics along,
        which are to be settled as well. They are told also when the database fails before the end: these topics agree
        with the log by then, and no later look would find them.
        """
        rewound: list[str] = []

        async def settle(topic: str) -> None:
            if await self._settle(topic, is_known=topic in overtaken):
                rewound.append(topic)
                self._known.discard(topic)  # should the rewind have to be looked at again

        failures: list[BaseException] = []
        for start in range(0, len(topics), SETTLED_AT_ONCE):
            some = map(settle, topics[start : start + SETTLED_AT_ONCE])
            outcomes = await asyncio.gather(*some, return_exceptions=True)
            failures += filter(None, outcomes)
            if failures:
                break
        for topic in rewound:
            self._on_rewound(topic)
        if rewound:
            _report(rewound)
        if failures:
            raise failures[0]

    async def _tips_to_compare(self, survey: Survey) -> Mapping[str, Tip]:
        """Return where the logs stand of the topics that have lately changed; of all topics when anything may have."""
        now = asyncio.get_running_loop().time()
        is_first = self._witness is None and survey.witness is not None
        is_due = now >= self._next_full_look
        if not (self._look_at_all or survey.is_rewound or is_first or is_due):
            return survey.tips
        self._look_at_all, self._next_full_look = False, now + FULL_INTERVAL
        topics = list({*self.sequencer.topics(), *self.announcements.topics()})
        return dict(zip(topics, await run_service(self._read_tips, topics), strict=True))

    async def _settle(self, topic: str, *, is_known: bool) -> bool:
        """Deliver what the log of a topic has after the last push that was delivered, or begin anew.

        Args:
            topic: of which something may be missing or wrong.
            is_known: whether its history is known to have been rewound.

        Returns:
            Whether the history of the topic was rewound.
        """
        before = self.sequencer.position(topic)
        if before is None:
            return False
        after, held = self.sequencer.anchor(topic), self.sequencer.held(topic)
        while True:
            page = await run_service(self._log.read, topic, after=after)
            if self.sequencer.position(topic) is None:
                return False  # its last subscriber has left meanwhile
            if is_known or self._is_rewound(topic, before, page):
                await self._begin_anew(topic, before.epoch or page.tip.epoch)
                return True
            after = _last_seq(page)
            if after >= before.seq:  # everything that is remembered was compared
                self._trust(topic, page.tip, held)
            self._receive_page(topic, page)
            if after >= page.tip.seq:
                return False

    def _receive_page(self, topic: str, page: Page) -> None:
        """Deliver what a page of the log has after the last push that was delivered.

        Where the log has deleted events, the topic goes on behind them; clients see the gap and recover.
        """
        for text in page.frames:
            seq, delivered = seq_of(text), self.sequencer.delivered(topic)
            if seq is not None and delivered is not None and seq > delivered:
                self._skip(topic, seq - 1)
                self.receive(topic, text)
        if _last_seq(page) >= page.tip.seq:
            self._skip(topic, page.tip.seq)

    def _skip(self, topic: str, seq: int) -> None:
        for ready in self.sequencer.skip(topic, seq):
            self._deliver(topic, ready)

    def _trust(self, topic: str, tip: Tip, held: Sequence[int]) -> None:
        """Go on with a topic whose log agrees with what was delivered.

        Args:
            topic: was compared.
            tip: where its log stands.
            held: what waited before the log was read. The log has it, or it was never true.
        """
        self.sequencer.drop_held(topic, held)
        for ready in [*self.sequencer.start(topic, tip), *self.sequencer.trust(topic)]:
            self._deliver(topic, ready)

    def _is_rewound(self, topic: str, before: Tip, page: Page) -> bool:
        """Say whether the log has another history of a topic than this node has delivered.

        Args:
            topic: in question.
            before: where it stood on this node before its log was read.
            page: of the log, from a little before that on.
        """
        if page.tip.seq < before.seq or before.epoch not in ("", page.tip.epoch):
            return True
        found = ((seq_of(text), text) for text in page.frames)
        return any(
            seq is not None and self.sequencer.contradicts(topic, seq, text) for seq, text in found
        )

    async def _begin_anew(self, topic: str, epoch: str) -> None:
        """Follow the history that the database has now, in another epoch: no cursor of the lost history fits it.

        Args:
            topic: that was rewound.
            epoch: of the lost history. The first node that finds out replaces it.
        """
        await run_service(self._log.renew, topic, epoch)
        [tip] = await run_service(self._read_tips, [topic])
        self.sequencer.restart(topic, tip)


def _last_seq(page: Page) -> int:
    """Return up to where a page tells of the log; an empty page is the last one."""
    last = seq_of(page.frames[-1]) if page.frames else None
    return page.tip.seq if last is None else last


def _report(topics: Collection[str]) -> None:
    logger.error(
        "The database was rewound: it has lost events that this node had delivered, on %d topics such as %s. Their "
        "clients load what there is now. Run `manage.py djwsbridge_new_epoch --all`, so that clients which are away "
        "learn it as well.",
        len(topics),
        min(topics),
    )
