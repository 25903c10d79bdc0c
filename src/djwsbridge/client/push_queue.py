"""What was received in order and not yet handed out."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from djwsbridge.client.frames import Push

__all__ = ["Cursor", "PushQueue"]


class Cursor(NamedTuple):
    """What a client has of a topic: everything up to `seq` in this life of its log."""

    epoch: str
    seq: int


class PushQueue:
    """A bounded queue between the connection and the reader of `pushes()`.

    When it is full, what is not durable is dropped and counted; what is durable is refused, so that its topic stays
    where it is and recovers the rest from the log when the reader has caught up. A slow reader costs bounded memory and
    loses no event, and one who never reads does not stop the replies.

    Args:
        limit: how many pushes wait at most.
        cursors: what the reader had before.
    """

    def __init__(self, limit: int, cursors: dict[str, Cursor]) -> None:
        self.limit = limit
        # Pushes that were not durable and did not fit.
        self.dropped = 0
        # What was handed out of each topic.
        self.cursors = dict(cursors)
        self._waiting: deque[tuple[Push, Cursor | None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Say whether nothing more is taken."""
        return len(self._waiting) >= self.limit

    @property
    def is_roomy(self) -> bool:
        """Say whether the reader has caught up enough for what had to wait."""
        return len(self._waiting) <= self.limit // 2

    def offer(self, push: Push, cursor: Cursor | None) -> bool:
        """Take a push if there is room.

        Args:
            push: the next of its topic.
            cursor: what the reader has of the topic once it is handed out; None for what is not durable.
        """
        if self.is_full:
            self.dropped += cursor is None
            return False
        self._waiting.append((push, cursor))
        return True

    def insist(self, push: Push, cursor: Cursor) -> None:
        """Take a push that the reader must see, room or not: one for each history that was lost."""
        self._waiting.append((push, cursor))

    def take(self) -> Push | None:
        """Hand out the next push; None when there is none."""
        if not self._waiting:
            return None
        push, cursor = self._waiting.popleft()
        if cursor is not None and push.topic is not None:
            known = self.cursors.get(push.topic)
            # The epoch may have become known while the push waited.
            epoch = cursor.epoch or (known.epoch if known else "")
            self.cursors[push.topic] = Cursor(epoch, cursor.seq)
        return push
