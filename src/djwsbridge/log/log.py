"""Append to the log, and read from it what somebody has missed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction

from djwsbridge.conf import ENVELOPE_BYTES, settings
from djwsbridge.durable import (
    Appended,
    Cursors,
    NewEvent,
    Page,
    Recovery,
    Survey,
    Witness,
    check_size,
    erase_copies,
)
from djwsbridge.log import store
from djwsbridge.log.durability import weaknesses
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.frames import Push
from djwsbridge.protocol.pages import PAGE_BYTES
from djwsbridge.sequencer import Tip
from djwsbridge.transactions import transaction_in

__all__ = ["Log", "Scrubbed"]

RECENT = 30.0  # seconds; longer than any transaction that appends may take
SERVERS = "djwsbridge.servers"  # topic on which server processes note that they live
NOTHING = ("", 0)  # the cursor of who was there before the first event
PRUNED_AT_ONCE = 1_000  # events; a short lock each
PAGE = 500  # events that the reconciler reads at once
_PUSHES = msgspec.json.Decoder(list[Push])


class Scrubbed(NamedTuple):
    """How much was erased: events of the log, and copies of them that apps keep."""

    events: int
    copies: int


class Log:
    """The durable events of all topics."""

    def using(self) -> str:
        """Return the alias of the database that holds the log."""
        return store.using()

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Number and store events, in order; call it last in the transaction that makes them true.

        The lock of each topic is held from here to the commit, so the order of seqs is the order of commits and there
        is no hole: a transaction that is rolled back takes its numbers back.

        Raises:
            TransactionManagementError: there is no transaction.
            PayloadError: the data of an event is too large.
        """
        if not events:
            return []
        self._require_transaction()
        counts = Counter(event.topic for event in events)
        positions, now = store.advance(counts)
        last_seq = {topic: positions[topic].seq - count for topic, count in counts.items()}
        appended, rows = [], []
        for event in events:
            topic = event.topic
            seq = last_seq[topic] = last_seq[topic] + 1
            data = event.data(seq, now)
            # The first push of a topic teaches its epoch to the clients that were there before it.
            epoch = positions[topic].epoch if seq == 1 else None
            text = encode_push(event.type, topic=topic, epoch=epoch, seq=seq, data=data)
            if len(text) * 4 > settings.PAYLOAD_BYTES:  # seldom
                check_size(len(text.encode()) - ENVELOPE_BYTES)
            appended.append(Appended(topic, seq, now, text, data))
            rows.append(store.Row(positions[topic].topic_id, seq, event.type, text))
        store.insert(rows, now=now)
        return appended

    def lock(self, topics: Iterable[str]) -> None:
        """Hold back every append to topics until the present transaction ends.

        Raises:
            TransactionManagementError: there is no transaction.
        """
        self._require_transaction()
        counts = dict.fromkeys(topics, 0)
        if counts:
            store.advance(counts)

    def clear(self, topic: str) -> None:
        """Delete the events of a topic and keep its number, so that no later event gets one of theirs."""
        store.delete_events(topic)

    def recover(
        self, asked: Sequence[Cursors], *, size: int = PAGE_BYTES
    ) -> list[dict[str, Recovery]]:
        """Return, for each of those who ask, what was missed on each topic since a cursor, or that it cannot be said.

        Those who are equally far in a topic are answered from one query.

        Args:
            asked: the cursors of each.
            size: bytes of events for each, in all their topics.
        """
        positions = store.positions({topic for cursors in asked for topic in cursors})
        # What was read with the whole size.
        pages: dict[tuple[str, tuple[str, int] | None], Recovery] = {}
        return [self._recover_all(cursors, positions, size, pages) for cursors in asked]

    def read(self, topic: str, *, after: int, limit: int = PAGE) -> Page:
        """Return the frames of a topic after a seq, in order, at most `limit`."""
        position = store.positions([topic]).get(topic)
        if position is None:
            return Page(Tip(*NOTHING), [])
        frames = store.read(position.topic_id, after=after, up_to=position.seq, limit=limit)
        return Page(Tip(position.epoch, position.seq), frames)

    def tips(self, topics: Iterable[str]) -> dict[str, Tip]:
        """Return where the log of each topic stands that has one."""
        return {
            name: Tip(position.epoch, position.seq)
            for name, position in store.positions(topics).items()
        }

    def survey(self, witness: Witness | None) -> Survey:
        """Look at what has lately happened, and whether the history is still the one of the look before.

        A database that was rewound has lost the newest event of the look before and its number, or has stored another
        event in its place: `created` is the database's clock, in microseconds.
        """
        tips = store.recent_tips(dt.timedelta(seconds=RECENT))
        is_rewound = witness is not None and not store.has_kept(witness)
        return Survey(store.newest_event(), is_rewound, tips)

    def renew(self, topic: str, epoch: str) -> None:
        """Give a topic another epoch, unless it has another one by now."""
        store.renew_epoch([topic], unless_other_than=epoch)

    def meet(self, server: str, *, seconds: float) -> dict[str, int]:
        """Note that a server process lives; return the others of the last `seconds`, each with its newest number.

        What is older is deleted, so that the log does not grow by it.
        """
        age = dt.timedelta(seconds=seconds)
        with transaction_in(store.using()):
            self.append([NewEvent(SERVERS, server, lambda _seq, _now: {})])
            store.delete_events(SERVERS, older_than=age)
            found = store.newest_by_type(SERVERS)
        return {other: seq for other, seq in found.items() if other != server}

    def prune(self, age: dt.timedelta | None = None) -> int:
        """Delete events older than `age` (DJWSBRIDGE_LOG_DAYS unless told), a few at a time; return how many."""
        age = dt.timedelta(days=settings.LOG_DAYS) if age is None else age
        total = 0
        while deleted := store.delete_before(age, limit=PRUNED_AT_ONCE):
            total += deleted
        return total

    def scrub(self, topic: str, seqs: Sequence[int]) -> Scrubbed:
        """Erase the payloads of events, here and where apps keep copies, and keep their numbers."""
        with transaction_in(store.using()):
            frames = {
                seq: encode_push(type_, topic=topic, seq=seq, data={"scrubbed": True})
                for seq, type_ in store.types_of(topic, seqs).items()
            }
            store.replace_payloads(topic, frames)
            return Scrubbed(len(frames), erase_copies(topic, seqs))

    def weaknesses(self) -> list[str]:
        """Return a sentence for each setting of the database by which an acknowledged message can be lost."""
        return weaknesses()

    @staticmethod
    def _require_transaction() -> None:
        if not transaction.get_connection(store.using()).in_atomic_block:
            raise transaction.TransactionManagementError("The log is appended to in a transaction.")

    def _recover_all(
        self,
        cursors: Cursors,
        positions: Mapping[str, store.Position],
        size: int,
        pages: dict[tuple[str, tuple[str, int] | None], Recovery],
    ) -> dict[str, Recovery]:
        """Return what one of those who ask has missed; nothing is read that finds no room in the answer."""
        found: dict[str, Recovery] = {}
        left = size
        for each in cursors.items():
            topic, cursor = each
            position = positions.get(topic)
            if position is None:
                continue
            if left > 0 and each not in pages:
                pages[each] = self._recover(position, cursor, size)
            recovery = pages.get(each)
            if recovery is None or (left < size and recovery.size > left):
                recovery = self._recover(position, cursor, left)
            found[topic] = recovery
            left -= recovery.size
        return found

    def _recover(
        self, position: store.Position, cursor: tuple[str, int] | None, size: int
    ) -> Recovery:
        """Return what was missed on one topic: the events that fit into `size` bytes, at least one; none if it is 0."""
        if cursor is None:
            return Recovery(position.epoch, position.seq, recovered=False)
        if cursor == NOTHING:
            cursor = (position.epoch, 0)
        if cursor[0] != position.epoch or cursor[1] > position.seq:
            reason = ErrorCode.EPOCH_CHANGED.value
            return Recovery(position.epoch, position.seq, recovered=False, reason=reason)
        if cursor[1] == position.seq or size <= 0:
            more = cursor[1] < position.seq
            return Recovery(position.epoch, position.seq, recovered=True, more=more)
        page = store.read_page(
            position.topic_id,
            after=cursor[1],
            up_to=position.seq,
            size=size,
            largest=settings.push_bytes,
        )
        # One is gone when the cursor is older than what is kept; or, since age is by a clock that may have stepped
        # back, from the middle. Or the next one is larger than a client can be sent, and is left out.
        if page.count == 0 or page.last != cursor[1] + page.count or not _are_pushes(page.events):
            return Recovery(position.epoch, position.seq, recovered=False)
        return Recovery(
            position.epoch,
            position.seq,
            recovered=True,
            events=msgspec.Raw(page.events),
            last=page.last,
            more=page.last != position.seq,
        )


def _are_pushes(events: str) -> bool:
    """Say whether clients can read a JSON array of pushes: one that they cannot would spoil the whole answer."""
    try:
        _PUSHES.decode(events)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True
