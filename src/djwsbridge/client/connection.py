"""One lasting connection, without I/O: opens, greets, keeps alive, notices death, comes back.

    stopped ──start──▶ connecting ──connect answered──▶ online
       ▲                 │  ▲                             │
       └──stop, or a ────┤  └────delay over──── waiting ◀─┤ closed, silent
          final code     └───────closed─────────▶ ▲       │
                                                  └───────┘

It is told what happened and what time it is, and notes down what to do. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from djwsbridge.client.actions import (
    Action,
    CloseSocket,
    OpenSocket,
    RenewToken,
    SendText,
    State,
    StateChange,
)
from djwsbridge.client.backoff import Backoff
from djwsbridge.client.errors import (
    BadFrameError,
    ClientError,
    ConnectionLostError,
    HandshakeRefusedError,
    ReplyTimeoutError,
)
from djwsbridge.client.frames import (
    Push,
    Reply,
    Welcome,
    decode_frame,
    encode_command,
    read_tips,
    read_welcome,
)
from djwsbridge.protocol.codes import CLOSE_POLICIES, CloseCode, ErrorCode, Reaction
from djwsbridge.protocol.errors import CommandError

__all__ = ["COMMAND_TIMEOUT", "Connection", "Listener", "Result", "Settle"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 15.0  # seconds from opening the socket to the answer to `connect`; a slow network
COMMAND_TIMEOUT = 10.0  # seconds; after that the outcome is unknown and a retry decides
HEARTBEAT_TIMEOUT = 10.0  # seconds without an answer: the connection is half-open
HEARTBEAT_JITTER = 0.2  # of the period, so that clients which came together do not beat together
# Seconds online before the back-off starts anew: a server that fails late is spared.
STABLE_AFTER = 10.0
#: Seconds at least until the next attempt: the reason does not pass sooner.
LEAST_DELAYS: Mapping[int | None, float] = {
    CloseCode.RATE_LIMITED: 10.0,
    CloseCode.TOO_MANY_CONNECTIONS: 10.0,
}
#: After these, and after any error that came with the end, a client is more patient.
REFUSALS = {CloseCode.TRY_LATER, CloseCode.RATE_LIMITED, CloseCode.INTERNAL}
NOT_OPENED = "not_opened"  # the reason when the application's own function brought no credential
FINAL_CODES = range(4500, 5000)  # of those that CLOSE_POLICIES does not name

_TRANSITIONS = {
    State.STOPPED: frozenset({State.CONNECTING}),
    State.CONNECTING: frozenset({State.ONLINE, State.WAITING, State.STOPPED}),
    State.ONLINE: frozenset({State.WAITING, State.STOPPED}),
    State.WAITING: frozenset({State.CONNECTING, State.STOPPED}),
}

Result = Mapping[str, Any] | CommandError | ClientError
#: What is called with the answer to a command, or with why there is none; and the time.
Settle = Callable[[Result, float], None]


class Listener(Protocol):
    """What a connection tells; every call is followed by others' turn to ask for something."""

    def greet(self) -> Mapping[str, tuple[str, int]]:
        """Return the cursors that go with `connect`."""

    def welcome(self, welcome: Welcome, *, now: float) -> None:
        """Take the answer to `connect`."""

    def push(self, push: Push, *, now: float) -> None:
        """Take a push."""

    def hear_tips(self, tips: Mapping[str, int], *, now: float) -> None:
        """Take the newest seqs that the answer to `heartbeat` tells."""

    def heal(self, tips: Mapping[str, int], *, now: float) -> None:
        """Take the newest seqs of what the server has withheld from a slow reader."""

    def lose(self, close_code: int | None, *, now: float) -> None:
        """Note that the connection is gone; its commands have failed already."""


@dataclass
class _Pending:
    """A command that waits for its reply."""

    settle: Settle
    deadline: float


class Connection:
    """The rules of coming and going.

    Args:
        listener: is told what happens.
        random: returns a number from 0 up to, not including, 1.
        is_renewable: whether there is a way to a new credential when one is refused.
    """

    def __init__(
        self, listener: Listener, *, random: Callable[[], float], is_renewable: bool
    ) -> None:
        self.state = State.STOPPED
        # What the shell is to do, in order; it takes them away.
        self.actions: list[Action] = []
        self._listener = listener
        self._random = random
        self._is_renewable = is_renewable
        self._backoff = Backoff(random)
        # By command id.
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        # Connecting: when to give up. Waiting: when to try again. None otherwise.
        self._until: float | None = None
        # Online: when the back-off starts anew; None when it has.
        self._stable_at: float | None = None
        # Online: when the next heartbeat is due; None while one is on its way.
        self._beat_at: float | None = None
        # Seconds between heartbeats, as the server wants them.
        self._beat_every = 0.0
        # When to move to another node, as a `reconnect` push asked; None when it did not.
        self._move_at: float | None = None
        # What the server said last of what is wrong; None after a good `connect`.
        self._last_error: Mapping[str, Any] | None = None
        # Whether the next attempt must bring a new credential.
        self._needs_fresh = False

    # -- the application's side ------------------------------------------------------------------------------------

    def start(self, *, now: float) -> None:
        """Connect, and stay connected until `stop`."""
        if self.state is State.STOPPED:
            self._backoff.reset()
            self._needs_fresh = False
            self._open(now)

    def stop(self, *, now: float) -> None:
        """Leave, and do not come back."""
        if self.state is not State.STOPPED:
            if self.state is not State.WAITING:
                self.actions.append(CloseSocket())
            self._let_go(CloseCode.NORMAL, now)
            self._enter(StateChange(State.STOPPED, CloseCode.NORMAL, "normal"))

    def ask(
        self,
        cmd: str,
        fields: Mapping[str, object],
        settle: Settle,
        *,
        now: float,
        timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        """Send a command; `settle` hears of it exactly once.

        Raises:
            TypeError: JSON cannot express the fields (UnicodeEncodeError: a text that is none); nothing is sent, and
                `settle` hears of nothing.
        """
        text = encode_command(self._last_id + 1, cmd, fields)
        self._last_id += 1
        self._pending[self._last_id] = _Pending(settle, now + timeout)
        self.actions.append(SendText(text))

    # -- the socket's side -----------------------------------------------------------------------------------------

    def opened(self, credential: Mapping[str, str], *, now: float) -> None:
        """Note that the socket is open."""
        fields: dict[str, object] = {**credential}
        cursors = self._listener.greet()
        if cursors:
            fields["cursors"] = cursors
        # The deadline of the state covers it.
        self.ask("connect", fields, self._greeted, now=now, timeout=2 * CONNECT_TIMEOUT)

    def receive(self, text: str | bytes, *, now: float) -> None:
        """Take a frame."""
        try:
            frame = decode_frame(text)
        except BadFrameError as error:
            logger.warning("%s", error)
            return
        if isinstance(frame, Reply):
            pending = None if frame.id is None else self._pending.pop(frame.id, None)
            if pending is not None:
                self._plan_heartbeat(now)
                pending.settle(frame.result, now)
        else:
            self._pushed(frame, now)

    def closed(
        self,
        close_code: int | None,
        *,
        now: float,
        refused: HandshakeRefusedError | None = None,
    ) -> None:
        """Note that the socket is gone or could not be opened, and decide what follows.

        Args:
            close_code: of the server's close frame; None when there was none.
            now: seconds of the clock.
            refused: how the handshake was answered, if not by a socket.
        """
        if self.state not in {State.CONNECTING, State.ONLINE}:
            return
        error = self._last_error or {}
        code = _meant_code(close_code, error)
        name, reaction = _reaction_to(code)
        if error.get("code") == NOT_OPENED:
            name = NOT_OPENED
        move_at = self._move_at
        self._let_go(code, now)
        message = error.get("message") if refused is None else str(refused)
        change = StateChange(State.STOPPED, code, name, message, refused=refused)
        if reaction is Reaction.NEW_CREDENTIAL and self._is_renewable and not self._needs_fresh:
            self._needs_fresh = True
        elif reaction in {Reaction.STOP, Reaction.NEW_CREDENTIAL}:
            self._enter(change)
            return
        if move_at is not None:
            delay = max(0.0, move_at - now)  # it is random already
        else:
            least = LEAST_DELAYS.get(code, 0.0)
            pause = self._backoff.next_delay(refused=_is_refusal(code, error))
            delay = max(least, _seconds(error.get("retry_after_ms"))) + pause
        self._enter(replace(change, state=State.WAITING, delay=delay))
        self._until = now + delay

    def refused(self, *, now: float) -> None:
        """Note that there is no credential to be had: asking for one again is no use."""
        self._needs_fresh = True
        self.closed(CloseCode.UNAUTHORIZED, now=now)

    def not_opened(self, message: str, *, now: float) -> None:
        """Note that there was no credential this time: the next attempt asks again."""
        self._last_error = {"code": NOT_OPENED, "message": message}
        self.closed(None, now=now)

    # -- time ------------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """Return when `tick` must be called; None when nothing is due."""
        times = [pending.deadline for pending in self._pending.values()]
        own = (self._until, self._stable_at, self._beat_at, self._move_at)
        times.extend(time for time in own if time is not None)
        return min(times, default=None)

    def tick(self, *, now: float) -> None:
        """Do what is due."""
        late = [key for key, pending in self._pending.items() if pending.deadline <= now]
        for key in late:
            pending = self._pending.pop(key, None)
            if pending is not None:  # an earlier one may have ended the connection
                pending.settle(ReplyTimeoutError(), now)
        if self._until is not None and self._until <= now:
            if self.state is State.WAITING:
                self._open(now)
            else:
                self._give_up(None, now)
        if self._stable_at is not None and self._stable_at <= now:
            self._stable_at = None
            self._backoff.reset()
        if self._move_at is not None and self._move_at <= now:
            self._give_up(CloseCode.RESTART, now)
        if self._beat_at is not None and self._beat_at <= now:
            self._beat(now)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _open(self, now: float) -> None:
        self._enter(StateChange(State.CONNECTING))
        self._until = now + CONNECT_TIMEOUT
        self.actions.append(OpenSocket(self._needs_fresh))

    def _greeted(self, result: Result, now: float) -> None:
        """Take the answer to `connect`."""
        if isinstance(result, ClientError):
            return  # the connection is gone
        if isinstance(result, CommandError):
            self._last_error = {"code": result.code, "message": result.message, **result.details}
            if result.retryable:
                self._give_up(None, now)
            return  # the server closes with the fitting code right after
        try:
            welcome = read_welcome(result)
        except BadFrameError as error:
            logger.warning("%s", error)
            self._give_up(None, now)
            return
        self._last_error = None
        self._needs_fresh = False
        self._enter(StateChange(State.ONLINE))
        self._stable_at = now + STABLE_AFTER
        self._beat_every = welcome.heartbeat_ms / 1000
        self._plan_heartbeat(now)
        self._listener.welcome(welcome, now=now)

    def _pushed(self, push: Push, now: float) -> None:
        data = push.data if isinstance(push.data, dict) else {}
        if push.type == "error" and push.topic is None:
            self._last_error = data
        elif push.type == "reconnect" and push.topic is None:
            self._move_at = now + _seconds(data.get("after_ms"))
        elif push.type == "auth.expiring" and push.topic is None:
            self.actions.append(RenewToken())
        elif push.type == "tips" and push.topic is None:
            self._heal(data, now)
        elif push.type == "proof" and push.topic is None:
            self._prove(data.get("proof"))
        else:
            self._listener.push(push, now=now)

    def _prove(self, proof: object) -> None:
        """Show the server that this client reads; no answer is needed."""
        self._last_id += 1
        self.actions.append(SendText(encode_command(self._last_id, "heartbeat", {"proof": proof})))

    def _heal(self, data: Mapping[str, Any], now: float) -> None:
        try:
            self._listener.heal(read_tips({"tips": data}), now=now)
        except BadFrameError as error:
            logger.warning("%s", error)

    def _plan_heartbeat(self, now: float) -> None:
        """Expect a heartbeat one period after the last proof that the server hears and is heard: a reply."""
        if self.state is State.ONLINE:
            jitter = HEARTBEAT_JITTER * (2 * self._random() - 1)
            self._beat_at = now + self._beat_every * (1 + jitter)

    def _beat(self, now: float) -> None:
        self._beat_at = None
        self.ask("heartbeat", {}, self._beaten, now=now, timeout=HEARTBEAT_TIMEOUT)

    def _beaten(self, result: Result, now: float) -> None:
        """Take the answer to a heartbeat."""
        if isinstance(result, ReplyTimeoutError):
            self._give_up(CloseCode.HEARTBEAT_LOST, now)
        elif not isinstance(result, CommandError | ClientError):
            try:
                self._listener.hear_tips(read_tips(result), now=now)
            except BadFrameError as error:
                logger.warning("%s", error)

    def _give_up(self, close_code: int | None, now: float) -> None:
        """End the connection from this side and come back."""
        self.actions.append(CloseSocket())
        self.closed(close_code, now=now)

    def _let_go(self, close_code: int | None, now: float) -> None:
        """Forget everything that belongs to the socket."""
        self._stable_at = self._beat_at = self._move_at = self._last_error = None
        pending, self._pending = self._pending, {}
        for each in pending.values():
            each.settle(ConnectionLostError(close_code), now)
        self._listener.lose(close_code, now=now)

    def _enter(self, change: StateChange) -> None:
        if change.state not in _TRANSITIONS[self.state]:
            raise RuntimeError(f"A client cannot go from {self.state} to {change.state}.")
        self.state = change.state
        self._until = None
        self.actions.append(change)


def _meant_code(close_code: int | None, error: Mapping[str, Any]) -> int | None:
    """Return the code that a server meant which can send no 1009: the error push before it tells."""
    if close_code == CloseCode.NORMAL and error.get("code") == ErrorCode.TOO_LARGE.value:
        return CloseCode.TOO_BIG
    return close_code


def _is_refusal(close_code: int | None, error: Mapping[str, Any]) -> bool:
    """Say whether a server has sent the client away: it lives, and wants to see it later."""
    return bool(error) or close_code in REFUSALS


def _reaction_to(close_code: int | None) -> tuple[str, Reaction]:
    """Return the name of a close code and what follows it."""
    for code, policy in CLOSE_POLICIES.items():
        if code == close_code:
            return policy.name, policy.reaction
    is_final = close_code in FINAL_CODES
    return "unknown", Reaction.STOP if is_final else Reaction.RECONNECT


def _seconds(milliseconds: object) -> float:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0
