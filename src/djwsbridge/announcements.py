"""Tell connections that topics have moved which they do not listen to in full.

A user may be a member of ten thousand rooms. To listen to all of them would cost as many subscriptions at the engine
for each connection, and a page that shows one room needs the pushes of that one. A connection therefore listens to a
bounded number of topics. For each of the others it is told the newest seq whenever that has changed.

Nothing is published for that: the reconciler looks every few seconds which topics have changed in the log, and the node
tells its own connections. No connection costs a query, a message of the engine or a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from djwsbridge.sequencer import Tip

__all__ = ["Announcements", "Reader"]


class Reader(Protocol):
    """What announcements need of a connection."""

    def tell_moved(self, seqs: dict[str, int]) -> None:
        """Take the newest seq by topic. Must return at once and must not raise."""


class Announcements:
    """Topic → the connections of this node that are told when it has moved."""

    def __init__(self) -> None:
        # No topic without a reader is kept.
        self._readers: dict[str, dict[Reader, None]] = {}
        # Where each of these topics stood when that was last told; a topic of which nothing was told has no entry.
        self._told: dict[str, Tip] = {}

    def add(self, topics: Iterable[str], reader: Reader) -> None:
        """Tell a connection from now on when one of these topics has moved. Idempotent."""
        for topic in topics:
            self._readers.setdefault(topic, {})[reader] = None

    def remove(self, topics: Iterable[str], reader: Reader) -> None:
        """Tell a connection no more. A topic that it was not told of changes nothing."""
        for topic in topics:
            readers = self._readers.get(topic)
            if readers is not None:
                readers.pop(reader, None)
                if not readers:
                    del self._readers[topic]
                    self._told.pop(topic, None)

    def topics(self) -> Collection[str]:
        """Return the topics of which any connection is told."""
        return self._readers.keys()

    def begin(self, tips: Mapping[str, Tip]) -> None:
        """Learn what a connection was told in another way. Call it after `add`, so that nothing is missed in between.

        Args:
            tips: where the logs of topics stood after the connection was added.
        """
        for topic, tip in tips.items():
            if topic in self._readers and self._told.setdefault(topic, tip) != tip:
                del self._told[
                    topic
                ]  # its readers know different seqs: the next look tells all of them

    def tell(self, tips: Mapping[str, Tip]) -> None:
        """Tell every connection which of its topics stand elsewhere than it was told.

        Args:
            tips: where the logs of topics stand, as they were just read.
        """
        moved: dict[Reader, dict[str, int]] = {}
        for topic in tips.keys() & self._readers.keys():
            tip = tips[topic]
            if self._told.get(topic) != tip:
                self._told[topic] = tip
                for reader in self._readers[topic]:
                    moved.setdefault(reader, {})[topic] = tip.seq
        for reader, seqs in moved.items():
            reader.tell_moved(seqs)
