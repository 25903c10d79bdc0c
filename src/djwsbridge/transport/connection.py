"""One WebSocket, from accept to close: carries frames between the server and the protocol.

Rules are elsewhere: what may come when in `protocol.server`, what a command does in its handler, who may connect in
`transport.auth`. How a server serves it is in `transport.serving`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping

from django.contrib.auth.models import AbstractBaseUser

from djwsbridge import runtime as runtimes
from djwsbridge.conf import settings
from djwsbridge.presence import Person
from djwsbridge.protocol.codec import encode_push, read_push
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.pages import PageSize
from djwsbridge.protocol.server import Dialect, ServerProtocol, State
from djwsbridge.protocol.wire import Wire
from djwsbridge.threads import drop_broken_connections
from djwsbridge.transport import registry
from djwsbridge.transport.admission import address_of, admission_of
from djwsbridge.transport.asgi import Scope
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.consumer import Consumer
from djwsbridge.transport.credential import CredentialWatch
from djwsbridge.transport.failures import (
    CLOSE_TIMEOUT,
    failure_of,
    reason_to_close,
    too_many_connections,
)
from djwsbridge.transport.inbox import Inbox
from djwsbridge.transport.node import node_of
from djwsbridge.transport.proofs import NUMBER_BYTES
from djwsbridge.transport.send_queue import SendQueue
from djwsbridge.transport.topics import Topics
from djwsbridge.transport.wire_queue import WireQueue

__all__ = ["Connection"]

logger = logging.getLogger("djwsbridge.connection")

LEAVE_TIME = 1.0  # seconds in which a client that was told to go may do so by itself
COME_BACK = (0.5, 2.0)  # seconds after which one that comes to a node about to end tries again
SLOW_LOOK = 1.0  # seconds between two looks at a slow reader
REST = 60.0  # seconds between two looks at a connection of which nothing is expected


class Connection:
    """One WebSocket.

    Args:
        scope: of the ASGI application.
        dialect: how its frames look.
    """

    # No __dict__: there may be tens of thousands of these.
    __slots__ = (
        "__weakref__",
        "_close_code",
        "_closing",
        "_connected",
        "_credential",
        "_end",
        "_topics",
        "_wire",
        "address",
        "admission",
        "connection_id",
        "consumer",
        "dialect",
        "handshake_identity",
        "inbox",
        "pages",
        "person",
        "protocol",
        "queue",
        "runtime",
        "scope",
        "user_key",
        "user_topic",
    )

    def __init__(self, scope: Scope, *, dialect: Dialect) -> None:
        self.runtime = runtimes.current()
        self.admission = admission_of(self.runtime)
        self.connection_id = secrets.token_hex(16)
        self.scope = scope
        self.address = address_of(scope)
        self.dialect = dialect
        self.protocol = ServerProtocol(dialect, settings.limits, now=self.runtime.loop.time())
        # What comes in, and what goes out and how it ends; for these see `enter`.
        self.inbox = Inbox(self, on_changed=self._update_reading)
        self.queue: SendQueue | WireQueue
        self._end: Callable[[CloseConnection], Awaitable[None]]
        self._wire: Wire | None = None
        # The size of the pages that this connection recovers; None before the first.
        self.pages: PageSize | None = None
        # The object of the developer's class; set by the endpoint before anything else.
        self.consumer: Consumer
        # Whom the handshake has named; None when it carried no credential.
        self.handshake_identity: Identity | None = None
        # None until the actor is known; empty until then, the key in text and the topic of all the actor's devices.
        self.person: Person | None = None
        self.user_key = ""
        self.user_topic = ""
        self._credential = CredentialWatch()
        # Whether the consumer was told that the user is there.
        self._connected = False
        self._topics = Topics(self)
        # Set once this side has begun to close.
        self._closing: asyncio.Task[None] | None = None
        self._close_code = int(CloseCode.GOING_AWAY)

    @property
    def user(self) -> AbstractBaseUser:
        """Return the actor of everything that this connection asks for."""
        if self.identity is None:
            raise refusal(ErrorCode.AUTH_REQUIRED)
        return self.identity.user

    # -- life ------------------------------------------------------------------------------------------------------

    def enter(
        self,
        queue: SendQueue | WireQueue,
        end: Callable[[CloseConnection], Awaitable[None]],
        wire: Wire | None = None,
    ) -> None:
        """Take part in the life of the node.

        Args:
            queue: takes what goes out.
            end: closes the connection when everything is written.
            wire: reads from the peer, where it is not read by `receive`.
        """
        self.queue, self._end, self._wire = queue, end, wire
        self.runtime.members.add(self)
        self.runtime.deadlines.plan(self, within=self.protocol.limits.connect_timeout)

    async def begin(self) -> None:
        """Start the node if this is its first connection, and let in one that needs no `connect`."""
        try:
            node = node_of(self.runtime)
            await node.start()
            if node.draining:
                self.move_away(after=0.0, come_back=random.uniform(*COME_BACK))  # noqa: S311
            elif self.dialect.name is None:
                await self.open(self.handshake_identity)
        except Exception as error:  # noqa: BLE001  also of the developer's class; what is unexpected is logged
            self.close(reason_to_close(error))
        self.inbox.go_on()

    async def open(self, identity: Identity | None, *, shown: Collection[str] = ()) -> None:
        """Let the actor in: count, subscribe, show.

        Args:
            identity: the actor; None when there was no credential.
            shown: topics that the client has shown lately.

        Raises:
            CloseConnection: no actor, too many connections or topics, no engine, or the consumer refuses.
        """
        if identity is None:
            raise refusal(ErrorCode.AUTH_REQUIRED)
        self.user_key = str(identity.user.pk)
        self.user_topic = runtimes.user_topic(self.user_key)
        if not await self.admission.admit_user(self.user_key, self):
            raise too_many_connections()
        self._accept(identity)
        try:
            self.person = self._credential.person
            await self._subscribe_first(shown)
        except Exception:
            # As if nothing had been asked: the client may try again on this connection.
            await self._topics.give_up(close_code=self._close_code)
            self.admission.leave_user(self.user_key, self)
            self._credential.forget()
            self.person = None
            raise
        if self.protocol.state is State.CLOSED:
            return  # it took too long
        self.protocol.move(State.OPEN)
        self._connected = True
        registry.tell_came(self)
        try:
            await self.consumer.connected()
        except CommandError as error:
            raise CloseConnection(CloseCode.FORBIDDEN, error) from error
        except CloseConnection:
            raise
        except Exception as error:
            raise CloseConnection(CloseCode.INTERNAL, failure_of(error)) from error

    async def _subscribe_first(self, shown: Collection[str]) -> None:
        """Subscribe to the user's own topic and then, reachable for what changes there, to all others."""
        await self._topics.join([self.user_topic])
        await self._credential.confirm(self.runtime, since=self.protocol.opened)
        self._take_name()
        await self._topics.join_named(self.consumer.find_topics(), first=shown)

    @property
    def is_closing(self) -> bool:
        """Say whether this side has begun to close."""
        return self._closing is not None

    @property
    def has_closed(self) -> bool:
        """Say whether this side has closed."""
        return self._closing is not None and self._closing.done()

    def note_end(self, code: int) -> None:
        """Learn with which code the peer has ended the connection; if this side has closed it, its own counts."""
        if self._closing is None:
            self._close_code = code

    def close(self, reason: CloseConnection) -> None:
        """Say why, write what waits, and end the connection; the first call decides."""
        if self._closing is None:
            self._closing = self.runtime.loop.create_task(self._finish(reason))
            self._close_code = int(reason.close_code)
            self.protocol.move(State.CLOSED)
            if reason.close_code is not CloseCode.RESTART:  # `reconnect` has said it
                self.queue.put(self.dialect.encode_farewell(reason.error))
            self.queue.seal()

    async def _finish(self, reason: CloseConnection) -> None:
        await self.queue.finish(CLOSE_TIMEOUT)
        await self._end(reason)

    def move_away(self, *, after: float, come_back: float | None = None) -> None:
        """Send the client to another node, and close when what is being carried out has ended.

        Args:
            after: seconds until then; a client of the v1 dialect knows them, and goes by itself.
            come_back: seconds after which the client may come back; None: when it has gone.
        """
        told = after if come_back is None else come_back
        self.tell("reconnect", {"after_ms": int(told * 1000)})
        if after and self.dialect.name is not None:
            after += LEAVE_TIME
        self.runtime.loop.call_later(after, self._restart)

    def _restart(self) -> None:
        reason = CloseConnection(CloseCode.RESTART, CommandError(ErrorCode.BUSY))
        self.inbox.call_when_idle(lambda: self.close(reason))

    async def leave(self) -> None:
        """End what the connection has here."""
        self.protocol.move(State.CLOSED)
        self.runtime.members.discard(self)
        self.runtime.deadlines.forget(self)
        self.admission.leave_address(self.address, self)
        self.admission.leave_user(self.user_key, self)
        if self.identity is not None:
            await self._topics.give_up(close_code=self._close_code)
        if self._connected:
            registry.tell_left(self)
            try:
                await self.consumer.disconnected(self._close_code)
            except Exception:
                logger.exception("A consumer failed to say goodbye.")
                drop_broken_connections()
        # Nothing is left for the garbage collector, whose full runs stop a process with very many connections.
        self.queue.let_go()
        self.inbox.let_go()
        del self.consumer

    # -- reading ---------------------------------------------------------------------------------------------------

    def on_text(self, text: str) -> None:
        """Take a text message; this and what follows is `protocol.wire.Receiver`."""
        self.inbox.take(text)

    def on_binary(self) -> None:
        """Take a binary message."""
        self.inbox.take(None)

    def on_too_big(self) -> None:
        """End a connection that sends more than is read."""
        self.close(CloseConnection(CloseCode.TOO_BIG, CommandError(ErrorCode.TOO_LARGE)))

    def on_full(self) -> None:
        """Learn that the reader is slow."""
        self.queue.fill()

    def on_drained(self) -> None:
        """Learn that the reader has caught up."""
        self.queue.drain()

    def on_pong(self) -> None:
        """Learn that the client has answered `ask_for_life`."""
        self.protocol.last_seen = self.runtime.loop.time()

    def on_lost(self, code: int) -> None:
        """Leave when everything is carried out that came before the end: a page that is closed has said it."""
        self.note_end(code)
        self.queue.drop()
        self.inbox.call_when_empty(lambda: self.runtime.loop.create_task(self.leave()))

    def _update_reading(self) -> None:
        """Read while a command and its answer find room."""
        if self._wire is not None:
            if self.inbox.is_full or self.queue.is_slow:
                self._wire.pause_reading()
            else:
                self._wire.resume_reading()

    # -- writing ---------------------------------------------------------------------------------------------------

    @property
    def write(self) -> Callable[[bytes], None] | None:
        """Return what takes ready frames from the hub; None when pushes are to be offered one by one."""
        return self.queue.write

    def push(self, text: str) -> None:
        """Queue a frame that the hub delivers, or withhold it from a reader that is slow."""
        if not self.queue.offer(text):
            self._miss(text)

    def on_send_failed(self, error: Exception) -> None:
        """End a connection that cannot be written to; a peer that is gone has nothing of it, any other comes back."""
        logger.info("The server did not send a frame: %r", error)
        self.close(CloseConnection(CloseCode.INTERNAL, CommandError(ErrorCode.INTERNAL)))

    def ask_for_proof(self, number: str) -> None:
        """Send a number for the client to give back; the plain dialect has no such push."""
        self.tell("proof", {"proof": number})

    def tell(self, type: str, data: object) -> None:
        """Push something to this connection alone."""
        written = self.dialect.encode_push(encode_push(type, data=data))
        if written is not None:
            self.queue.put(written)

    def tell_moved(self, seqs: Mapping[str, int]) -> None:
        """Push the newest seqs of topics that are announced; a slow reader is told when it has caught up."""
        self._topics.miss(seqs)
        if not self.queue.is_slow:
            self._tell_missed()

    def _tell_missed(self) -> None:
        for push, data in self._topics.take_missed():
            self.tell(push, data)

    def _miss(self, text: str) -> None:
        """Note what is withheld; only a client of the v1 dialect can recover it, the others have to begin anew."""
        if self._closing is not None:
            return
        if self.dialect.name is None:
            self._close_slow()
            return
        push = read_push(text)
        if push is not None and push.topic is not None and push.seq is not None:
            self._topics.miss({push.topic: push.seq})

    def on_queue_changed(self) -> None:
        """Let the hub know how to deliver, and tell a reader that is not slow any more how far it is behind."""
        for topic in self._topics.names:
            self.runtime.hub.refresh(topic, self)
        self._update_reading()
        if self.queue.is_slow:
            self.runtime.deadlines.plan(self, within=SLOW_LOOK)
            return
        self._tell_missed()
        self.inbox.go_on_if_idle()

    def _close_slow(self) -> None:
        """End a connection that does not read: it comes back and loads what it missed."""
        self.queue.clear()
        error = CommandError(ErrorCode.BUSY, "This client reads too slowly.")
        self.close(CloseConnection(CloseCode.SLOW_CONSUMER, error))

    # -- topics ----------------------------------------------------------------------------------------------------

    @property
    def topics(self) -> frozenset[str]:
        """Return what this connection is subscribed to."""
        return frozenset(self._topics.names)

    @property
    def announced_topics(self) -> frozenset[str]:
        """Return the topics of which this connection is only told that they have moved."""
        return frozenset(self._topics.announced)

    def knows(self, topic: str) -> bool:
        """Say whether the client may know what happens on a topic: it is subscribed to it, or it is announced."""
        return topic in self._topics.names or topic in self._topics.announced

    async def subscribe(self, topic: str, *, is_allowed: Callable[[], bool] | None = None) -> None:
        """Listen to a topic and appear on it. Idempotent.

        Args:
            topic: which.
            is_allowed: sync, asked when the loss of access would already be noticed; None when it was asked before.

        Raises:
            CommandError: `not_found`, `too_many`, or `busy` when the engine cannot be reached.
        """
        if self.protocol.state is not State.CLOSED:
            await self._topics.subscribe(topic, is_allowed=is_allowed)

    async def unsubscribe(self, topic: str, *, is_lost: bool = True) -> None:
        """Stop listening to a topic and disappear from it; see `Topics.unsubscribe`."""
        await self._topics.unsubscribe(topic, is_lost=is_lost)

    async def let_in(self, topic: str) -> None:
        """Listen to a topic that the user was let in to; see `Topics.let_in`."""
        if self.protocol.state is not State.CLOSED:
            await self._topics.let_in(topic)

    async def look_up_access(self, topic: str) -> None:
        """Listen to a topic if its rule allows that, else stop; see `Topics.look_up_access`."""
        if self.protocol.state is not State.CLOSED:
            await self._topics.look_up_access(topic)

    # -- time ------------------------------------------------------------------------------------------------------

    def check(self, *, now: float) -> float:
        """Look at the deadlines; returns the seconds after which to look again."""
        if self._closing is not None:
            return REST
        if self.queue.has_stalled(now=now, timeout=settings.SLOW_TIMEOUT):
            self._close_slow()
            return REST
        reason = self.protocol.check(now=now) or self._credential.check(now=now)
        if reason is not None:
            self.close(reason)
            return REST
        left = self._credential.take_warning(now=now)
        if left is not None:
            self.tell("auth.expiring", {"expires_in_ms": int(left * 1000)})
        if self._credential.take_look(now=now):
            self.runtime.loop.create_task(self.revalidate(ended_session=None))
        if self.queue.is_slow:
            return SLOW_LOOK
        return min(REST, self.protocol.quiet_for(now=now), self._credential.quiet_for(now=now))

    async def revalidate(self, *, ended_session: str | None) -> None:
        """Close if the credential is not good any more; `ended_session` is the digest of a session that has ended."""
        reason = await self._credential.revalidate(self.runtime, ended_session=ended_session)
        if reason is not None:
            self.close(reason)
        else:
            self._take_name()

    def _take_name(self) -> None:
        """Appear by the name that the actor has now; what they send next carries it as well."""
        person = self._credential.person
        if person is not None and self.person not in (None, person):
            self.person = person
            self._topics.rename(person)

    @property
    def identity(self) -> Identity | None:
        """Return who the actor is and how that is known; None until then."""
        return self._credential.identity

    @property
    def is_busy(self) -> bool:
        """Say whether a frame of the client is carried out or waits; see `Inbox.is_busy`."""
        return self.inbox.is_busy

    def ask_for_life(self) -> bool:
        """Ask the client for a sign of life, by a ping or else by a proof; see `transport.seats.Holder`."""
        if self._wire is not None:
            self._wire.ping()
        elif self.dialect.name is not None and self in self.runtime.members:
            self.ask_for_proof(secrets.token_hex(NUMBER_BYTES))
        else:
            return False
        return True

    def replace_identity(self, identity: Identity) -> None:
        """Go on with a newer credential of the same user.

        Raises:
            CloseConnection: 4403, it is somebody else's.
        """
        if identity.user.pk != self.user.pk:
            raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
        self._accept(identity)
        self._take_name()

    def _accept(self, identity: Identity) -> None:
        now = self.runtime.loop.time()
        self._credential.accept(identity, now=now)
        self.runtime.deadlines.plan(self, within=self._credential.quiet_for(now=now))
