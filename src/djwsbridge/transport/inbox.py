"""What a client sends: carried out one frame after the other, so that a sender's order is kept."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.frames import Command, PlainMessage
from djwsbridge.transport import registry
from djwsbridge.transport.admission import count_everywhere, count_soon, is_over_share
from djwsbridge.transport.failures import failure_of

if TYPE_CHECKING:
    from djwsbridge.transport.connection import Connection

__all__ = ["DONE", "Inbox"]

FRAME_COST = 100  # bytes of memory that a waiting frame takes besides its text

Frame = Command | PlainMessage


class _Done:
    """An awaitable that has nothing to wait for."""

    def __await__(self) -> Any:
        return iter(())


#: What a handler returns that could have been a coroutine and was done at once: no task is made for it.
DONE: Awaitable[None] = _Done()


class Inbox:
    """The frames of one connection on their way to their handlers.

    A handler that returns a value is done; one that returns a coroutine or a future is waited for, and what comes
    meanwhile waits here, as does what comes while the answers to earlier frames fill the send queue. At most what one
    read from the transport brings, because its reading is paused; where the server reads on, `size` is bounded.

    Args:
        connection: whose.
        on_changed: called when something begins to wait here, and when nothing does any more.
    """

    __slots__ = ("_on_changed", "_on_empty", "_on_idle", "_under_way", "_waiting", "_weak", "size")

    def __init__(self, connection: Connection, *, on_changed: Callable[[], None]) -> None:
        # Weak, or the two would keep each other.
        self._weak = weakref.ref(connection)
        self._on_changed = on_changed
        # Texts in order of arrival, None for a binary message; None while nothing waits.
        self._waiting: deque[str | None] | None = None
        # About how many bytes of memory they take.
        self.size = 0
        # Whether something is being carried out; True until `go_on` is called for the first time.
        self._under_way = True
        # What to call when it is not; and when nothing waits any more either.
        self._on_idle: list[Callable[[], object]] = []
        self._on_empty: Callable[[], object] | None = None

    @property
    def _connection(self) -> Connection:
        connection = self._weak()
        if connection is None:
            raise RuntimeError("The connection is gone.")
        return connection

    @property
    def is_full(self) -> bool:
        """Say whether something waits."""
        return self._waiting is not None

    @property
    def is_busy(self) -> bool:
        """Say whether a frame is carried out or waits, so that a living client's next sign of life may not be seen.

        Servers are not read meanwhile. When the client has gone, only `call_when_empty` still waits for the frames.
        """
        return self._on_empty is None and (self._under_way or self._waiting is not None)

    def take(self, text: str | None) -> None:
        """Take a text message (None: a binary one) and carry it out, now or after those before it."""
        if self._waiting is None and not self._under_way and self._connection.queue.has_room:
            self._carry_out(text)
            return
        # A sign of life, whatever it has to wait for.
        self._connection.protocol.last_seen = self._connection.runtime.loop.time()
        self.size += _cost_of(text)
        if self._waiting is None:
            self._waiting = deque((text,))
            self._on_changed()
        else:
            self._waiting.append(text)

    def call_when_idle(self, callback: Callable[[], object]) -> None:
        """Call back, once, when nothing is being carried out: now, or later."""
        if self._under_way:
            self._on_idle.append(callback)
        else:
            callback()

    def call_when_empty(self, callback: Callable[[], object]) -> None:
        """Call back, once, when everything that has come in is carried out: now, or later."""
        if self._under_way or self._waiting is not None:
            self._on_empty = callback
        else:
            callback()

    async def wait_until_idle(self) -> None:
        """Return when nothing is being carried out."""
        if self._under_way:
            idle = asyncio.Event()
            self.call_when_idle(idle.set)
            await idle.wait()

    async def wait_until_empty(self) -> None:
        """Return when everything that has come in is carried out; the send queue has to have room for that."""
        self.go_on_if_idle()
        empty = asyncio.Event()
        self.call_when_empty(empty.set)
        await empty.wait()

    def let_go(self) -> None:
        """Break the circle with the connection, which is over."""
        self._on_changed = _nothing

    def go_on(self) -> None:
        """Carry out what waits; called when what was under way is done."""
        self._under_way = False
        while self._on_idle and not self._under_way:
            self._on_idle.pop(0)()
        while self._waiting is not None and not self._under_way and self._connection.queue.has_room:
            text = self._waiting.popleft()
            self.size -= _cost_of(text)
            if not self._waiting:
                self._waiting = None
                self._on_changed()
            self._carry_out(text)
        if self._on_empty is not None and not self._under_way and self._waiting is None:
            call, self._on_empty = self._on_empty, None
            call()

    def go_on_if_idle(self) -> None:
        """Carry out what waits for room in the send queue."""
        if not self._under_way:
            self.go_on()

    def _carry_out(self, text: str | None) -> None:
        connection = self._connection
        if connection.is_closing:
            return
        now = connection.runtime.loop.time()
        frame: Frame | None = None
        if text is None:
            connection.close(connection.protocol.receive_bytes(now=now))
            return
        try:
            frame = connection.protocol.receive_text(text, now=now)
            result = self._start(frame, now)
            if result is DONE:
                self._answer(frame, None)
            elif isinstance(result, Awaitable):
                self._wait_for(frame, result)
            else:
                self._answer(frame, result)
        except Exception as error:  # noqa: BLE001  told to the client, or logged
            self._fail(frame, error)

    def _start(self, frame: Frame, now: float) -> object:
        """Begin to carry out a frame; returns the result, or what to wait for."""
        connection = self._connection
        if registry.counts_as_send(frame):
            self._count_here(now)
            runtime, user = connection.runtime, connection.user_key
            if runtime.engine.counts:
                if is_over_share(runtime, user, now=now):
                    return self._start_counted(frame, now)
                count_soon(runtime, user)
        return _handle(connection, frame)

    async def _start_counted(self, frame: Frame, now: float) -> object:
        """Count a message over all nodes first: other nodes may have had more than their share as well."""
        connection = self._connection
        wait = await count_everywhere(connection.runtime, connection.user_key, now=now)
        if wait:
            raise connection.protocol.breach(wait, now=now)
        result = _handle(connection, frame)
        return await result if isinstance(result, Awaitable) else result

    def _count_here(self, now: float) -> None:
        """Count one message of the actor on this node.

        Raises:
            CommandError: `rate_limited`.
            CloseConnection: 4429, for one who does not listen.
        """
        connection = self._connection
        wait = connection.admission.sends_of(connection.user_key).add(now)
        if wait:
            raise connection.protocol.breach(wait, now=now)

    def _wait_for(self, frame: Frame, result: Awaitable[object]) -> None:
        self._under_way = True
        future = asyncio.ensure_future(result)

        def settle(future: asyncio.Future[object]) -> None:
            try:
                self._answer(frame, future.result())
            except asyncio.CancelledError:
                self._fail(frame, CommandError(ErrorCode.INTERNAL))
            except BaseException as error:  # noqa: BLE001  the handler's, or of an answer that is not JSON
                self._fail(frame, error)
            finally:
                self.go_on()

        future.add_done_callback(settle)

    def _answer(self, frame: Frame, ok: object) -> None:
        if isinstance(frame, Command):
            reply = self._connection.dialect.encode_reply(frame, {} if ok is None else ok)
            if reply is not None:
                self._connection.queue.put(reply)

    def _fail(self, frame: Frame | None, error: BaseException) -> None:
        """Tell the client what went wrong."""
        connection = self._connection
        if isinstance(error, CloseConnection):
            connection.close(error)
            return
        if not isinstance(error, CommandError):
            error = failure_of(error)
        if isinstance(frame, Command):
            error.command_id = frame.id
        connection.queue.put(connection.dialect.encode_error(error))


def _cost_of(text: str | None) -> int:
    return FRAME_COST + len(text or "")


def _nothing() -> None:
    """Do nothing."""


def _handle(connection: Connection, frame: Frame) -> object:
    if isinstance(frame, PlainMessage):
        return connection.consumer.receive(frame)
    return registry.handler_of(frame)(connection, frame)
