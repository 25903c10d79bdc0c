"""Put the durable pushes of each topic in order, once each, as they reach this node.

The engine may lose, double and reorder: what it carries are hints. The sequencer lets through what comes next, holds
what came too early, and says where something is missing, so that the node can read it from the log. No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MAX_HELD", "Sequencer", "seq_of"]

MAX_HELD = 1_000  # pushes of one topic that wait for an earlier one; beyond it the log is the better source
_SEQ = re.compile(r'"seq":(\d+),"data":')


def seq_of(text: str) -> int | None:
    """Return the number of a push, None when it is not durable, without reading the whole of it.

    `encode_push` writes `seq` right before `data`, and neither a type nor a topic can hold a quotation mark.
    """
    head = text.find('"data":')
    found = _SEQ.search(text, 0, head + len('"data":')) if head >= 0 else None
    return int(found[1]) if found else None


@dataclass
class _Track:
    """One topic: what was delivered here, and what waits."""

    delivered: int
    held: dict[int, str] = field(default_factory=dict)


class Sequencer:
    """The order of every durable topic that this node listens to."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}
        # Topics on which something waits for an earlier push.
        self._gapped: set[str] = set()

    def start(self, topic: str, seq: int) -> list[str]:
        """Learn where an unknown topic stands; returns what may be delivered now.

        Nothing changes for a topic that others here listen to: what one reader has just recovered, they have not.
        """
        return self._release(topic, self._tracks.setdefault(topic, _Track(seq)))

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic: nobody here listens any more."""
        self._tracks.pop(topic, None)
        self._gapped.discard(topic)

    def accept(self, topic: str, seq: int, text: str) -> list[str]:
        """Take a push and return what is to be delivered now, in order; a push that was delivered before is dropped."""
        track = self._tracks.get(topic)
        if track is None:
            # Nobody has said yet where this topic stands: let it through, clients know their own cursors.
            self._tracks[topic] = _Track(seq)
            return [text]
        if seq <= track.delivered:
            return []
        if seq == track.delivered + 1 and not track.held:  # as nearly always
            track.delivered = seq
            return [text]
        if seq == track.delivered + 1 or len(track.held) < MAX_HELD:
            track.held[seq] = text
        return self._release(topic, track)

    def delivered(self, topic: str) -> int | None:
        """Return the newest seq that was delivered on a topic; None when nothing is known of it."""
        track = self._tracks.get(topic)
        return None if track is None else track.delivered

    def topics(self) -> list[str]:
        """Return the topics of which something is known."""
        return list(self._tracks)

    def gaps(self) -> dict[str, int]:
        """Return the topics on which something waits for an earlier push, with the last seq before the gap."""
        return {topic: self._tracks[topic].delivered for topic in self._gapped}

    @property
    def has_gaps(self) -> bool:
        """Say whether something waits for an earlier push."""
        return bool(self._gapped)

    def behind(self, tips: Mapping[str, int]) -> dict[str, int]:
        """Return which of these topics have more in the log than was delivered, with the last seq delivered."""
        return {
            topic: track.delivered
            for topic, tip in tips.items()
            if (track := self._tracks.get(topic)) is not None and track.delivered < tip
        }

    def _release(self, topic: str, track: _Track) -> list[str]:
        """Take out of what waits everything that now comes next."""
        for seq in [seq for seq in track.held if seq <= track.delivered]:
            del track.held[seq]
        ready = []
        while track.delivered + 1 in track.held:
            track.delivered += 1
            ready.append(track.held.pop(track.delivered))
        if track.held:
            self._gapped.add(topic)
        else:
            self._gapped.discard(topic)
        return ready
