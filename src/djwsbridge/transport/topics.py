"""What one connection listens to, what is announced to it, and where it shows that its actor is here.

A connection listens to at most DJWSBRIDGE_SUBSCRIPTIONS topics. A user may have more, such as ten thousand rooms. The
others are *announced*: the connection is told their newest seq when that has changed, and their pushes stay away. A
client that wants the pushes of such a topic subscribes to it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CLOSE_POLICIES, CloseCode, ErrorCode, Reaction
from djwsbridge.protocol.errors import CloseConnection, CommandError, EngineUnavailable
from djwsbridge.threads import run_service
from djwsbridge.transport import registry
from djwsbridge.transport.failures import try_later

if TYPE_CHECKING:
    from djwsbridge.presence import Change, Person
    from djwsbridge.transport.connection import Connection

__all__ = ["TOLD_AT_ONCE", "Topics"]

logger = logging.getLogger("djwsbridge.topics")

TOLD_AT_ONCE = (
    5_000  # topics of one frame; an entry has some 22 bytes, and Daphne sends no more than 1 MiB
)
# Seconds for which a lease of presence outlives its connection. A page that is loaded again does not flicker, and
# neither does a client that has lost the network for a moment.
LINGER_AFTER_CLOSE = 2.0
LINGER_AFTER_LOSS = 15.0
# Codes after which the client does not come back by itself.
_FINAL_CODES = frozenset(
    {CloseCode.NORMAL, CloseCode.GOING_AWAY}
    | {code for code, policy in CLOSE_POLICIES.items() if policy.reaction is Reaction.STOP}
)


class Topics:
    """The subscriptions of one connection, and its leases of presence.

    Args:
        connection: whose; its `person` is known before anything is subscribed to.
    """

    __slots__ = (
        "_asked",
        "_leases",
        "_lost",
        "_missed",
        "_promoted",
        "_weak",
        "announced",
        "names",
    )

    def __init__(self, connection: Connection) -> None:
        # Weak, or the two would keep each other.
        self._weak = weakref.ref(connection)
        # What it is subscribed to, or about to be: whoever loses access meanwhile is taken off this set.
        self.names: set[str] = set()
        # Topics of which it is only told that they have moved, or about to be. No topic is in both sets for long.
        self.announced: set[str] = set()
        # Those that it has subscribed to since.
        self._promoted: set[str] = set()
        # Of its names, those whose rule is being asked: a user who is let in meanwhile is not put out by an older "no".
        self._asked: frozenset[str] = frozenset()
        # Topics to which access was lost since it was asked what to listen to; None while nobody asks.
        self._lost: set[str] | None = None
        # Topic → newest seq of what was withheld from a slow reader; None while there is nothing.
        self._missed: dict[str, int] | None = None
        # The topics on which it holds a lease of presence.
        self._leases: set[str] = set()

    @property
    def _connection(self) -> Connection:
        connection = self._weak()
        if connection is None:
            raise RuntimeError("The connection is gone.")
        return connection

    async def join_named(self, query: Awaitable[Iterable[str]], *, first: Collection[str]) -> None:
        """Listen to the topics that apps name for the user. Let those be announced for which there is no room.

        Args:
            query: finds them.
            first: topics that the client has shown lately. The connection listens to these before others.

        Raises:
            CloseConnection: 4403 if apps name more topics than there is room for, and these cannot be announced; 1013
                if the engine cannot be reached.
        """
        topics = await self._find(query)
        room = settings.SUBSCRIPTIONS - len(self.names)
        if len(topics) > room:
            topics.sort(key=lambda topic: (registry.may_be_announced(topic), topic not in first))
            if not registry.may_be_announced(topics[room]):
                raise self._too_many(len(topics))
        rest = topics[room:]
        self.announced.update(
            rest
        )  # access that is lost while the others are joined takes a topic off
        await self.join(topics[:room])
        self._announce_moves([topic for topic in rest if topic in self.announced])

    def _too_many(self, count: int) -> CloseConnection:
        """Log that apps name too many topics, and return why the connection ends."""
        limit = settings.SUBSCRIPTIONS
        logger.error(
            "User %s has %d topics, and a connection listens to %d. Raise DJWSBRIDGE_SUBSCRIPTIONS, or name fewer "
            "topics in register_topics or UserConsumer.topics.",
            self._connection.user_key,
            count,
            limit,
        )
        error = CommandError(ErrorCode.TOO_MANY, limit=limit)
        return CloseConnection(CloseCode.FORBIDDEN, error)

    def _announce_moves(self, topics: Collection[str]) -> None:
        """Let topics be announced to this connection, and appear on them."""
        reconciler = self._connection.runtime.reconciler
        if not topics or reconciler is None:
            return
        self.announced.update(topics)
        reconciler.announcements.add(topics, self._connection)
        for topic in topics:
            self._appear(topic)

    def _end_announcing(self, topics: Collection[str]) -> None:
        reconciler = self._connection.runtime.reconciler
        if topics and reconciler is not None:
            self.announced.difference_update(topics)
            reconciler.announcements.remove(topics, self._connection)

    async def _find(self, query: Awaitable[Iterable[str]]) -> list[str]:
        """Return the topics that a query finds, without those to which access was lost since it was asked."""
        self._lost = lost = set[str]()
        try:
            return [topic for topic in await query if topic not in lost]
        finally:
            self._lost = None

    async def join(self, topics: list[str]) -> None:
        """Subscribe to topics and appear on them.

        Raises:
            CloseConnection: the engine cannot be reached.
        """
        self.names.update(topics)
        try:
            await self._connection.runtime.subscribe_all(topics, self._connection)
        except EngineUnavailable:
            raise try_later(ErrorCode.BUSY) from None
        for topic in topics:
            await self._settle(topic)

    async def subscribe(self, topic: str, *, is_allowed: Callable[[], bool] | None) -> None:
        """Listen to a topic and appear on it; see `Connection.subscribe`.

        A topic that was announced is the user's own: the limit does not apply to it.
        """
        if is_allowed is None:
            self._asked -= {topic}
            if self._lost is not None:
                self._lost.discard(topic)
        if topic in self.names:
            return
        if topic not in self.announced and self._is_full:
            raise CommandError(ErrorCode.TOO_MANY, limit=settings.SUBSCRIPTIONS)
        self.names.add(topic)
        try:
            await self._reach(topic, is_allowed)
        except Exception:
            self.names.discard(topic)
            raise
        if topic in self.announced:
            self._end_announcing([topic])
            self._promoted.add(topic)
        await self._settle(topic)

    @property
    def _is_full(self) -> bool:
        return len(self.names) >= settings.SUBSCRIPTIONS

    async def unsubscribe(self, topic: str, *, is_lost: bool = True) -> None:
        """Stop listening to a topic and disappear from it.

        Args:
            topic: which.
            is_lost: whether the user may not know any more what happens there. If not, a topic that was announced
                before the client subscribed to it is announced again.
        """
        if topic in self._promoted and not is_lost:
            self._promoted.discard(topic)
            self.names.discard(topic)
            self._announce_moves([topic])
            await self._connection.runtime.unsubscribe(topic, self._connection)
            return
        self._promoted.discard(topic)
        if self._lost is not None:
            self._lost.add(topic)
        if topic in self.announced:
            self._end_announcing([topic])
            self._disappear([topic], after=0.0)
        if topic in self.names:
            self.names.discard(topic)
            self._disappear([topic], after=0.0)
            await self._connection.runtime.unsubscribe(topic, self._connection)

    async def let_in(self, topic: str) -> None:
        """Listen to a topic that the user was let in to. If the topic has a rule, what the rule says now decides."""
        if registry.find_topic_rule(topic) is None:
            await self._listen_or_announce(topic, is_allowed=None)
        else:
            await self.look_up_access(topic)

    async def look_up_access(self, topic: str) -> None:
        """Listen to a topic if its rule allows that, else stop. A topic without a rule stays as it is."""
        connection, rule = self._connection, registry.find_topic_rule(topic)
        if rule is None:
            return
        is_allowed = partial(rule, connection.user, topic)
        try:
            if topic not in self.names and topic not in self.announced:
                await self._listen_or_announce(topic, is_allowed=is_allowed)
            elif not await self._may_listen(topic, is_allowed):
                await self.unsubscribe(topic)
        except CommandError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def _listen_or_announce(
        self, topic: str, *, is_allowed: Callable[[], bool] | None
    ) -> None:
        """Listen to a topic, or let it be announced if there is no room for it."""
        if not (self._is_full and registry.may_be_announced(topic)):
            await self.subscribe(topic, is_allowed=is_allowed)
            return
        self.announced.add(topic)  # access that is lost while the rule is asked takes it off
        may_know = False
        try:
            may_know = is_allowed is None or await self._may_listen(topic, is_allowed)
        finally:  # the rule may fail with the database
            if not may_know:
                self.announced.discard(topic)
        if topic in self.announced:
            self._announce_moves([topic])

    def miss(self, seqs: Mapping[str, int]) -> None:
        """Note the newest seqs by topic of what was withheld from a slow reader."""
        if self._missed is None:
            self._missed = {}
        self._missed.update(seqs)

    def take_missed(self) -> Iterator[tuple[str, object]]:
        """Yield the pushes (type, data) that tell of what was withheld, and begin anew."""
        missed, self._missed = self._missed or {}, None
        if tips := {topic: seq for topic, seq in missed.items() if topic in self.names}:
            yield "tips", tips
        moved = [(topic, seq) for topic, seq in missed.items() if topic in self.announced]
        for start in range(0, len(moved), TOLD_AT_ONCE):
            yield "topics.moved", {"topics": dict(moved[start : start + TOLD_AT_ONCE])}

    async def give_up(self, *, close_code: int) -> None:
        """Stop listening to everything.

        Args:
            close_code: with which the connection has ended. It tells whether the client comes back.
        """
        linger = LINGER_AFTER_CLOSE if close_code in _FINAL_CODES else LINGER_AFTER_LOSS
        topics, self.names = self.names, set()
        connection = self._connection
        for topic in topics:  # at once: what happens from here on is not for this connection
            connection.runtime.hub.remove(topic, connection)
        self._end_announcing(list(self.announced))
        self._disappear(list(self._leases), after=linger)
        for topic in topics:
            await connection.runtime.unsubscribe(topic, connection)

    async def _reach(self, topic: str, is_allowed: Callable[[], bool] | None) -> None:
        if is_allowed is not None and not await self._may_listen(topic, is_allowed):
            raise CommandError(ErrorCode.NOT_FOUND)
        try:
            await self._connection.runtime.subscribe(topic, self._connection)
        except EngineUnavailable:
            raise CommandError(ErrorCode.BUSY) from None

    async def _may_listen(self, topic: str, is_allowed: Callable[[], bool]) -> bool:
        """Ask a rule; the answer does not count when the user was let in since it was asked."""
        self._asked |= {topic}
        try:
            return await run_service(is_allowed) or topic not in self._asked
        finally:
            self._asked -= {topic}

    async def _settle(self, topic: str) -> None:
        """Appear on a topic just subscribed to, or leave it if access or the connection was lost meanwhile."""
        if topic in self.names:
            self._appear(topic)
        else:
            await self._connection.runtime.unsubscribe(topic, self._connection)

    def _appear(self, topic: str) -> None:
        runtime, person = self._connection.runtime, self._connection.person
        if person is not None and topic not in self._leases:
            self._leases.add(topic)
            self._announce(topic, runtime.presence.acquire(topic, person))

    def rename(self, person: Person) -> None:
        """Let the actor appear by another name wherever they appear."""
        for topic in self._leases:
            self._announce(topic, self._connection.runtime.presence.rename(topic, person))

    def _announce(self, topic: str, changes: list[Change]) -> None:
        """Tell of changes, except on the user's own topic: only their own devices hear of it, and they know."""
        if topic != self._connection.user_topic:
            self._connection.runtime.announce(changes)

    def _disappear(self, topics: Iterable[str], *, after: float) -> None:
        """Give back the leases on topics, now or when the person has had time to come back."""
        runtime, person = self._connection.runtime, self._connection.person
        leases = self._leases.intersection(topics)
        self._leases -= leases
        if person is None or not leases:
            return

        def release() -> None:
            for topic in leases:
                runtime.announce(runtime.presence.release(topic, person))

        if after:
            runtime.loop.call_later(after, release)
        else:
            release()
