"""Put the durable pushes of each topic in order, once each, as they reach this node.

The engine may lose, double and reorder pushes: they are hints. The sequencer releases the push that comes next, holds a
push that came too early, and reports gaps, so that the node can read the log.

It also remembers what it released last. A push that contradicts this memory puts the topic in doubt: the history may
have been rewound. A topic in doubt releases nothing until the log has been read. A number from before the memory is
most probably a late duplicate: the log is to be read then, too, and the topic goes on meanwhile. No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["MAX_HELD", "Sequencer", "Tip", "seq_of"]

MAX_HELD = 1_000  # pushes of one topic that wait for an earlier one; beyond it the log is the better source
REMEMBERED = 16  # released pushes of a topic by which a duplicate is told from a contradiction
_SEQ = re.compile(r'"seq":(\d+),"data":')
_SCRUBBED = '"data":{"scrubbed":true}}'


class Tip(NamedTuple):
    """Where the log of a topic stands."""

    epoch: str
    seq: int


def seq_of(text: str) -> int | None:
    """Return the number of a push, None when it is not durable, without reading the whole of it.

    `encode_push` writes `seq` right before `data`, and neither a type nor a topic can hold a quotation mark.
    """
    head = text.find('"data":')
    found = _SEQ.search(text, 0, head + len('"data":')) if head >= 0 else None
    return int(found[1]) if found else None


@dataclass(slots=True)
class _Track:
    """One topic: what was released here, and what waits."""

    # The newest seq that was released.
    delivered: int
    # The life of the log that it belongs to; empty until the log has been read, and before its first event.
    epoch: str = ""
    # Pushes that came too early, by seq.
    held: dict[int, str] = field(default_factory=dict)
    # The hashes of the last pushes that were released, by seq.
    released: dict[int, int] = field(default_factory=dict)


class Sequencer:
    """The order of every durable topic that this node listens to."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        # Topics on which a push waits for an earlier one.
        self._gapped: set[str] = set()
        # Topics that release nothing until the log has been read; and topics that go on meanwhile.
        self._doubted: set[str] = set()
        self._unsure: set[str] = set()
        # Topics that have released a push since `take_moved` was last called.
        self._moved: set[str] = set()

    def start(self, topic: str, tip: Tip) -> list[str]:
        """Learn where the log of a topic stands. Return the pushes that may be delivered now.

        The position of a topic that already has subscribers here stays: they have not yet received what the new
        subscriber has just recovered. Another epoch puts the topic in doubt.
        """
        track = self._tracks.setdefault(topic, _Track(tip.seq, tip.epoch))
        if not track.epoch:
            track.epoch = tip.epoch
        elif track.epoch != tip.epoch:
            self._doubted.add(topic)
        return self._release(topic, track)

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic: it has no subscriber here any more."""
        self._tracks.pop(topic, None)
        for topics in (self._gapped, self._doubted, self._unsure, self._moved):
            topics.discard(topic)

    def accept(self, topic: str, seq: int, text: str) -> list[str]:
        """Take a push. Return what is to be delivered now, in order."""
        track = self._tracks.get(topic)
        if track is None:
            # The position of this topic is not known yet. The push is released: clients know their own cursors.
            track = self._tracks[topic] = _Track(seq - 1)
        if seq <= track.delivered:
            self._compare(topic, track, seq, text)
            return []
        if seq == track.delivered + 1 and not track.held and topic not in self._doubted:  # usually
            self._note(topic, track, seq, text)
            return [text]
        if seq == track.delivered + 1 or len(track.held) < MAX_HELD:
            track.held[seq] = text
        return self._release(topic, track)

    def contradicts(self, topic: str, seq: int, text: str) -> bool:
        """Say whether the log holds another push under a seq than this node has released.

        The content of a stored push may have been erased since: an erased push contradicts nothing.
        """
        track = self._tracks.get(topic)
        known = None if track is None else track.released.get(seq)
        return known is not None and known != hash(text) and not text.endswith(_SCRUBBED)

    def trust(self, topic: str) -> list[str]:
        """End the doubt: the log agrees with what was released. Return the pushes that may be delivered now."""
        self._doubted.discard(topic)
        self._unsure.discard(topic)
        track = self._tracks.get(topic)
        return [] if track is None else self._release(topic, track)

    def restart(self, topic: str, tip: Tip) -> None:
        """Go on from another history; what was released and held belongs to the one before."""
        if topic in self._tracks:
            self.forget(topic)
            self._tracks[topic] = _Track(tip.seq, tip.epoch)

    def drop_held(self, topic: str, seqs: Iterable[int]) -> None:
        """Drop held pushes that the log does not have."""
        track = self._tracks.get(topic)
        if track is not None:
            for seq in seqs:
                track.held.pop(seq, None)
            self._release(topic, track)

    def skip(self, topic: str, seq: int) -> list[str]:
        """Go on behind a seq: the log has deleted what came before it. Return what may be delivered now.

        A topic in doubt stays where it is.
        """
        track = self._tracks.get(topic)
        if track is None or topic in self._doubted or seq <= track.delivered:
            return []
        track.delivered = seq
        track.released.clear()
        return self._release(topic, track)

    def position(self, topic: str) -> Tip | None:
        """Return the epoch and the newest seq that was released on a topic; None when nothing is known of it.

        The epoch is empty until the log has been read, and before the first event.
        """
        track = self._tracks.get(topic)
        return None if track is None else Tip(track.epoch, track.delivered)

    def delivered(self, topic: str) -> int | None:
        """Return the newest seq that was released on a topic; None when nothing is known of it."""
        track = self._tracks.get(topic)
        return None if track is None else track.delivered

    def anchor(self, topic: str) -> int:
        """Return the seq after which the log is to be read, so that it shows what was released last as well."""
        track = self._tracks[topic]
        return min(track.released, default=track.delivered + 1) - 1

    def held(self, topic: str) -> list[int]:
        """Return the seqs of the pushes that wait for an earlier one."""
        return list(self._tracks[topic].held)

    def topics(self) -> list[str]:
        """Return the topics of which something is known."""
        return list(self._tracks)

    def take_moved(self) -> set[str]:
        """Return the topics that have released a push since the last call."""
        moved, self._moved = self._moved, set()
        return moved

    @property
    def has_suspects(self) -> bool:
        """Say whether the log of any topic has to be read."""
        return bool(self._gapped or self._doubted or self._unsure)

    @property
    def suspects(self) -> set[str]:
        """Return the topics of which the log has to be read: a push waits, or the history may be another one."""
        return self._gapped | self._doubted | self._unsure

    def differing(self, tips: Mapping[str, Tip]) -> set[str]:
        """Return which of these topics stand elsewhere in the log than here."""
        return {
            topic
            for topic, tip in tips.items()
            if (track := self._tracks.get(topic)) is not None
            and (track.delivered != tip.seq or track.epoch != tip.epoch)
        }

    def _compare(self, topic: str, track: _Track, seq: int, text: str) -> None:
        """Compare a push whose number was released before with the memory."""
        known = track.released.get(seq)
        if known is None:
            self._unsure.add(topic)
        elif known != hash(text) and not text.endswith(_SCRUBBED):
            self._doubted.add(topic)

    def _note(self, topic: str, track: _Track, seq: int, text: str) -> None:
        track.delivered = seq
        track.released[seq] = hash(text)
        track.released.pop(seq - REMEMBERED, None)
        self._moved.add(topic)

    def _release(self, topic: str, track: _Track) -> list[str]:
        """Take out of what waits everything that now comes next."""
        for seq in [seq for seq in track.held if seq <= track.delivered]:
            self._compare(topic, track, seq, track.held.pop(seq))
        ready = []
        if topic not in self._doubted:
            while track.delivered + 1 in track.held:
                seq = track.delivered + 1
                ready.append(track.held.pop(seq))
                self._note(topic, track, seq, ready[-1])
        if track.held:
            self._gapped.add(topic)
        else:
            self._gapped.discard(topic)
        return ready
