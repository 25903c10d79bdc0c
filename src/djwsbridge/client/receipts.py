"""What the members of rooms have: told to the server (acks), and heard of others (receipts)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType

import msgspec

from djwsbridge.client.frames import Push, ReceiptEntry

__all__ = ["Acks", "Receipts"]

# Seconds between two acks; each counts as a frame, of which the server takes 120 in 60 s.
INTERVAL = 2.0
ROOMS = 50  # of one ack; the server takes no more than 200 and refuses more for good
ROOM_PREFIX = "room."  # only members of rooms have a `delivered_seq`


class Acks:
    """Collect what to acknowledge; the first goes at once, the next ones together."""

    def __init__(self) -> None:
        # Topic → what this client has.
        self._had: dict[str, int] = {}
        # What is being acknowledged; None when nothing is.
        self._in_flight: dict[str, int] | None = None
        self._not_before = 0.0
        # False when the server does not know the command.
        self._is_supported = True

    def note(self, topic: str, seq: int) -> None:
        """Note that everything of a topic up to a seq is here."""
        if topic.startswith(ROOM_PREFIX):
            self._had[topic] = seq

    def forget(self, topic: str) -> None:
        """Drop what is noted of a topic: its history was replaced, and the numbers are of the one before."""
        self._had.pop(topic, None)
        if self._in_flight is not None:
            self._in_flight.pop(topic, None)

    @property
    def deadline(self) -> float | None:
        """Return when `take` is worth asking again; None when there is nothing to say."""
        if not self._had or self._in_flight is not None or not self._is_supported:
            return None
        return self._not_before

    def take(self, *, now: float) -> Mapping[str, int] | None:
        """Return the seqs to acknowledge now, if any; then call `confirm`, `retry` or `stop`."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return None
        self._not_before = now + INTERVAL
        topics = list(islice(self._had, ROOMS))
        self._in_flight = {topic: self._had.pop(topic) for topic in topics}
        return self._in_flight

    def confirm(self) -> None:
        """Note that the server has taken them, or never will."""
        self._in_flight = None

    def retry(self, *, not_before: float) -> None:
        """Note that the server has not taken them: they go with the next ones."""
        self._had = {**(self._in_flight or {}), **self._had}
        self._in_flight = None
        self._not_before = max(self._not_before, not_before)

    def stop(self) -> None:
        """Say nothing more on this connection."""
        self._in_flight = None
        self._is_supported = False

    def greet(self) -> None:
        """Begin anew on a new connection, which says at once what is here."""
        self._is_supported = True
        self._not_before = 0.0


class Receipts:
    """What each member of each room has, as far as the server told. It only grows within one history of the room."""

    def __init__(self) -> None:
        # Topic → user → newest.
        self._topics: dict[str, dict[int | str, ReceiptEntry]] = {}

    def of(self, topic: str) -> Mapping[int | str, ReceiptEntry]:
        """Return the receipts of a room by user."""
        return MappingProxyType(self._topics.get(topic, {}))

    def forget(self, topic: str) -> None:
        """Drop what is known of a room: its history was replaced, and the numbers are of the one before."""
        self._topics.pop(topic, None)

    def take(self, topic: str, entries: Iterable[ReceiptEntry]) -> None:
        """Take what the server tells of some members."""
        known = self._topics.setdefault(topic, {})
        for entry in entries:
            before = known.get(entry.user, entry)
            seqs = [seq for seq in (before.read_seq, entry.read_seq) if seq is not None]
            known[entry.user] = ReceiptEntry(
                entry.user,
                max(before.delivered_seq, entry.delivered_seq),
                max(seqs) if entry.read_seq is not None else None,
            )

    def hear(self, push: Push) -> None:
        """Take a `receipt` push; anything else is passed over."""
        if push.type != "receipt" or push.topic is None:
            return
        try:
            entry = msgspec.convert(push.data, ReceiptEntry)
        except msgspec.ValidationError:
            return
        self.take(push.topic, [entry])
