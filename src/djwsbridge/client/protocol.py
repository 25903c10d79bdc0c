"""The whole client without I/O: a connection, the cursors, the outbox, and when each may speak.

`ClientProtocol` is told what the application wants, what came from the socket and what time it is; `take_actions` says
what to do about it, `deadline` when to call `tick`. It never asks a clock and never sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from djwsbridge.client.actions import Action, Answered, MessageFailed, MessageSent, State
from djwsbridge.client.connection import COMMAND_TIMEOUT, Connection, Result
from djwsbridge.client.errors import (
    BadFrameError,
    ClientError,
    ConnectionLostError,
    HandshakeRefusedError,
    retry_after,
)
from djwsbridge.client.frames import (
    Message,
    Person,
    Push,
    TopicReport,
    Welcome,
    read_message,
    read_moved,
    read_topic_report,
)
from djwsbridge.client.outbox import Draft, Outbox
from djwsbridge.client.push_queue import Cursor, PushQueue
from djwsbridge.client.receipts import Acks, Receipts
from djwsbridge.client.topics import Topics
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["ClientProtocol"]

logger = logging.getLogger(__name__)


class ClientProtocol:
    """The rules of one client.

    Args:
        random: returns a number from 0 up to, not including, 1.
        cursors: what an earlier process had of each topic: (epoch, seq).
        drafts: what an earlier process has not got confirmed.
        queue_limit: how many pushes wait for the reader at most.
        is_renewable: whether there is a way to a new credential when one is refused.
    """

    def __init__(
        self,
        *,
        random: Callable[[], float],
        cursors: Mapping[str, tuple[str, int]] | None = None,
        drafts: Iterable[Draft] = (),
        queue_limit: int = 1_000,
        is_renewable: bool = True,
    ) -> None:
        # Who this client is and how the server calls the connection; None before the first answer.
        self.user: Person | None = None
        self.connection_id: str | None = None
        # The newest seq of each topic that is only announced, because the user has more than a connection listens to.
        self.announced: dict[str, int] = {}
        self.receipts = Receipts()
        self.queue = PushQueue(
            queue_limit, {name: Cursor(*cursor) for name, cursor in (cursors or {}).items()}
        )
        self.outbox = Outbox(random=random, drafts=drafts)
        self._acks = Acks()
        self._topics = Topics(self.queue, random=random, advanced=self._acks.note)
        self._connection = Connection(self, random=random, is_renewable=is_renewable)

    @property
    def state(self) -> State:
        """Return where the client is in its life."""
        return self._connection.state

    @property
    def deadline(self) -> float | None:
        """Return when `tick` must be called; None when nothing is due."""
        times = [self._connection.deadline]
        if self.state is State.ONLINE:
            times += [self._topics.deadline, self._acks.deadline, self.outbox.deadline]
        return min((time for time in times if time is not None), default=None)

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order, and forget it."""
        actions, self._connection.actions = self._connection.actions, []
        return actions

    # -- the application's side ------------------------------------------------------------------------------------

    def start(self, *, now: float) -> None:
        """Connect, and stay connected until `stop`."""
        self._connection.start(now=now)

    def stop(self, *, now: float) -> None:
        """Leave, and do not come back."""
        self._connection.stop(now=now)

    def send_message(self, draft: Draft, *, now: float) -> None:
        """Queue a message, unless it is already; `MessageSent` or `MessageFailed` tells how it ended.

        Raises:
            CommandError: `idempotency_conflict`.
            OutboxFullError: too many wait.
        """
        self.outbox.add(draft)
        self._pump(now)

    def withdraw(self, client_message_id: str, *, now: float) -> None:
        """Forget a message that nobody waits for; whether it was stored is not known."""
        self.outbox.remove(client_message_id)
        self._pump(now)

    def request(
        self,
        key: int,
        cmd: str,
        fields: Mapping[str, object],
        *,
        now: float,
        timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        """Send a command once; `Answered` with this key tells how it ended."""
        settle = partial(self._answered, key, cmd, fields)
        if self.state is State.ONLINE:
            self._connection.ask(cmd, fields, settle, now=now, timeout=timeout)
        else:
            settle(ConnectionLostError(), now)

    def take_push(self, *, now: float) -> Push | None:
        """Return the next push for the reader; None when there is none."""
        push = self.queue.take()
        if push is not None and self.queue.is_roomy and self.state is State.ONLINE:
            self._topics.catch_up(now=now)
            self._pump(now)
        return push

    # -- the socket's side -----------------------------------------------------------------------------------------

    def opened(self, credential: Mapping[str, str], *, now: float) -> None:
        """Note that the socket is open; `credential` goes with `connect`."""
        self._connection.opened(credential, now=now)

    def receive(self, text: str | bytes, *, now: float) -> None:
        """Take a frame."""
        self._connection.receive(text, now=now)
        self._pump(now)

    def closed(
        self,
        close_code: int | None,
        *,
        now: float,
        refused: HandshakeRefusedError | None = None,
    ) -> None:
        """Note that the socket is gone or could not be opened; None when there was no close frame."""
        self._connection.closed(close_code, now=now, refused=refused)

    def refused(self, *, now: float) -> None:
        """Note that there is no credential to be had."""
        self._connection.refused(now=now)

    def not_opened(self, message: str, *, now: float) -> None:
        """Note that the application's function has brought no credential this time, and why."""
        self._connection.not_opened(message, now=now)

    def tick(self, *, now: float) -> None:
        """Do what is due."""
        self._connection.tick(now=now)
        self._pump(now)

    # -- what the connection tells ---------------------------------------------------------------------------------

    def greet(self) -> Mapping[str, tuple[str, int]]:
        """Return the cursors that go with `connect`."""
        return self._topics.greet()

    def welcome(self, welcome: Welcome, *, now: float) -> None:
        """Take the answer to `connect`."""
        self.user = welcome.user
        self.connection_id = welcome.connection_id
        self._acks.greet()
        for name, report in welcome.topics.items():
            self._look_into(name, report)
        self.announced = dict(welcome.announced)
        self._topics.welcome(welcome.topics, now=now)

    def push(self, push: Push, *, now: float) -> None:
        """Take a push."""
        self.receipts.hear(push)
        self._confirm_own(push)
        if push.type == "topics.moved" and push.topic is None:
            self._hear_moved(push)
        self._topics.accept(push, now=now)

    def _hear_moved(self, push: Push) -> None:
        try:
            self.announced.update(read_moved(push.data))
        except BadFrameError as error:
            logger.warning("%s", error)

    def hear_tips(self, tips: Mapping[str, int], *, now: float) -> None:
        """Take the newest seqs that the server knows."""
        self._topics.hear_tips(tips, now=now)

    def heal(self, tips: Mapping[str, int], *, now: float) -> None:
        """Take how far this client is behind, because it read too slowly."""
        self._topics.heal(tips, now=now)

    def lose(self, close_code: int | None, *, now: float) -> None:
        """Note that the connection is gone."""
        self._topics.lose()
        lost = self.outbox.lose()
        if close_code == CloseCode.TOO_BIG and lost:
            largest = max(lost, key=lambda draft: len(draft.body.encode()))
            self._fail(largest.client_message_id, CommandError(ErrorCode.TOO_LARGE))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Send whatever may leave now."""
        if self.state is not State.ONLINE:
            return
        ask = self._connection.ask
        question = self._topics.next_question(now=now)
        if question is not None:
            settle = partial(self._recovered, str(question.fields["topic"]))
            ask(question.cmd, question.fields, settle, now=now)
        seqs = self._acks.take(now=now)
        if seqs is not None:
            ask("ack", {"seqs": seqs}, self._acknowledged, now=now)
        for draft in self.outbox.take_ready(now=now):
            fields = {
                "room": draft.room,
                "body": draft.body,
                "client_message_id": draft.client_message_id,
            }
            settle = partial(self._sent, draft)
            ask("message.send", fields, settle, now=now)

    def _recovered(self, name: str, result: Result, now: float) -> None:
        """Take the answer to a question of the topics."""
        if isinstance(result, ConnectionLostError):
            return  # `lose` follows
        if not isinstance(result, CommandError | ClientError):
            try:
                report = read_topic_report(result)
            except BadFrameError as error:
                result = error
            else:
                self._look_into(name, report)
                self._topics.answered(report, now=now)
                return
        self._topics.refused(result, now=now)

    def _acknowledged(self, result: Result, now: float) -> None:
        """Take the answer to an ack."""
        if isinstance(result, CommandError) and result.code is ErrorCode.UNKNOWN_TYPE:
            self._acks.stop()
        elif isinstance(result, CommandError | ClientError) and result.retryable:
            self._acks.retry(not_before=now + retry_after(result))
        else:
            self._acks.confirm()

    def _sent(self, draft: Draft, result: Result, now: float) -> None:
        """Take the answer to a send."""
        client_message_id = draft.client_message_id
        if isinstance(result, ConnectionLostError):
            return  # `lose` follows
        if self.outbox.find(client_message_id) is not draft:
            return  # its own push was quicker; another one may bear its id by now
        if isinstance(result, CommandError | ClientError):
            if result.retryable:
                self.outbox.retry(client_message_id, now=now, pause=retry_after(result))
            else:
                self._fail(client_message_id, result)
            return
        try:
            self._confirm(client_message_id, read_message(result))
        except BadFrameError as error:
            self._fail(client_message_id, error)

    def _look_into(self, name: str, report: TopicReport) -> None:
        """Take from a report what is not the topics' business."""
        if report.reason == ErrorCode.EPOCH_CHANGED.value:
            self.receipts.forget(name)
            self._acks.forget(name)
        if report.receipts is not None:
            self.receipts.take(name, report.receipts)
        for push in report.events:
            self._confirm_own(push)

    def _confirm_own(self, push: Push) -> None:
        """Take one's own message, seen among the pushes, for its reply, which may have been lost."""
        if push.type != "message.sent" or self.user is None or self.outbox.is_empty:
            return
        try:
            message = read_message(push.data)
        except BadFrameError:
            return
        draft = Draft(message.client_message_id, message.room, message.body)
        # Another member could have copied the id from an earlier push; and the application could have used it twice.
        if (
            message.sender.id == self.user.id
            and self.outbox.find(message.client_message_id) == draft
        ):
            self._confirm(draft.client_message_id, message)

    def _confirm(self, client_message_id: str, message: Message) -> None:
        if self.outbox.remove(client_message_id) is not None:
            self._connection.actions.append(MessageSent(client_message_id, message))

    def _fail(self, client_message_id: str, error: CommandError | ClientError) -> None:
        if self.outbox.remove(client_message_id) is not None:
            self._connection.actions.append(MessageFailed(client_message_id, error))

    def _answered(
        self, key: int, cmd: str, fields: Mapping[str, Any], result: Result, now: float
    ) -> None:
        """Take the answer to a command of the application, and note what it means for the topics."""
        if not isinstance(result, CommandError | ClientError):
            if cmd == "subscribe":
                try:
                    report = read_topic_report(result)
                except BadFrameError:
                    report = TopicReport()
                self._topics.subscribe(fields["topic"], report, now=now)
            elif cmd == "unsubscribe":
                self._topics.unsubscribe(fields["topic"])
        self._connection.actions.append(Answered(key, result))
