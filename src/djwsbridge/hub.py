"""This node's registry: which connections listen to which topic.

One thread, one event loop: the hub is only touched from the loop that serves the connections, so it needs no lock.

A push is written once for each dialect. Where the server lets us write frames ourselves (`protocol.wire`) it is framed
once, too, and what is pushed on a topic within one turn of the loop leaves in one write per reader, together with what
that reader is told alone (`write_soon`): the system call is what a delivery costs, and that saves all but one of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from djwsbridge.protocol.server import Dialect
from djwsbridge.protocol.wire import text_frame

__all__ = ["Hub", "Subscriber"]

logger = logging.getLogger("djwsbridge.hub")

# Bytes of one topic that wait for the end of the turn; beyond it they are written at once.
JOINED_BYTES = 262_144

Write = Callable[[bytes], None]


class Subscriber(Protocol):
    """What the hub needs of a connection."""

    @property
    def dialect(self) -> Dialect:
        """Return how its frames look."""

    @property
    def write(self) -> Write | None:
        """Return what takes ready frames; None while it wants texts: no wire, or a reader that is slow.

        Whoever changes it tells the hub (`Hub.refresh`).
        """

    def push(self, text: str) -> None:
        """Take one frame for this connection. Must return at once and must not raise."""


class _Group:
    """The subscribers of one topic that speak one dialect."""

    __slots__ = ("frames", "readers", "size", "writers")

    def __init__(self) -> None:
        # Who takes texts, and who takes ready frames, in order of subscription. Nobody is in both.
        self.readers: dict[Subscriber, None] = {}
        self.writers: dict[Subscriber, Write] = {}
        # Ready frames for the writers that wait for the end of this turn of the loop, and their bytes.
        self.frames: list[bytes] = []
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.readers or self.writers)

    def put(self, subscriber: Subscriber) -> None:
        """Add a subscriber, or move it to where it belongs now."""
        write = subscriber.write
        if write is None:
            self.writers.pop(subscriber, None)
            self.readers[subscriber] = None
        else:
            self.readers.pop(subscriber, None)
            self.writers[subscriber] = write

    def discard(self, subscriber: Subscriber) -> None:
        """Remove a subscriber, if it is there."""
        self.readers.pop(subscriber, None)
        self.writers.pop(subscriber, None)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self.writers or subscriber in self.readers

    def __iter__(self) -> Iterator[Subscriber]:
        yield from list(self.writers)
        yield from list(self.readers)

    def deliver(self, text: str) -> None:
        """Hand a text to the readers, and note its frame for the writers; `flush` writes it."""
        for reader in list(self.readers):
            reader.push(text)
        if self.writers:
            frame = text_frame(text)
            self.frames.append(frame)
            self.size += len(frame)

    def flush(self, alone: dict[Write, list[bytes]]) -> None:
        """Write what has come together, in one piece per writer.

        Args:
            alone: frames for one writer each, which go first; what is pushed to such a writer is put behind them.
        """
        frames = _join(self.frames)
        self.frames, self.size = [], 0
        if alone:
            self._flush_behind(alone, frames)
        else:
            for write in list(self.writers.values()):
                write(frames)

    def _flush_behind(self, alone: dict[Write, list[bytes]], frames: bytes) -> None:
        for write in list(self.writers.values()):
            own = alone.get(write)
            if own is None:
                write(frames)
            else:
                own.append(frames)


class Hub:
    """Topic → subscriptions of this node."""

    def __init__(self) -> None:
        # Topic → dialect → subscribers. No empty group, and no topic without one, is kept.
        self._topics: dict[str, dict[Dialect, _Group]] = {}
        # Groups with frames to be written at the end of this turn of the loop, and frames for one writer each.
        self._unwritten: dict[_Group, None] = {}
        self._alone: dict[Write, list[bytes]] = {}
        # Whether that end is planned.
        self._is_planned = False

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def add(self, topic: str, subscriber: Subscriber) -> None:
        """Let a subscriber listen to a topic, to what is pushed from now on; twice is once."""
        group = self._topics.setdefault(topic, {}).setdefault(subscriber.dialect, _Group())
        self._flush(group)
        group.put(subscriber)

    def remove(self, topic: str, subscriber: Subscriber) -> None:
        """End a subscription, if there is one."""
        group = self._group(topic, subscriber)
        if group is None:
            return
        self._flush(group)
        group.discard(subscriber)
        if not group:
            dialects = self._topics[topic]
            del dialects[subscriber.dialect]
            if not dialects:
                del self._topics[topic]

    def refresh(self, topic: str, subscriber: Subscriber) -> None:
        """Learn that a subscriber's `write` has changed; what waits for the end of the turn is for the one before."""
        group = self._group(topic, subscriber)
        if group is not None:
            self._flush(group)
            group.put(subscriber)

    def topics(self) -> Collection[str]:
        """Return the topics that somebody here listens to."""
        return self._topics.keys()

    def subscribers(self, topic: str) -> Iterator[Subscriber]:
        """Yield the subscribers of a topic; the caller may change the hub meanwhile."""
        for group in list(self._topics.get(topic, {}).values()):
            yield from group

    def deliver(self, topic: str, text: str) -> None:
        """Hand a push to every subscriber of its topic, written once per dialect.

        Args:
            topic: where it was published.
            text: the push in the v1 dialect, as the engine carries it.
        """
        for dialect, group in list(self._topics.get(topic, {}).items()):
            try:
                written = dialect.encode_push(text)
            except Exception:
                logger.exception("A push on %s cannot be written in dialect %r.", topic, dialect)
                continue
            if written is not None:
                group.deliver(written)
                if group.size > JOINED_BYTES:
                    self._flush(group)
                elif group.frames:
                    self._unwritten[group] = None
                    self._plan()

    def write_soon(self, write: Write, frame: bytes) -> None:
        """Write a frame for one connection at the end of this turn of the loop, before what is pushed to it in it."""
        if not self._alone and not self._is_planned:
            # One step later than `_plan` alone: what was published before is delivered first, and comes along.
            asyncio.get_running_loop().call_soon(self._plan)
        self._alone.setdefault(write, []).append(frame)

    def write_now(self, write: Write) -> None:
        """Write what waits for one connection alone."""
        frames = self._alone.pop(write, None)
        if frames is not None:
            write(_join(frames))

    def forget(self, write: Write) -> None:
        """Drop what waits for one connection alone: it is gone."""
        self._alone.pop(write, None)

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._flush_all)

    def _flush_all(self) -> None:
        self._is_planned = False
        unwritten, self._unwritten = self._unwritten, {}
        for group in unwritten:
            self._flush(group)
        alone, self._alone = self._alone, {}
        for write, frames in alone.items():
            write(_join(frames))

    def _flush(self, group: _Group) -> None:
        """Write what waits; before somebody comes or goes, too: it is for those who are there now."""
        if group.frames:
            group.flush(self._alone)

    def _group(self, topic: str, subscriber: Subscriber) -> _Group | None:
        group = self._topics.get(topic, {}).get(subscriber.dialect)
        return group if group is not None and subscriber in group else None


def _join(frames: list[bytes]) -> bytes:
    return frames[0] if len(frames) == 1 else b"".join(frames)
