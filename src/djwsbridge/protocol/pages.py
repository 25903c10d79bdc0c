"""How much of what was missed goes into one answer, and how much of it a user may ask for."""

from __future__ import annotations

from djwsbridge.protocol.server import RateLimit

__all__ = ["LARGEST_PAGE", "PAGE_BYTES", "ByteBudget", "PageSize"]

#: Bytes of events in the answer to `connect`, and in the first page of a recovery: on a slow line, a page has to arrive
#: before the client takes the connection for lost.
PAGE_BYTES = 40_960
LARGEST_PAGE = 262_144  # bytes of events in any page

QUICK = 0.5  # seconds from a page to the next question; then a page of twice the size arrives within about a second
SLOW = 1.0  # seconds; then the next page has half the size


class ByteBudget:
    """Bytes that may be spent: all of them at once, and those that are spent come back evenly.

    Args:
        limit: how many bytes there are, and in how many seconds that many come back.
    """

    __slots__ = ("_at", "_left", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        # What was left at that time; it may be less than nothing.
        self._left = float(limit.count)
        self._at = 0.0

    def wait(self, least: int, *, now: float) -> float:
        """Return the seconds until so many bytes are left; 0.0 when they are."""
        missing = min(least, self.limit.count) - self._refill(now)
        return max(0.0, missing * self.limit.seconds / self.limit.count)

    def take(self, least: int, most: int, *, now: float) -> int:
        """Spend as many bytes as are left, between two bounds; return how many.

        Args:
            least: is spent in any case; `wait` says when it is there.
            most: is not exceeded.
            now: seconds of a monotonic clock.
        """
        taken = max(least, min(most, int(self._refill(now))))
        self._left -= taken
        return taken

    def give_back(self, size: int) -> None:
        """Take back what was not needed; a negative size spends more."""
        self._left += size

    def _refill(self, now: float) -> float:
        back = (now - self._at) * self.limit.count / self.limit.seconds
        self._left, self._at = min(float(self.limit.count), self._left + back), now
        return self._left


class PageSize:
    """The size of the next page for one connection; it follows the client's line.

    A client asks for the next page when it has read the last one. When it asks quickly, the next page has twice the
    size. When it asks slowly, or when it could not take the whole page, the next page has half the size.
    """

    __slots__ = ("_at", "_size", "_topic", "_up_to")

    def __init__(self) -> None:
        # The last page, if more is to follow: of which topic, up to which seq, how many bytes, and when it was sent.
        # The topic is empty when nothing is to follow; then the next page begins a new recovery.
        self._topic = ""
        self._up_to = 0
        self._size = 0
        self._at = 0.0

    def next(self, topic: str, after: int, *, now: float) -> int:
        """Return how many bytes of events the next page may hold.

        Args:
            topic: of which the client asks what it has missed,
            after: this seq.
            now: seconds of a monotonic clock.
        """
        size = self._size
        waited = now - self._at
        if not self._topic:
            size = PAGE_BYTES
        elif waited > SLOW or (topic == self._topic and after < self._up_to):
            size //= 2
        elif waited <= QUICK:
            size *= 2
        return min(LARGEST_PAGE, max(PAGE_BYTES, size))

    def note(self, topic: str, up_to: int, size: int, *, now: float) -> None:
        """Note that a page was sent after which there is more."""
        self._topic, self._up_to, self._size, self._at = topic, up_to, size, now

    def note_last(self) -> None:
        """Note that a page was sent after which there is nothing more."""
        self._topic = ""
