"""One WebSocket, from accept to close: carries frames between the ASGI server and the protocol.

Rules are elsewhere: what may come when in `protocol.server`, what a command does in its handler, who may connect in
`transport.auth`. This module reads, writes, and keeps time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from django.contrib.auth.models import AbstractBaseUser

from djwsbridge import runtime as runtimes
from djwsbridge.conf import settings
from djwsbridge.presence import Person
from djwsbridge.protocol.codec import decode_push, encode_push
from djwsbridge.protocol.codes import CLOSE_POLICIES, CloseCode, ErrorCode, Reaction
from djwsbridge.protocol.errors import CloseConnection, CommandError, EngineUnavailable
from djwsbridge.protocol.frames import Command, PlainMessage
from djwsbridge.protocol.server import Dialect, ServerProtocol, State
from djwsbridge.threads import run_service
from djwsbridge.transport import registry
from djwsbridge.transport.admission import address_of, admission_of, count_send
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.credential import CredentialWatch
from djwsbridge.transport.failures import (
    CLOSE_TIMEOUT,
    DATABASE_DOWN,
    cut,
    failure_of,
    send_close,
    try_later,
)
from djwsbridge.transport.node import node_of
from djwsbridge.transport.send_queue import SendQueue
from djwsbridge.transport.topics import Topics

__all__ = ["Connection", "Consumer"]

logger = logging.getLogger("djwsbridge.connection")

# Seconds for which a lease of presence outlives its connection: a page that is loaded again does not flicker, and
# neither does a lost network that comes back.
LINGER_AFTER_CLOSE = 2.0
LINGER_AFTER_LOSS = 15.0
# Send queues full that may be on their way to a client that has sent nothing since; where the server does not wait.
UNCONFIRMED = 2
LEAVE_TIME = 1.0  # seconds in which a client that was told to go may do so by itself
COME_BACK = (0.5, 2.0)  # seconds after which one that comes to a node about to end tries again
# Codes after which nobody comes back by itself.
_FINAL_CODES = frozenset(
    {CloseCode.NORMAL, CloseCode.GOING_AWAY}
    | {code for code, policy in CLOSE_POLICIES.items() if policy.reaction is Reaction.STOP}
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Consumer(Protocol):
    """What a connection needs of the class that a developer may derive from (`djwsbridge.consumers`)."""

    def topics(self) -> Iterable[str]:
        """Return the topics to listen to besides the user's own. Sync; may talk to the database."""

    async def connected(self) -> None:
        """Called when the user is known and everything is subscribed."""

    async def disconnected(self, close_code: int) -> None:
        """Called when it is over, if `connected` was."""

    async def receive(self, message: PlainMessage) -> object:
        """Carry out a frame of the plain dialect, or `user.send`."""


class Connection:
    """One WebSocket.

    Args:
        scope: of the ASGI application.
        receive: likewise.
        send: likewise.
        dialect: how its frames look.
    """

    # No __dict__: there may be tens of thousands of these.
    __slots__ = (
        "__weakref__",
        "_close_code",
        "_closing",
        "_connected",
        "_credential",
        "_executing",
        "_missed",
        "_moving",
        "_receive",
        "_send",
        "_task",
        "_topics",
        "address",
        "connection_id",
        "consumer",
        "dialect",
        "handshake_identity",
        "person",
        "protocol",
        "queue",
        "runtime",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, dialect: Dialect) -> None:
        self.runtime = runtimes.current()
        self.connection_id = uuid.uuid4().hex
        self.scope = scope
        self.address = address_of(scope)
        self.dialect = dialect
        self.protocol = ServerProtocol(dialect, settings.limits(), now=self.runtime.loop.time())
        self.queue = SendQueue(
            send,
            limit=settings.SEND_QUEUE_BYTES,
            on_drained=self._tell_missed,
            on_failed=self._on_send_failed,
            unconfirmed=None if _waits(scope) else UNCONFIRMED * settings.SEND_QUEUE_BYTES,
        )
        # Topic → newest seq of the pushes that were withheld from a slow reader.
        self._missed: dict[str, int] = {}
        # The object of the developer's class; set by the endpoint before `run`.
        self.consumer: Consumer
        # Whom the handshake has named; None when it carried no credential.
        self.handshake_identity: Identity | None = None
        # None until the actor is known.
        self.person: Person | None = None
        self._credential = CredentialWatch()
        # Whether the consumer was told that the user is there.
        self._connected = False
        self._receive = receive
        self._send = send
        self._topics = Topics(self)
        # Set once this side has begun to close.
        self._closing: asyncio.Task[None] | None = None
        self._close_code = int(CloseCode.GOING_AWAY)
        # Whether a command is being carried out, and whether the connection is closed after it.
        self._executing = False
        self._moving = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def user(self) -> AbstractBaseUser:
        """Return the actor of everything that this connection asks for."""
        if self.identity is None:
            raise refusal(ErrorCode.AUTH_REQUIRED)
        return self.identity.user

    @property
    def user_id(self) -> Any:
        """Return the actor's primary key."""
        return self.user.pk

    # -- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the accepted connection until it ends."""
        self._task = asyncio.current_task()
        self.runtime.members.add(self)
        try:
            await self._begin()
            await self._read()
        except asyncio.CancelledError:
            if self._closing is None or not self._closing.done():
                raise  # the server stops; otherwise it was our own last resort, see `_finish`
        finally:
            self.runtime.members.discard(self)
            self.queue.drop()
            await self._leave()

    async def _begin(self) -> None:
        """Start the node if this is its first connection, and let in one that needs no `connect`."""
        try:
            node = node_of(self.runtime)
            await node.start()
            if node.draining:
                self.move_away(after=0.0, come_back=random.uniform(*COME_BACK))  # noqa: S311
            elif self.dialect.name is None:
                await self._open_plain()
        except CloseConnection as reason:
            self.close(reason)
        except EngineUnavailable:
            self.close(try_later(ErrorCode.BUSY))
        except DATABASE_DOWN as error:
            self.close(try_later(failure_of(error).code))
        except Exception as error:  # noqa: BLE001  the developer's class failed; failure_of logs it
            self.close(CloseConnection(CloseCode.INTERNAL, failure_of(error)))

    async def _open_plain(self) -> None:
        if self.handshake_identity is None:
            raise refusal(ErrorCode.AUTH_REQUIRED)
        await self.open(self.handshake_identity)

    async def open(self, identity: Identity) -> None:
        """Let the actor in: count, subscribe, show.

        Raises:
            CloseConnection: too many connections, the engine cannot be reached, or the consumer refuses.
        """
        admission = admission_of(self.runtime)
        if not admission.admit_user(str(identity.user.pk)):
            error = CommandError(ErrorCode.TOO_MANY, "You have too many connections open.")
            raise CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, error)
        self._credential.accept(identity, now=self.runtime.loop.time())
        try:
            self.person = Person(_wire_id(self.user_id), identity.user.get_username())
            await self._subscribe_first()
        except Exception:
            # As if nothing had been asked: the client may try again on this connection.
            await self._give_up_topics()
            admission.leave_user(str(self.user_id))
            self._credential.forget()
            self.person = None
            raise
        if self._closing is not None:
            return  # it took too long
        self.protocol.move(State.OPEN)
        self._connected = True
        try:
            await self.consumer.connected()
        except CommandError as error:
            raise CloseConnection(CloseCode.FORBIDDEN, error) from error
        except CloseConnection:
            raise
        except Exception as error:
            raise CloseConnection(CloseCode.INTERNAL, failure_of(error)) from error

    async def _subscribe_first(self) -> None:
        """Subscribe to the user's own topic and then, reachable for what changes there, to all others."""
        await self._topics.join([runtimes.user_topic(self.user_id)])
        topics = await run_service(self._list_topics)
        await self._topics.join(topics[: settings.SUBSCRIPTIONS - 1])

    def close(self, reason: CloseConnection) -> None:
        """Say why, write what waits, and end the connection; the first call decides."""
        if self._closing is None:
            self._closing = self.runtime.loop.create_task(self._finish(reason))
            self._close_code = int(reason.close_code)
            self.protocol.move(State.CLOSED)
            if reason.close_code is not CloseCode.RESTART:  # `reconnect` has said it
                self.queue.put(self.dialect.encode_farewell(reason.error))

    async def _finish(self, reason: CloseConnection) -> None:
        await self.queue.finish(CLOSE_TIMEOUT)
        if not await send_close(self.scope, self._send, reason):
            cut(self._send)
        # The server now tells `_read` that the peer is gone; should it forget to, this does.
        if self._task is not None:
            self.runtime.loop.call_later(CLOSE_TIMEOUT, self._task.cancel)

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
        if self._executing:
            self._moving = True
        else:
            self.close(CloseConnection(CloseCode.RESTART, CommandError(ErrorCode.BUSY)))

    async def _leave(self) -> None:
        if self.identity is None:
            return
        admission_of(self.runtime).leave_user(str(self.user_id))
        await self._give_up_topics()
        if self._connected:
            try:
                await self.consumer.disconnected(self._close_code)
            except Exception:
                logger.exception("A consumer failed to say goodbye.")

    async def _give_up_topics(self) -> None:
        linger = LINGER_AFTER_CLOSE if self._close_code in _FINAL_CODES else LINGER_AFTER_LOSS
        await self._topics.give_up(linger=linger)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                if self._closing is None:
                    self._close_code = event.get("code") or int(CloseCode.GOING_AWAY)
                return
            self.queue.confirm()
            await self.queue.wait_for_room()
            if self._closing is None:
                self._executing = True
                await self._on_frame(event)
                self._executing = False
                if self._moving:
                    self._restart()

    async def _on_frame(self, event: MutableMapping[str, Any]) -> None:
        now = self.runtime.loop.time()
        try:
            text = event.get("text")
            if text is None:
                raise self.protocol.receive_bytes(now=now)
            await self._execute(self.protocol.receive_text(text, now=now), now)
        except CommandError as error:
            self.queue.put(self.dialect.encode_error(error))
        except CloseConnection as reason:
            self.close(reason)

    async def _execute(self, command: Command | PlainMessage, now: float) -> None:
        """Carry out one command and queue its reply. One after the other: a sender's order is kept."""
        try:
            if isinstance(command, PlainMessage):
                await self._count_send(now)
                await self.consumer.receive(command)
                return
            if registry.counts_as_send(command):
                await self._count_send(now)
            ok = await registry.handler_of(command)(self, command)
        except CommandError as error:
            if isinstance(command, Command):
                error.command_id = command.id
            raise
        except CloseConnection:
            raise
        except Exception as error:
            failure = failure_of(error)
            failure.command_id = getattr(command, "id", None)
            raise failure from error
        reply = self.dialect.encode_reply(command, ok)
        if reply is not None:
            self.queue.put(reply)

    async def _count_send(self, now: float) -> None:
        """Count one message of the actor.

        Raises:
            CommandError: `rate_limited`.
            CloseConnection: 4429, for one who does not listen.
        """
        wait = await count_send(self.runtime, str(self.user_id), now=now)
        if wait:
            raise self.protocol.breach(wait, now=now)

    # -- writing ---------------------------------------------------------------------------------------------------

    def push(self, text: str) -> None:
        """Queue a frame that the hub delivers, or withhold it from a reader that is slow."""
        if not self.queue.offer(text):
            self._miss(text)

    def _on_send_failed(self, error: Exception) -> None:
        """End a connection that cannot be written to; a peer that is gone has nothing of it, any other comes back."""
        logger.info("The server did not send a frame: %r", error)
        self.close(CloseConnection(CloseCode.INTERNAL, CommandError(ErrorCode.INTERNAL)))

    def tell(self, type: str, data: object) -> None:
        """Push something to this connection alone."""
        written = self.dialect.encode_push(encode_push(type, data=data))
        if written is not None:
            self.queue.put(written)

    def _miss(self, text: str) -> None:
        """Note what is withheld; only a client of the v1 dialect can recover it, the others have to begin anew."""
        if self.dialect.name is None:
            self._close_slow()
            return
        push = decode_push(text)
        if push.topic is not None and push.seq is not None:
            self._missed[push.topic] = push.seq

    def _tell_missed(self) -> None:
        """Tell a reader that is not slow any more how far it is behind."""
        tips = {topic: seq for topic, seq in self._missed.items() if topic in self._topics.names}
        self._missed.clear()
        if tips:
            self.tell("tips", tips)

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

    async def subscribe(self, topic: str, *, is_allowed: Callable[[], bool] | None = None) -> None:
        """Listen to a topic and appear on it.

        Args:
            topic: twice is once.
            is_allowed: sync, asked when the loss of access would already be noticed; None when it was asked before.

        Raises:
            CommandError: `not_found`, `too_many`, or `busy` when the engine cannot be reached.
        """
        if self._closing is None:
            await self._topics.subscribe(topic, is_allowed=is_allowed)

    async def unsubscribe(self, topic: str) -> None:
        """Stop listening to a topic and disappear from it."""
        await self._topics.unsubscribe(topic)

    def _list_topics(self) -> list[str]:
        return list(self.consumer.topics())

    # -- time ------------------------------------------------------------------------------------------------------

    def check(self, *, now: float) -> None:
        """Look at the deadlines; called once a second."""
        if self.queue.stalled(now=now) >= settings.SLOW_TIMEOUT:
            self._close_slow()
            return
        reason = self.protocol.check(now=now) or self._credential.check(now=now)
        if reason is not None:
            self.close(reason)
            return
        left = self._credential.take_warning(now=now)
        if left is not None:
            self.tell("auth.expiring", {"expires_in_ms": int(left * 1000)})
        if self._credential.take_look(now=now):
            self.runtime.loop.create_task(self.revalidate(ended_session=None))

    async def revalidate(self, *, ended_session: str | None) -> None:
        """Look at the credential again and close if it is not good any more.

        Args:
            ended_session: digest of a session that has just ended; None to look at everything.
        """
        reason = await self._credential.revalidate(ended_session=ended_session)
        if reason is not None:
            self.close(reason)

    @property
    def identity(self) -> Identity | None:
        """Return who the actor is and how that is known; None until then."""
        return self._credential.identity

    def replace_identity(self, identity: Identity) -> None:
        """Go on with a newer credential of the same user.

        Raises:
            CloseConnection: 4403, it is somebody else's.
        """
        if identity.user.pk != self.user_id:
            raise refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
        self._credential.accept(identity, now=self.runtime.loop.time())


def _waits(scope: Scope) -> bool:
    """Say whether the server's `send` waits for a slow reader: Daphne's does not, and it names no version of ASGI."""
    return "spec_version" in scope.get("asgi", {})


def _wire_id(primary_key: object) -> int | str:
    return primary_key if isinstance(primary_key, int) else str(primary_key)
