"""The messages that were sent and are not confirmed.

Those of one room leave one after the other, so that a retry cannot be overtaken; rooms do not wait for each other. The
same `client_message_id` goes with every retry, so that a message whose reply was lost is stored once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from djwsbridge.client.backoff import Backoff
from djwsbridge.client.errors import OutboxFullError
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

__all__ = ["Draft", "Outbox"]

PATIENCE = 3.0  # seconds between two attempts at most: what waited out an outage is sent within 5 s of its end
LIMIT = 1_000  # messages; one who is offline for longer must hear that no more are taken


class Draft(msgspec.Struct, frozen=True):
    """A message that is not confirmed.

    Attributes:
        client_message_id: a UUID, made once.
        room: the id of a room.
        body: the text.
    """

    client_message_id: str
    room: int
    body: str


@dataclass
class _Lane:
    """What waits for one room, the next first."""

    backoff: Backoff
    drafts: deque[Draft] = field(default_factory=deque)
    # Whether the first one is on its way.
    is_sending: bool = False
    # No attempt before this time.
    not_before: float = 0.0


class Outbox:
    """Decide which message may leave when.

    Args:
        random: returns a number from 0 up to, not including, 1.
        drafts: what an earlier process has left.
        limit: how many messages wait at most; further ones are refused.
    """

    def __init__(
        self, *, random: Callable[[], float], drafts: Iterable[Draft] = (), limit: int = LIMIT
    ) -> None:
        self._random = random
        self._limit = limit
        # By room.
        self._lanes: dict[int, _Lane] = {}
        # By client_message_id, in order of sending.
        self._drafts: dict[str, Draft] = {}
        for draft in drafts:
            self._append(draft)

    @property
    def is_empty(self) -> bool:
        """Say whether everything is confirmed."""
        return not self._drafts

    @property
    def drafts(self) -> list[Draft]:
        """Return what is not confirmed, in order of sending."""
        return list(self._drafts.values())

    def find(self, client_message_id: str) -> Draft | None:
        """Return a message that is not confirmed; None when it is not here."""
        return self._drafts.get(client_message_id)

    def check(self, draft: Draft) -> bool:
        """Say whether a message is to be queued: not when the same one is already.

        Raises:
            CommandError: `idempotency_conflict`, the id belongs to another message.
            OutboxFullError: too many wait.
            ValueError, TypeError: it cannot be encoded; queued, it would fail every attempt.
        """
        msgspec.json.encode(draft)
        queued = self._drafts.get(draft.client_message_id)
        if queued == draft:
            return False
        if queued is not None:
            raise CommandError(ErrorCode.IDEMPOTENCY_CONFLICT)
        if len(self._drafts) >= self._limit:
            raise OutboxFullError(self._limit)
        return True

    def add(self, draft: Draft) -> None:
        """Queue a message, unless it is already; raises what `check` raises."""
        if self.check(draft):
            self._append(draft)

    @property
    def deadline(self) -> float | None:
        """Return when `take_ready` is worth asking again; None when nothing waits."""
        times = [lane.not_before for lane in self._lanes.values() if not lane.is_sending]
        return min(times, default=None)

    def take_ready(self, *, now: float) -> list[Draft]:
        """Return the messages to send now; each is on its way until it is removed, retried or lost."""
        ready = []
        for lane in self._lanes.values():
            if not lane.is_sending and lane.not_before <= now:
                lane.is_sending = True
                ready.append(lane.drafts[0])
        return ready

    def retry(self, client_message_id: str, *, now: float, pause: float) -> None:
        """Send a message again after a back-off, at least `pause` seconds from now."""
        lane = self._lane_of(client_message_id)
        if lane is not None:
            lane.is_sending = False
            lane.not_before = now + pause + lane.backoff.next_delay()

    def remove(self, client_message_id: str) -> Draft | None:
        """Forget a message, confirmed or failed; return it, or None when it is not here."""
        lane = self._lane_of(client_message_id)
        if lane is None:
            return None
        draft = self._drafts.pop(client_message_id)
        if lane.drafts[0] is draft:
            lane.is_sending = False
            lane.not_before = 0.0
            lane.backoff.reset()
        lane.drafts.remove(draft)
        if not lane.drafts:
            del self._lanes[draft.room]
        return draft

    def lose(self) -> list[Draft]:
        """Note that the connection is gone: what was on its way is sent again. Return what was."""
        lost = [lane.drafts[0] for lane in self._lanes.values() if lane.is_sending]
        for lane in self._lanes.values():
            lane.is_sending = False
        return lost

    def _append(self, draft: Draft) -> None:
        lane = self._lanes.setdefault(draft.room, _Lane(Backoff(self._random, cap=PATIENCE)))
        lane.drafts.append(draft)
        self._drafts[draft.client_message_id] = draft

    def _lane_of(self, client_message_id: str) -> _Lane | None:
        draft = self._drafts.get(client_message_id)
        return None if draft is None else self._lanes[draft.room]
