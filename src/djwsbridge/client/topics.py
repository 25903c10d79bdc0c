"""What this client has of every topic, and how it gets what it missed.

Pushes of a topic leave in seq order, each once. One that comes after a gap is held until the gap is filled: by the
missing push if it was only late, else by `topic.recover`. Where the server cannot say what was missed, the reader is
told so by a push of type `topic.reset` and loads a snapshot.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from djwsbridge.client.backoff import Backoff
from djwsbridge.client.errors import ClientError, retry_after
from djwsbridge.client.frames import Push, TopicReport
from djwsbridge.client.push_queue import Cursor, PushQueue
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["RESET", "Question", "Topics"]

logger = logging.getLogger(__name__)

#: The type of the push by which the client itself tells that a part of a topic cannot be recovered. Its data are the
#: `epoch` and `seq` that pushes go on after, and the `reason`, which may be None.
RESET = "topic.reset"

GAP_PATIENCE = 0.2  # seconds; two nodes may deliver neighbours in the wrong order
HELD = 500  # pushes of a topic behind a gap; what is beyond comes with the recovery
OMITTED_EVERY = 5.0  # seconds; what is missing is more urgent
CURSORS = 200  # the server takes no more with `connect`; the others are asked for one by one


class Durability(enum.Enum):
    """Whether a topic has a log."""

    UNKNOWN = "unknown"
    LOGGED = "logged"
    PASSING = "passing"  # no log: pushes pass as they come


@dataclass
class Topic:
    """What is known of one topic."""

    name: str
    # What was put into the queue; None as long as nothing is known.
    cursor: Cursor | None = None
    durability: Durability = Durability.UNKNOWN
    # What came ahead of its time, by seq.
    held: dict[int, Push] = field(default_factory=dict)
    # When to ask for what is missing; None while nothing is.
    due: float | None = None
    # Whether the application asked for it by `subscribe`, so that each new connection must.
    is_wanted: bool = False
    # Whether this connection is subscribed.
    is_subscribed: bool = False
    # Whether the cursor went with the `connect` that is being answered.
    was_sent: bool = False
    # Whether the server has more to say of it.
    is_omitted: bool = False
    # The newest seq that the last heartbeat told; None before the first.
    tip: int | None = None


class Question(NamedTuple):
    """A command that the topics need an answer to."""

    cmd: str
    fields: Mapping[str, object]


class Topics:
    """The cursors of all topics.

    It asks one question at a time; the server counts them.

    Args:
        queue: where pushes go in order.
        random: returns a number from 0 up to, not including, 1.
        advanced: called with a topic and a seq when everything up to it is in the queue.
    """

    def __init__(
        self,
        queue: PushQueue,
        *,
        random: Callable[[], float],
        advanced: Callable[[str, int], None],
    ) -> None:
        self._queue = queue
        self._advanced = advanced
        self._backoff = Backoff(random)
        # In the order in which they last moved; the newest last.
        self._topics = {name: Topic(name, cursor) for name, cursor in queue.cursors.items()}
        # Names of those with a `due`.
        self._due: set[str] = set()
        # Names of those that go on when the reader has caught up.
        self._behind: set[str] = set()
        # When the last topic is asked about of which the server has more to say.
        self._omitted_at = 0.0
        # True from `greet` until `welcome`: everything durable is held.
        self._is_greeting = False
        # The topic whose question is being answered, and the question; None when there is none.
        self._asking: tuple[Topic, Question] | None = None
        # No question before this time.
        self._not_before = 0.0

    # -- the connection --------------------------------------------------------------------------------------------

    def greet(self) -> dict[str, Cursor]:
        """Return the cursors that go with `connect`, and hold what is pushed until its answer has been read."""
        self._is_greeting = True
        known = [topic for topic in self._topics.values() if topic.cursor and topic.cursor.epoch]
        for topic in known[-CURSORS:]:
            topic.was_sent = True
        return {topic.name: topic.cursor for topic in known[-CURSORS:] if topic.cursor}

    def welcome(self, reports: Mapping[str, TopicReport], *, now: float) -> None:
        """Take the answer to `connect`: what was missed of each topic, then what was held meanwhile."""
        self._is_greeting = False
        for topic in list(self._topics.values()):
            if topic.name not in reports:
                topic.was_sent = False  # nobody has looked at it
                if topic.is_wanted:
                    self._want(topic, now)
        for name, report in reports.items():
            topic = self._topic(name)
            topic.is_subscribed = True
            self._apply(topic, report, now)
        # A topic that was subscribed to by the server while it answered.
        for topic in list(self._topics.values()):
            if topic.name not in reports and topic.held:
                self._begin_at(topic, min(topic.held), now)

    def lose(self) -> None:
        """Forget what only the connection made true."""
        self._is_greeting = False
        self._asking = None
        self._omitted_at = 0.0
        self._due.clear()
        self._behind.clear()
        for topic in self._topics.values():
            topic.held.clear()
            topic.due = topic.tip = None
            topic.is_subscribed = topic.was_sent = topic.is_omitted = False
            topic.durability = Durability.UNKNOWN

    def subscribe(self, name: str, report: TopicReport, *, now: float) -> None:
        """Note that the application has subscribed to a topic, and take what the server answered."""
        topic = self._topic(name)
        topic.is_wanted = topic.is_subscribed = True
        self._apply_subscription(topic, report, now)

    def unsubscribe(self, name: str) -> None:
        """Note that the application listens no more."""
        topic = self._topics.get(name)
        if topic is not None:
            self._forget(topic)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def accept(self, push: Push, *, now: float) -> None:
        """Take a push that has just come."""
        if push.topic is None or push.seq is None:
            self._queue.offer(push, None)
            return
        topic = self._topic(push.topic)
        if self._is_greeting:
            self._hold(topic, push)
        elif topic.durability is Durability.PASSING:
            self._queue.offer(push, None)
        elif topic.cursor is None:
            self._hold(topic, push)
            self._begin_at(topic, push.seq, now)
        elif push.seq > topic.cursor.seq:
            if push.epoch and not topic.cursor.epoch and push.seq == topic.cursor.seq + 1:
                self._adopt(topic, Cursor(push.epoch, topic.cursor.seq), now)
            self._hold(topic, push)
            self._release(topic, now)

    def hear_tips(self, tips: Mapping[str, int], *, now: float) -> None:
        """Compare what is here with what the server says is the newest; ask when it differs twice running."""
        for name, tip in tips.items():
            topic = self._topics.get(name)
            if topic is None or topic.cursor is None or name in self._behind:
                continue
            earlier, topic.tip = topic.tip, tip
            seq = topic.cursor.seq
            if earlier is not None and not min(earlier, tip) <= seq <= max(earlier, tip):
                topic.tip = None
                self._want(topic, now)

    def heal(self, tips: Mapping[str, int], *, now: float) -> None:
        """Ask at once for what the server has withheld, because this client read too slowly."""
        if self._is_greeting:
            return  # the answer to `connect` brings it
        for name, tip in tips.items():
            topic = self._topics.get(name)
            # One that waits for its own reader asks by itself afterwards.
            if topic and topic.cursor and topic.cursor.seq < tip and name not in self._behind:
                self._want(topic, now)

    def catch_up(self, *, now: float) -> None:
        """Go on with the topics that had to wait for the reader."""
        behind, self._behind = self._behind, set()
        for name in behind:
            topic = self._topics[name]
            self._release(topic, now)
            # What did not even fit among the held may be the newest: nothing later would show the gap.
            self._want(topic, now)

    # -- questions -------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """Return when `next_question` is worth asking again; None when nothing is due."""
        if self._asking is not None or not self._due:
            return None
        return max(self._not_before, min(self._due_at(name) for name in self._due))

    def next_question(self, *, now: float) -> Question | None:
        """Return the command to send now, if there is one; then call `answered` or `refused`."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return None
        topic = self._topics[min(self._due, key=self._due_at)]
        self._stop_wanting(topic)
        if topic.is_wanted and not topic.is_subscribed:
            question = Question("subscribe", {"topic": topic.name})
        else:
            epoch, seq = topic.cursor or ("", 0)
            topic.was_sent = True
            question = Question("topic.recover", {"topic": topic.name, "epoch": epoch, "seq": seq})
        self._asking = (topic, question)
        return question

    def answered(self, report: TopicReport, *, now: float) -> None:
        """Take the answer to the question."""
        topic, cmd = self._stop_asking()
        self._backoff.reset()
        if topic is None:
            return
        if cmd == "subscribe":
            topic.is_subscribed = True
            self._apply_subscription(topic, report, now)
        else:
            self._apply(topic, report, now)

    def refused(self, error: CommandError | ClientError, *, now: float) -> None:
        """Take the failure of the question: ask again later, or go on without an answer."""
        topic, _ = self._stop_asking()
        if topic is None:
            return
        if error.retryable:
            self._not_before = now + retry_after(error) + self._backoff.next_delay()
            self._want(topic, now)
        elif isinstance(error, CommandError) and error.code is ErrorCode.NOT_FOUND:
            self._forget(topic)
        else:
            logger.warning("Topic %s cannot be recovered: %s", topic.name, error)
            self._pass(topic)

    def _stop_asking(self) -> tuple[Topic | None, str]:
        """Return what was asked of which topic; no topic when it is forgotten by now."""
        if self._asking is None:
            return None, ""
        (topic, question), self._asking = self._asking, None
        return self._topics.get(topic.name), question.cmd

    # -- inside ----------------------------------------------------------------------------------------------------

    def _topic(self, name: str) -> Topic:
        return self._topics.setdefault(name, Topic(name))

    def _begin_at(self, topic: Topic, seq: int, now: float) -> None:
        """Begin with the first push of a topic that the server has added, and ask which life of the log it is of."""
        if topic.cursor is None:
            topic.cursor = Cursor("", seq - 1)
            # Where the reader begins: the push itself may wait long until it is read.
            self._queue.cursors.setdefault(topic.name, topic.cursor)
        topic.durability = Durability.LOGGED
        self._release(topic, now)
        self._want(topic, now)

    def _apply_subscription(self, topic: Topic, report: TopicReport, now: float) -> None:
        """Take the answer to `subscribe`, which need not say anything of the log."""
        if report.epoch is not None:
            self._apply(topic, report, now)
        elif topic.cursor is not None:
            self._want(topic, now)

    def _apply(self, topic: Topic, report: TopicReport, now: float) -> None:
        """Take what the server tells of a topic, then what was held."""
        was_sent, topic.was_sent = topic.was_sent, False
        if report.epoch is None or report.seq is None:
            self._pass(topic)
            return
        topic.durability = Durability.LOGGED
        there = Cursor(report.epoch, report.seq)
        if report.recovered:
            self._absorb(topic, report, now)
        elif topic.cursor is None:
            self._move(topic, there)
            self._queue.cursors.setdefault(topic.name, there)
        elif not topic.cursor.epoch:
            self._adopt(topic, there, now)
        elif topic.cursor.epoch == there.epoch and not was_sent and topic.cursor.seq <= there.seq:
            if topic.cursor.seq < there.seq:
                self._want(topic, now)
        else:
            self._reset(topic, there, report.reason)
        self._note_omitted(topic, report, now)
        self._release(topic, now)

    def _note_omitted(self, topic: Topic, report: TopicReport, now: float) -> None:
        """Ask for what did not fit into an answer, in measure."""
        topic.is_omitted = report.omitted
        if report.omitted:
            self._omitted_at = max(self._omitted_at, now) + OMITTED_EVERY
            self._want(topic, self._omitted_at)

    def _absorb(self, topic: Topic, report: TopicReport, now: float) -> None:
        """Give out what was missed."""
        epoch = report.epoch or ""
        if (
            topic.cursor is None
        ):  # nothing has ever happened there: this client was here before the first event
            self._move(topic, Cursor(epoch, 0))
            self._queue.cursors.setdefault(topic.name, Cursor(epoch, 0))
        else:
            topic.cursor = Cursor(epoch, topic.cursor.seq)
        for push in report.events:
            seq = push.seq or 0
            if topic.cursor is not None and seq <= topic.cursor.seq:
                continue
            if not self._queue.offer(push, Cursor(epoch, seq)):
                self._behind.add(topic.name)
                return
            self._move(topic, Cursor(epoch, seq))
            self._advanced(topic.name, seq)
        if report.more:
            self._want(topic, now)

    def _adopt(self, topic: Topic, there: Cursor, now: float) -> None:
        """Learn the epoch of a topic that had none, or whose pushes came before anything was known of it."""
        seq = topic.cursor.seq if topic.cursor else 0
        self._move(topic, Cursor(there.epoch, seq))
        taken = self._queue.cursors.get(topic.name)
        if taken is not None and not taken.epoch:
            self._queue.cursors[topic.name] = Cursor(there.epoch, taken.seq)
        if seq < there.seq:
            self._want(topic, now)

    def _reset(self, topic: Topic, there: Cursor, reason: str | None) -> None:
        """Go on after a part that cannot be recovered, and say so."""
        self._move(topic, there)
        data = {"epoch": there.epoch, "seq": there.seq, "reason": reason}
        self._queue.insist(Push(RESET, topic.name, None, data), there)

    def _pass(self, topic: Topic) -> None:
        """Let the pushes of a topic through as they come."""
        topic.durability = Durability.PASSING
        self._stop_wanting(topic)
        for seq in sorted(topic.held):
            self._queue.offer(topic.held.pop(seq), None)

    def _hold(self, topic: Topic, push: Push) -> None:
        if push.seq is not None and len(topic.held) < HELD:
            topic.held[push.seq] = push

    def _release(self, topic: Topic, now: float) -> None:
        """Give out what is in order; when something is missing before the rest, see to it."""
        epoch, seq = topic.cursor or Cursor("", 0)
        start = seq
        while seq + 1 in topic.held:
            if not self._queue.offer(topic.held[seq + 1], Cursor(epoch, seq + 1)):
                self._behind.add(topic.name)
                break
            seq += 1
            del topic.held[seq]
        if seq > start:
            self._move(topic, Cursor(epoch, seq))
            self._advanced(topic.name, seq)
            if not epoch and not self._is_asked(topic):
                self._want(topic, now)  # its first event has made the log
        for passed in [held for held in topic.held if held <= seq]:
            del topic.held[passed]
        self._watch_gap(topic, now)

    def _watch_gap(self, topic: Topic, now: float) -> None:
        """Wait a moment for what is missing; stop waiting when it has come."""
        if topic.name in self._behind or not topic.held:
            if topic.due is not None and topic.due > now and not topic.is_omitted:
                self._stop_wanting(topic)
        elif not self._is_asked(topic):
            self._want(topic, now + GAP_PATIENCE)

    def _is_asked(self, topic: Topic) -> bool:
        return self._asking is not None and self._asking[0] is topic

    def _move(self, topic: Topic, cursor: Cursor) -> None:
        topic.cursor = cursor
        self._topics[topic.name] = self._topics.pop(topic.name)

    def _want(self, topic: Topic, due: float) -> None:
        topic.due = due if topic.due is None else min(due, topic.due)
        self._due.add(topic.name)

    def _stop_wanting(self, topic: Topic) -> None:
        topic.due = None
        self._due.discard(topic.name)

    def _due_at(self, name: str) -> float:
        due = self._topics[name].due
        return 0.0 if due is None else due

    def _forget(self, topic: Topic) -> None:
        self._stop_wanting(topic)
        self._behind.discard(topic.name)
        self._queue.cursors.pop(topic.name, None)
        del self._topics[topic.name]
