"""The server's side of one connection, without I/O: what may come when, and what it means.

`ServerProtocol` is told what arrived and what time it is; it returns a command, or raises the error that the client is
told, or the reason to close. It never asks a clock and never sends.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.frames import Command, Connect, PlainMessage

__all__ = ["Dialect", "Limits", "RateLimit", "ServerProtocol", "State", "WindowCounter"]


class Dialect(Protocol):
    """How frames look on one connection."""

    @property
    def name(self) -> str | None:
        """Return the subprotocol; None for a dialect that is spoken without one."""

    def decode(self, text: str) -> Command | PlainMessage:
        """Return what a text frame holds, or raise `CommandError`."""

    def encode_reply(self, command: Command, ok: object) -> str | None:
        """Write the answer to a command; None when the dialect has none."""

    def encode_error(self, error: CommandError) -> str:
        """Write the failure of a command."""

    def encode_farewell(self, error: CommandError) -> str:
        """Write what goes out before the connection is closed with a 44xx code."""

    def encode_push(self, text: str) -> str | None:
        """Rewrite a push of the v1 dialect; None when this dialect has no such push."""


class State(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"  # accepted; the actor is not known yet
    OPEN = "open"  # the actor is known
    CLOSED = "closed"


_TRANSITIONS = {
    State.CONNECTING: frozenset({State.OPEN, State.CLOSED}),
    State.OPEN: frozenset({State.CLOSED}),
    State.CLOSED: frozenset({State.CLOSED}),
}


@dataclass(frozen=True)
class RateLimit:
    """At most `count` in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Limits:
    """The bounds of one connection; times in seconds, sizes in bytes of UTF-8."""

    frame_bytes: int = 65_536
    connect_timeout: float = 5.0
    silence_timeout: float = 60.0  # two missed heartbeats and some
    frames: RateLimit = RateLimit(120, 60.0)
    bad_frames: RateLimit = RateLimit(9, 60.0)  # the tenth closes
    breaches: RateLimit = RateLimit(2, 600.0)  # of a rate limit; the third closes
    # Frames refused during one breach; one more closes: this client does not listen.
    rejected: int = 120


class WindowCounter:
    """Count what happened in a sliding window; holds at most `limit.count` times."""

    __slots__ = ("_times", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        # When each counted thing happened, oldest first.
        self._times: deque[float] = deque(maxlen=limit.count)

    def add(self, now: float) -> float:
        """Count one more thing if it fits.

        Returns:
            0.0 when it fits, else the seconds until one does (it is not counted then).
        """
        times = self._times
        if len(times) == self.limit.count:
            wait = times[0] + self.limit.seconds - now
            if wait > 0:
                return wait
        times.append(now)
        return 0.0

    def take_back(self) -> None:
        """Count the last thing no more."""
        if self._times:
            self._times.pop()

    def wait(self, now: float) -> float:
        """Return what `add` would, and count nothing."""
        times = self._times
        is_full = len(times) == self.limit.count
        return max(0.0, times[0] + self.limit.seconds - now) if is_full else 0.0

    def fill(self, now: float) -> None:
        """Let nothing fit for a whole window from now on."""
        self._times.extend([now] * self.limit.count)

    def exceeds(self, count: int, now: float) -> bool:
        """Say whether more than `count` things were counted within the window."""
        times = self._times
        return len(times) > count and times[-count - 1] > now - self.limit.seconds


class ServerProtocol:
    """The rules of one connection.

    Args:
        dialect: how its frames look.
        limits: its bounds.
        now: seconds of a monotonic clock, as in every later call.
    """

    __slots__ = (
        "_bad_frames",
        "_breach_ends",
        "_breaches",
        "_frames",
        "_rejected",
        "dialect",
        "last_seen",
        "limits",
        "opened",
        "state",
    )

    def __init__(self, dialect: Dialect, limits: Limits, *, now: float) -> None:
        self.dialect = dialect
        self.limits = limits
        self.state = State.CONNECTING
        # When the last frame came in, or was carried out; silence is measured from here.
        self.last_seen = now
        # When the connection was accepted.
        self.opened = now
        self._frames = WindowCounter(limits.frames)
        # Made when there is something to count: most connections never need them.
        self._bad_frames: WindowCounter | None = None
        self._breaches: WindowCounter | None = None
        # A breach lasts until the client may go on; what it had already sent belongs to the same breach.
        self._breach_ends = now
        self._rejected = 0

    def receive_text(self, text: str, *, now: float) -> Command | PlainMessage:
        """Take a text frame and return the command to be carried out.

        Raises:
            CommandError: to be told to the client; the connection goes on.
            CloseConnection: the connection ends.
        """
        self.last_seen = now
        limit = self.limits.frame_bytes
        if len(text) * 4 > limit and len(text.encode(errors="surrogatepass")) > limit:
            raise CloseConnection(CloseCode.TOO_BIG, CommandError(ErrorCode.TOO_LARGE))
        self._check_rate(text, now)
        try:
            command = self.dialect.decode(text)
        except CommandError as error:
            self._count_bad_frame(error, now)
            self._check_order_of_bad(error)
            raise
        self._check_order(command)
        return command

    def receive_bytes(self, *, now: float) -> CloseConnection:
        """Take a binary frame and return the reason to close."""
        self.last_seen = now
        return CloseConnection(
            CloseCode.UNSUPPORTED_DATA, CommandError(ErrorCode.UNSUPPORTED_BINARY)
        )

    def uncount_frame(self) -> None:
        """Forget the last frame in the rate of frames: something else limits it."""
        self._frames.take_back()

    def check(self, *, now: float) -> CloseConnection | None:
        """Return the reason to close a connection that has been silent for too long, if there is one."""
        if self.state is State.CONNECTING and now - self.opened >= self.limits.connect_timeout:
            return CloseConnection(CloseCode.CONNECT_TIMEOUT, CommandError(ErrorCode.AUTH_REQUIRED))
        if (
            self.state is State.OPEN
            and self.dialect.name is not None
            and now - self.last_seen >= self.limits.silence_timeout
        ):
            error = CommandError(ErrorCode.AUTH_REQUIRED, "No sign of life for too long.")
            return CloseConnection(CloseCode.HEARTBEAT_LOST, error)
        return None

    def quiet_for(self, *, now: float) -> float:
        """Return the seconds in which `check` has nothing to say, if nothing comes in."""
        if self.state is State.CONNECTING:
            return max(0.0, self.opened + self.limits.connect_timeout - now)
        if self.state is State.OPEN and self.dialect.name is not None:
            return max(0.0, self.last_seen + self.limits.silence_timeout - now)
        return math.inf

    def move(self, state: State) -> None:
        """Enter another state; a transition that makes no sense is a mistake of the caller."""
        if state not in _TRANSITIONS[self.state]:
            raise RuntimeError(f"A connection cannot go from {self.state} to {state}.")
        self.state = state

    def excuse_frame(self) -> None:
        """Let one more frame through: the server has asked for it."""
        self._frames.take_back()

    def _check_order(self, command: Command | PlainMessage) -> None:
        """Refuse anything before `connect`, and a second one."""
        if isinstance(command, Connect):
            if self.state is not State.CONNECTING:
                error = CommandError(ErrorCode.ALREADY_AUTHENTICATED)
                error.command_id = command.id
                raise error
        elif self.state is State.CONNECTING:
            raise CloseConnection(CloseCode.UNAUTHORIZED, CommandError(ErrorCode.AUTH_REQUIRED))

    def _check_order_of_bad(self, error: CommandError) -> None:
        """Close a connection that begins with anything but a `connect`."""
        if self.state is State.CONNECTING and error.code is ErrorCode.UNKNOWN_TYPE:
            raise CloseConnection(CloseCode.UNAUTHORIZED, CommandError(ErrorCode.AUTH_REQUIRED))

    def _check_rate(self, text: str, now: float) -> None:
        wait = self._frames.add(now)
        if wait:
            failure = self.breach(wait, now=now)
            if isinstance(failure, CommandError):
                failure.command_id = self._read_id(text)
            raise failure

    def _read_id(self, text: str) -> int | None:
        """Return the id of a frame that is not carried out, so that its sender knows which one it was."""
        try:
            return getattr(self.dialect.decode(text), "id", None)
        except CommandError as error:
            return error.command_id

    def breach(self, wait: float, *, now: float) -> CommandError | CloseConnection:
        """Return what follows from going over a rate limit: an error, and at last the end.

        Args:
            wait: seconds until the client may go on.
            now: seconds of the clock.
        """
        error = CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
        one_too_many = False
        if now >= self._breach_ends:
            self._breach_ends = now + wait
            self._rejected = 0
            self._breaches = self._breaches or WindowCounter(self.limits.breaches)
            one_too_many = self._breaches.add(now) > 0
        self._rejected += 1
        if one_too_many or self._rejected > self.limits.rejected:
            return CloseConnection(CloseCode.RATE_LIMITED, error)
        return error

    def _count_bad_frame(self, error: CommandError, now: float) -> None:
        """Close after too many frames that were no JSON objects of this protocol."""
        if error.code not in (ErrorCode.BAD_JSON, ErrorCode.BAD_FRAME):
            return
        self._bad_frames = self._bad_frames or WindowCounter(self.limits.bad_frames)
        if self._bad_frames.add(now):
            raise CloseConnection(CloseCode.BAD_PROTOCOL, error)
