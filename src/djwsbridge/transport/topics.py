"""What one connection listens to, and where it shows that its actor is here."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError, EngineUnavailable
from djwsbridge.threads import run_service
from djwsbridge.transport import registry
from djwsbridge.transport.failures import try_later

if TYPE_CHECKING:
    from djwsbridge.presence import Change, Person
    from djwsbridge.transport.connection import Connection

__all__ = ["Topics"]


class Topics:
    """The subscriptions of one connection, and its leases of presence.

    Args:
        connection: whose; its `person` is known before anything is subscribed to.
    """

    __slots__ = ("_asked", "_leases", "_lost", "_weak", "names")

    def __init__(self, connection: Connection) -> None:
        # Weak, or the two would keep each other.
        self._weak = weakref.ref(connection)
        # What it is subscribed to, or about to be: whoever loses access meanwhile is taken off this set.
        self.names: set[str] = set()
        # Of these, those whose rule is being asked: whoever is let in meanwhile is not put out by an older "no".
        self._asked: frozenset[str] = frozenset()
        # Topics to which access was lost since it was asked what to listen to; None while nobody asks.
        self._lost: set[str] | None = None
        # The topics on which it holds a lease of presence.
        self._leases: set[str] = set()

    @property
    def _connection(self) -> Connection:
        connection = self._weak()
        if connection is None:
            raise RuntimeError("The connection is gone.")
        return connection

    async def find(self, query: Awaitable[Iterable[str]]) -> list[str]:
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
        """Listen to a topic and appear on it; see `Connection.subscribe`."""
        if is_allowed is None:
            self._asked -= {topic}
            if self._lost is not None:
                self._lost.discard(topic)
        if topic in self.names:
            return
        if len(self.names) >= settings.SUBSCRIPTIONS:
            raise CommandError(ErrorCode.TOO_MANY, limit=settings.SUBSCRIPTIONS)
        self.names.add(topic)
        try:
            await self._reach(topic, is_allowed)
        except Exception:
            self.names.discard(topic)
            raise
        await self._settle(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Stop listening to a topic and disappear from it."""
        if self._lost is not None:
            self._lost.add(topic)
        if topic in self.names:
            self.names.discard(topic)
            self._disappear(topic, after=0.0)
            await self._connection.runtime.unsubscribe(topic, self._connection)

    async def let_in(self, topic: str) -> None:
        """Listen to a topic that the user was let in to. If the topic has a rule, what the rule says now decides."""
        if registry.find_topic_rule(topic) is None:
            await self.subscribe(topic, is_allowed=None)
        else:
            await self.look_up_access(topic)

    async def look_up_access(self, topic: str) -> None:
        """Listen to a topic if its rule allows that, else stop. A topic without a rule stays as it is."""
        connection, rule = self._connection, registry.find_topic_rule(topic)
        if rule is None:
            return
        is_allowed = partial(rule, connection.user, topic)
        try:
            if topic not in self.names:
                await self.subscribe(topic, is_allowed=is_allowed)
            elif not await self._may_listen(topic, is_allowed):
                await self.unsubscribe(topic)
        except CommandError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def give_up(self, *, linger: float) -> None:
        """Stop listening to everything.

        Args:
            linger: seconds for which the actor still seems to be here.
        """
        topics, self.names = self.names, set()
        connection = self._connection
        for topic in topics:  # at once: what happens from here on is not for this connection
            connection.runtime.hub.remove(topic, connection)
        for topic in topics:
            self._disappear(topic, after=linger)
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

    def _disappear(self, topic: str, *, after: float) -> None:
        """Give back the lease on a topic, now or when the person has had time to come back."""
        runtime, person = self._connection.runtime, self._connection.person
        if person is None or topic not in self._leases:
            return
        self._leases.discard(topic)

        def release() -> None:
            runtime.announce(runtime.presence.release(topic, person))

        if after:
            runtime.loop.call_later(after, release)
        else:
            release()
