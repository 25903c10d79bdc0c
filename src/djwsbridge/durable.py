"""What the core needs of a log, and where an installed one is found.

The app `djwsbridge.log` implements `DurableLog` and names itself here when it is ready. Without it everything works but
what is durable.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from djwsbridge.conf import settings
from djwsbridge.protocol.errors import PayloadError
from djwsbridge.sequencer import Tip

__all__ = [
    "Appended",
    "Cursors",
    "DurableLog",
    "NewEvent",
    "Page",
    "Recovery",
    "Survey",
    "Witness",
    "check_size",
    "erase_copies",
    "installed_log",
    "register_eraser",
    "use_log",
]

#: Topic → (epoch, seq), how far somebody is; None for a topic of which they have nothing.
Cursors = Mapping[str, tuple[str, int] | None]
#: Erases what an app keeps of a topic's events besides the log: (topic, seqs) → of how many.
Eraser = Callable[[str, Sequence[int]], int]


class NewEvent(msgspec.Struct, frozen=True):
    """Something that is to happen on a topic.

    Attributes:
        topic: where.
        type: what, in the past tense, such as `message.sent`.
        data: makes the payload once the event's seq and moment are known; a Struct, a dict or ready JSON.
    """

    topic: str
    type: str
    data: Callable[[int, dt.datetime], object]


class Appended(msgspec.Struct, frozen=True):
    """An event that has its number.

    Attributes:
        topic: where.
        seq: its number there.
        created: the database's clock at the moment of numbering.
        text: the push as it goes over the wire.
        data: the payload as `NewEvent.data` made it.
    """

    topic: str
    seq: int
    created: dt.datetime
    text: str
    data: object


def check_size(size: int) -> None:
    """Refuse the data of a push that a client could not be sent.

    Raises:
        PayloadError: it has more bytes than DJWSBRIDGE_PAYLOAD_BYTES.
    """
    limit = settings.PAYLOAD_BYTES
    if size > limit:
        raise PayloadError(
            f"This payload has {size} bytes, and DJWSBRIDGE_PAYLOAD_BYTES allows {limit}. Push where the data can be "
            "loaded from instead of the data."
        )


class Recovery(msgspec.Struct, frozen=True):
    """What a client is told of a topic when it comes back.

    Attributes:
        epoch: the present life of the log.
        seq: the newest event's number.
        recovered: whether `events` is all that was missed since the client's cursor, up to `seq` or for a first page.
        events: a JSON array of the missed pushes, in order, as they go over the wire; None when there are none.
        last: the number of the last of `events`; 0 when there are none.
        more: whether there are further ones, to be asked for page by page.
        reason: `epoch_changed` when the client's cursor belongs to a history that was replaced.
    """

    epoch: str
    seq: int
    recovered: bool
    events: msgspec.Raw | None = None
    last: int = 0
    more: bool = False
    reason: str | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the events."""
        return 0 if self.events is None else len(memoryview(self.events))


class Page(NamedTuple):
    """A part of a topic's log.

    Attributes:
        tip: where the log stood when it was read; an empty epoch and 0 for a topic without a log.
        frames: pushes in order, as they go over the wire.
    """

    tip: Tip
    frames: list[str]


class Witness(NamedTuple):
    """One stored event, by which a later look finds out whether the database still has the same history."""

    id: int
    topic_id: int
    seq: int
    created: dt.datetime


class Survey(NamedTuple):
    """What a look at the whole log has found.

    Attributes:
        witness: the newest event; None in an empty log.
        is_rewound: whether the witness of the look before is gone, or another event has taken its place.
        tips: where the log of each topic stands that has an event of the last half minute.
    """

    witness: Witness | None
    is_rewound: bool
    tips: dict[str, Tip]


class DurableLog(Protocol):
    """The log as the core sees it. All of it is sync and talks to the database."""

    def using(self) -> str:
        """Return the alias of the database that holds the log."""

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Number and store events in the present transaction."""

    def lock(self, topics: Iterable[str]) -> None:
        """Hold back every append to topics until the present transaction ends."""

    def clear(self, topic: str) -> None:
        """Delete the events of a topic and keep its number."""

    def recover(self, asked: Sequence[Cursors], *, size: int) -> list[dict[str, Recovery]]:
        """Return, for each of those who ask, of each topic that has a log what was missed since a cursor.

        Each gets about `size` bytes of events in all their topics, never less than one event. The rest is `more`.
        """

    def read(self, topic: str, *, after: int) -> Page:
        """Return the pushes of a topic after a seq, in order, one page at most."""

    def tips(self, topics: Iterable[str]) -> dict[str, Tip]:
        """Return where the log of each topic stands that has one."""

    def survey(self, witness: Witness | None) -> Survey:
        """Look at what has lately happened, and whether the history is still the one of the look before."""

    def renew(self, topic: str, epoch: str) -> None:
        """Give a topic another epoch, unless it has another one by now."""

    def meet(self, server: str, *, seconds: float) -> Mapping[str, int]:
        """Note that a server process lives; return the others of the last `seconds`, each with its newest number."""

    def prune(self) -> int:
        """Delete what is older than the project wants to keep; return how many events there were."""

    def weaknesses(self) -> list[str]:
        """Return a sentence for each setting of the database by which an acknowledged message can be lost."""


_installed: list[DurableLog] = []
_erasers: dict[str, Eraser] = {}


def use_log(log: DurableLog) -> None:
    """Name the log of this process; called when its app is ready."""
    _installed[:] = [log]


def installed_log() -> DurableLog | None:
    """Return the log of this process, if its app is installed."""
    return _installed[0] if _installed else None


def register_eraser(prefix: str, erase: Eraser) -> None:
    """Name what erases an app's own copies of events of the topics `<prefix>.<anything>`; called when the app is ready.

    Args:
        prefix: what stands before the first dot.
        erase: sync, in the transaction that scrubs the log.
    """
    _erasers[prefix] = erase


def erase_copies(topic: str, seqs: Sequence[int]) -> int:
    """Erase what apps keep of events besides the log; return of how many. Talks to the database."""
    erase = _erasers.get(topic.partition(".")[0])
    return erase(topic, seqs) if erase is not None else 0
