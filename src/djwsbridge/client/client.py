"""The client on asyncio: `ClientProtocol` decides, this carries between it, the socket and the application."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import singledispatchmethod
from pathlib import Path
from types import TracebackType
from typing import Any

from djwsbridge.client.actions import (
    Action,
    Answered,
    CloseSocket,
    MessageFailed,
    MessageSent,
    OpenSocket,
    RenewToken,
    SendText,
    State,
    StateChange,
)
from djwsbridge.client.connection import COMMAND_TIMEOUT
from djwsbridge.client.credential import Credential, HeaderSource, TextSource
from djwsbridge.client.errors import (
    ClientError,
    HandshakeRefusedError,
    ReplyTimeoutError,
    StoppedError,
)
from djwsbridge.client.frames import Message, Person, Push, ReceiptEntry
from djwsbridge.client.link import CredentialFailed, CredentialRefused, Link
from djwsbridge.client.outbox import Draft
from djwsbridge.client.outbox_file import OutboxFile
from djwsbridge.client.protocol import ClientProtocol
from djwsbridge.protocol.codes import CloseCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["Client"]

logger = logging.getLogger(__name__)

RENEWAL_PAUSES = (
    5.0,
    60.0,
)  # seconds until a token is asked for again: the first time, and at most


class Client:
    """A lasting connection to a server of djwsbridge, for bots, services and tests.

    Use it as an async context manager: inside, it is connected and comes back by itself whenever the connection is
    lost, with everything that it missed. `async with` returns when the client is online for the first time.

    Args:
        url: of the endpoint, such as `wss://example.com/ws/bridge/`.
        token: a JWT access token, or a function (sync or async) that gets one; it is called before each attempt.
        ticket: a one-time ticket, likewise. Only a function can bring a second one.
        headers: of the handshake: `Authorization`, or a session `Cookie` with its `Origin`; likewise.
        cursors: what an earlier process had: the value of `cursors` as it was then.
        outbox: a path; messages that are not confirmed survive this process there. In memory when None.
        on_state: called with every `StateChange`.
        queue_limit: pushes that wait for `pushes()` at most. Beyond it, what is not durable is dropped and what is
            durable stays in the server's log until the reader has caught up.
        open_timeout: seconds until `async with` gives up with a `TimeoutError`; None for never.
    """

    def __init__(  # noqa: PLR0913 - all but one by name
        self,
        url: str,
        *,
        token: TextSource | None = None,
        ticket: TextSource | None = None,
        headers: HeaderSource | None = None,
        cursors: Mapping[str, tuple[str, int]] | None = None,
        outbox: str | os.PathLike[str] | None = None,
        on_state: Callable[[StateChange], object] | None = None,
        queue_limit: int = 1_000,
        open_timeout: float | None = 30.0,
    ) -> None:
        self._url = url
        self._credential = Credential(token=token, ticket=ticket, headers=headers)
        self._file = None if outbox is None else OutboxFile(Path(outbox))
        self._on_state = on_state
        self._open_timeout = open_timeout
        self._core = ClientProtocol(
            random=random.random,
            cursors=cursors,
            drafts=self._file.load() if self._file else (),
            queue_limit=queue_limit,
            is_renewable=self._credential.is_renewable,
        )
        self._loop: asyncio.AbstractEventLoop
        # The present socket, opening or open, and its task; None when it was given up.
        self._link: Link | None = None
        self._link_task: asyncio.Task[None] | None = None
        # Everything that `__aexit__` waits for.
        self._tasks: set[asyncio.Task[None]] = set()
        # Calls `_tick` at the core's deadline; None when nothing is due.
        self._timer: asyncio.TimerHandle | None = None
        # By key; and by client_message_id, where a second caller may wait for the same message.
        self._requests: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._sends: dict[str, list[asyncio.Future[Message]]] = {}
        self._keys = itertools.count(1)
        # Notified after every change of state and when a push has come.
        self._changed: asyncio.Event
        # How the last handshake was answered; None when a socket was opened, or there was no answer.
        self._refused: HandshakeRefusedError | None = None
        # Why the client has stopped; None as long as it has not.
        self._stopped: StoppedError | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Client:  # noqa: PYI034 - Self is newer than Python 3.10
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._stopped = None
        self._core.start(now=self._loop.time())
        self._perform()
        try:
            await asyncio.wait_for(self._wait_online(), self._open_timeout)
        except BaseException as error:
            refused = self._refused
            await self.close()
            if isinstance(error, asyncio.TimeoutError):  # not yet TimeoutError on Python 3.10
                text = f"{self._url} could not be reached in time. {refused or ''}"
                raise TimeoutError(text.rstrip()) from refused
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave; whatever still waits fails with `StoppedError`."""
        self._core.stop(now=self._loop.time())
        self._perform()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- what is known ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Return where the client is in its life."""
        return self._core.state

    @property
    def user(self) -> Person | None:
        """Return who this client is; None before it was online for the first time."""
        return self._core.user

    @property
    def connection_id(self) -> str | None:
        """Return how the server calls the last connection; None before it was online for the first time."""
        return self._core.connection_id

    @property
    def announced(self) -> dict[str, int]:
        """Return the newest seq of each topic that the connection does not listen to, because the user has too many.

        A push `topics.moved` says when it has changed. `subscribe` brings the pushes of such a topic.
        """
        return dict(self._core.announced)

    @property
    def cursors(self) -> dict[str, tuple[str, int]]:
        """Return what `pushes()` has handed out of each topic: (epoch, seq).

        Store it, as JSON for instance, after a push has been dealt with, and give it to the client of the next process.
        """
        cursors = self._core.queue.cursors
        return {name: (epoch, seq) for name, (epoch, seq) in cursors.items() if epoch}

    @property
    def outbox(self) -> list[Draft]:
        """Return the messages that are not confirmed, in order of sending."""
        return self._core.outbox.drafts

    @property
    def dropped(self) -> int:
        """Return how many pushes that are not durable came while `pushes()` was not read."""
        return self._core.queue.dropped

    def receipts(self, room: int) -> Mapping[int | str, ReceiptEntry]:
        """Return what the members of a room have, by user, as far as the server told."""
        return self._core.receipts.of(f"room.{room}")

    # -- what it does ----------------------------------------------------------------------------------------------

    async def send_message(
        self, room: int, body: str, client_message_id: uuid.UUID | str | None = None
    ) -> Message:
        """Send a message and return it as it is stored.

        It is tried again, with the same id, over lost connections and whatever else may pass, for as long as the caller
        waits; bound it with `asyncio.wait_for`. Messages of one room are stored in the order of the calls. When the
        caller gives up, nobody knows whether it was stored: to find out, send it again with the same id. With an outbox
        on disk it is then still tried, and after `StoppedError` by the next client with that outbox; without one it is
        not.

        Args:
            room: the id of a room.
            body: the text.
            client_message_id: made here when None.

        Raises:
            CommandError: the server refuses it for good.
            OutboxFullError: too many messages wait.
            OSError: the outbox on disk cannot take it; it is not sent.
            ValueError, TypeError: it cannot be encoded, as half a surrogate pair cannot.
            StoppedError: the client has stopped.
        """
        self._check_running()
        draft = Draft(str(client_message_id or uuid.uuid4()), room, body)
        if self._file is not None and self._core.outbox.check(draft):
            self._file.add(draft)
        self._core.send_message(draft, now=self._loop.time())
        future: asyncio.Future[Message] = self._loop.create_future()
        self._sends.setdefault(draft.client_message_id, []).append(future)
        self._perform()
        try:
            return await future
        finally:
            self._stop_waiting(draft.client_message_id, future)

    async def request(
        self, cmd: str, *, timeout: float = COMMAND_TIMEOUT, **fields: object
    ) -> Mapping[str, Any]:
        """Send any other command, once, and return what the server answers.

        Args:
            cmd: such as `message.list`.
            timeout: seconds to wait for the connection, and again for the answer.
            fields: of the command.

        Raises:
            CommandError: the server refuses it.
            ConnectionLostError: whether it was carried out is not known.
            ReplyTimeoutError: likewise; or there was no connection in time.
            StoppedError: the client has stopped.
            TypeError: JSON cannot express a field; UnicodeEncodeError for text that is none.
        """
        try:
            await asyncio.wait_for(self._wait_online(), timeout)
        except asyncio.TimeoutError:
            raise ReplyTimeoutError from None
        key = next(self._keys)
        future: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        self._requests[key] = future
        try:
            self._core.request(key, cmd, fields, now=self._loop.time(), timeout=timeout)
            self._perform()
            return await future
        finally:
            self._requests.pop(key, None)

    async def subscribe(self, topic: str) -> None:
        """Listen to a topic, on this connection and every later one; raises what `request` raises."""
        await self.request("subscribe", topic=topic)

    async def unsubscribe(self, topic: str) -> None:
        """Listen to a topic no more; raises what `request` raises."""
        await self.request("unsubscribe", topic=topic)

    async def pushes(self) -> AsyncIterator[Push]:
        """Give out pushes as they come: those of a topic in order of seq, each once, none behind a gap.

        A push of type `topic.reset` (`RESET`) says that a part of a topic cannot be recovered: load a snapshot of at
        least its `data["seq"]`. One reader at a time. It ends when the client is closed.

        Raises:
            StoppedError: the server has ended it for good.
        """
        while True:
            push = self._core.take_push(now=self._loop.time())
            self._perform()
            if push is not None:
                yield push
            elif self._stopped is None:
                await self._wait_change()
            elif self._stopped.close_code == CloseCode.NORMAL:
                return
            else:
                raise self._stopped

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    async def _wait_online(self) -> None:
        while self.state is not State.ONLINE:
            self._check_running()
            await self._wait_change()

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _stop_waiting(self, client_message_id: str, future: asyncio.Future[Message]) -> None:
        """Deal with a caller that has its answer or has given up."""
        futures = self._sends.get(client_message_id, [])
        if future not in futures:
            return
        futures.remove(future)
        if not futures:
            del self._sends[client_message_id]
            if self._file is None:
                self._core.withdraw(client_message_id, now=self._loop.time())
                self._perform()

    # -- carrying --------------------------------------------------------------------------------------------------

    def _perform(self) -> None:
        """Do what the core wants, and set the timer."""
        for action in self._core.take_actions():
            self._do(action)
        if len(self._core.queue):
            self._changed.set()
        deadline = self._core.deadline
        if self._timer is not None and self._timer.when() != deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        self._timer = None
        # The loop's clock may be a moment behind what it promised.
        self._core.tick(now=max(deadline, self._loop.time()))
        self._perform()

    @singledispatchmethod
    def _do(self, action: Action) -> None:
        raise NotImplementedError(action)

    @_do.register
    def _(self, action: SendText) -> None:
        if self._link is not None:
            self._link.send(action.text)

    @_do.register
    def _(self, action: OpenSocket) -> None:
        self._link = Link(self._url, self._credential, opened=self._opened, received=self._received)
        self._link_task = self._spawn(self._run_link(self._link))

    @_do.register
    def _(self, action: CloseSocket) -> None:
        if self._link_task is not None:
            self._link_task.cancel()
        self._link = self._link_task = None

    @_do.register
    def _(self, action: RenewToken) -> None:
        link = self._link
        if link is not None and (link.renewal is None or link.renewal.done()):
            link.renewal = self._spawn(self._renew_token(link))

    @_do.register
    def _(self, action: Answered) -> None:
        future = self._requests.pop(action.key, None)
        if future is not None and not future.done():
            _settle(future, action.result)

    @_do.register
    def _(self, action: MessageSent) -> None:
        self._settle_send(action.client_message_id, action.message)

    @_do.register
    def _(self, action: MessageFailed) -> None:
        if action.client_message_id not in self._sends:
            logger.warning("Message %s was refused: %s", action.client_message_id, action.error)
        self._settle_send(action.client_message_id, action.error)

    @_do.register
    def _(self, action: StateChange) -> None:
        if action.state is not State.CONNECTING:
            self._refused = action.refused
        if action.state is State.STOPPED:
            self._stopped = StoppedError(action.close_code, action.reason or "", action.message)
            self._stopped.__cause__ = action.refused
            for client_message_id in list(self._sends):
                # Its callers are told that it has failed; on disk it is kept for the next client.
                if self._file is None:
                    self._core.withdraw(client_message_id, now=self._loop.time())
                self._settle_callers(client_message_id, self._stopped)
        self._changed.set()
        logger.debug("%s: %s", self._url, action)
        if self._on_state is not None:
            try:
                self._on_state(action)
            except Exception:
                logger.exception("on_state has failed")

    def _settle_send(
        self, client_message_id: str, result: Message | CommandError | ClientError
    ) -> None:
        self._settle_callers(client_message_id, result)
        if self._file is None:
            return
        try:
            self._file.remove(client_message_id)
        except OSError as error:
            logger.warning(
                "Message %s is still in the outbox on disk: %s", client_message_id, error
            )

    def _settle_callers(
        self, client_message_id: str, result: Message | CommandError | ClientError
    ) -> None:
        for future in self._sends.pop(client_message_id, []):
            _settle(future, result)

    # -- the socket ------------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_link(self, link: Link) -> None:
        try:
            close_code = await link.run()
        except CredentialRefused as error:
            logger.warning("No credential: %s", error)
            self._core.refused(now=self._loop.time())
        except HandshakeRefusedError as error:
            logger.warning("%s: %s", self._url, error)
            self._core.closed(error.close_code, now=self._loop.time(), refused=error)
        except CredentialFailed as error:
            self._core.not_opened(str(error), now=self._loop.time())
        else:
            self._core.closed(close_code, now=self._loop.time())
        finally:
            if link.renewal is not None:
                link.renewal.cancel()
        self._perform()

    def _opened(self, fields: Mapping[str, str]) -> None:
        self._core.opened(fields, now=self._loop.time())
        self._perform()

    def _received(self, frame: str | bytes) -> None:
        # What was read already when the socket was given up counts no more.
        if asyncio.current_task() is self._link_task:
            self._core.receive(frame, now=self._loop.time())
            self._perform()

    async def _renew_token(self, link: Link) -> None:
        """Go on with a newer token on the same connection; where that fails, the next connection brings one.

        A function that gives the token which is about to end, or fails, is asked again, less and less often.
        """
        pause = RENEWAL_PAUSES[0]
        while True:
            try:
                token = await self._credential.renew_token()
                if token is None:
                    return
                if token != link.token:
                    await self.request("auth.refresh", token=token)
                    link.token = token
                    return
            except Exception:
                logger.exception("The token could not be renewed")
            await asyncio.sleep(pause)
            pause = min(2 * pause, RENEWAL_PAUSES[1])


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
