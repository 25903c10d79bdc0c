"""Append to the log, and read from it what somebody has missed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from django.db import transaction

from djwsbridge.conf import settings
from djwsbridge.durable import (
    Appended,
    Cursors,
    NewEvent,
    Page,
    Recovery,
    Survey,
    Witness,
    erase_copies,
)
from djwsbridge.log import store
from djwsbridge.log.durability import weaknesses
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.sequencer import Tip, seq_of

__all__ = ["Log", "Scrubbed"]

RECENT = 30.0  # seconds; longer than any transaction that appends may take
NOTHING = ("", 0)  # the cursor of who was there before the first event
PRUNED_AT_ONCE = 1_000  # events; a short lock each
PAGE = 500  # events in one answer; further ones are asked for page by page


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

    def recover(self, asked: Sequence[Cursors]) -> list[dict[str, Recovery]]:
        """Return, for each of those who ask, what was missed on each topic since a cursor, or that it cannot be said.

        Who is equally far in a topic is answered from one query.

        Args:
            asked: the cursors of each.
        """
        positions = store.positions({topic for cursors in asked for topic in cursors})
        known: dict[tuple[str, tuple[str, int] | None], Recovery] = {}
        for topic, cursor in {each for cursors in asked for each in cursors.items()}:
            if topic in positions:
                known[topic, cursor] = self._recover(positions[topic], cursor)
        return [
            {each[0]: known[each] for each in cursors.items() if each in known} for cursors in asked
        ]

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

    def prune(self, age: dt.timedelta | None = None) -> int:
        """Delete events older than `age` (DJWSBRIDGE_LOG_DAYS unless told), a few at a time; return how many."""
        age = dt.timedelta(days=settings.LOG_DAYS) if age is None else age
        total = 0
        while deleted := store.delete_before(age, limit=PRUNED_AT_ONCE):
            total += deleted
        return total

    def scrub(self, topic: str, seqs: Sequence[int]) -> Scrubbed:
        """Erase the payloads of events, here and where apps keep copies, and keep their numbers."""
        with transaction.atomic(using=store.using()):
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

    def _recover(self, position: store.Position, cursor: tuple[str, int] | None) -> Recovery:
        if cursor is None:
            return Recovery(position.epoch, position.seq, recovered=False)
        if cursor == NOTHING:
            cursor = (position.epoch, 0)
        if cursor[0] != position.epoch or cursor[1] > position.seq:
            reason = ErrorCode.EPOCH_CHANGED.value
            return Recovery(position.epoch, position.seq, recovered=False, reason=reason)
        missed: list[str] = []
        known = True
        if cursor[1] < position.seq:
            missed = store.read(position.topic_id, after=cursor[1], up_to=position.seq, limit=PAGE)
            # One is gone when the cursor is older than what is kept; or, since age is by a clock that may have stepped
            # back, from the middle.
            known = bool(missed) and seq_of(missed[-1]) == cursor[1] + len(missed)
        return Recovery(
            position.epoch,
            position.seq,
            recovered=known,
            events=[msgspec.Raw(text.encode()) for text in missed] if known else [],
            more=known and bool(missed) and seq_of(missed[-1]) != position.seq,
        )
