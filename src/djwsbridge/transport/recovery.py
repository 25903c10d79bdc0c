"""What a connection is told of its topics when it comes back: subscribe first (done by now), read second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from djwsbridge.durable import Recovery, installed_log
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import Cursor
from djwsbridge.protocol.pages import PAGE_BYTES, PageSize
from djwsbridge.sequencer import Tip
from djwsbridge.transport import registry
from djwsbridge.transport.together import Together

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from djwsbridge.transport.connection import Connection

__all__ = ["recover", "recover_announced", "recover_page"]

LARGE_PAGES = 2  # that a node reads at once: several copies of each are held until it is on its way
PATIENCE = 1.0  # seconds that a page waits for the user's bytes to come back

NOTHING_YET = Recovery(epoch="", seq=0, recovered=True)  # of a topic that never had an event


async def recover(
    connection: Connection, topics: Iterable[str], cursors: Mapping[str, Cursor]
) -> dict[str, Mapping[str, Any]]:
    """Return for each topic what was missed since the client's cursor, and what apps have to say of it.

    Args:
        connection: is subscribed to these topics.
        topics: which.
        cursors: what the client has of some of them.
    """
    wanted = list(topics)
    if installed_log() is None:
        return {topic: {"recovered": False} for topic in wanted}
    asked = _Asked(connection.user, {topic: cursors.get(topic) for topic in wanted}, PAGE_BYTES)
    answer = await _read_log.ask(connection.runtime, asked)
    return {topic: _told(connection, topic, answer) for topic in wanted}


async def recover_announced(connection: Connection) -> dict[str, int]:
    """Return the newest seqs of the topics that are announced to a connection: these it compares with what it shows."""
    topics, reconciler = connection.announced_topics, connection.runtime.reconciler
    if not topics or reconciler is None:
        return {}
    seqs = await reconciler.announced(list(topics))
    left = connection.announced_topics
    return {topic: seq for topic, seq in seqs.items() if topic in left}


async def recover_page(connection: Connection, topic: str, cursor: Cursor) -> Mapping[str, Any]:
    """Return a page of what was missed on one topic that the connection is subscribed to.

    It is limited by the bytes that the user recovers, not by the rate of frames: a client that is far behind needs many
    pages. A page that is nearly empty costs as much as a small one. A user who has spent their bytes gets a page when
    enough have come back.

    Raises:
        CommandError: `rate_limited` if that takes longer than a moment, `not_found` if the topic was lost meanwhile.
    """
    if installed_log() is None:
        return {"recovered": False}
    now = connection.runtime.loop.time()
    budget = connection.admission.recoveries_of(connection.user_key)
    wait = budget.wait(PAGE_BYTES, now=now)
    if wait > PATIENCE:
        raise CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
    connection.protocol.uncount_frame()
    pages = connection.pages = connection.pages or PageSize()
    size = budget.take(PAGE_BYTES, pages.next(topic, cursor[1], now=now), now=now)
    used = 0
    try:
        await asyncio.sleep(wait)
        answer = await _read_page(connection, topic, cursor, size)
        recovery = answer.recoveries[topic]
        used = recovery.size
    finally:
        budget.give_back(size - max(PAGE_BYTES, used))
    if topic not in connection.topics:
        raise CommandError(ErrorCode.NOT_FOUND)
    if recovery.more:
        pages.note(topic, recovery.last, used, now=connection.runtime.loop.time())
    else:
        pages.note_last()
    return _told(connection, topic, answer)


async def _read_page(connection: Connection, topic: str, cursor: Cursor, size: int) -> _Answer:
    """Read a large page, or a small one when enough large ones are being read."""
    admission = connection.admission
    is_large = size > PAGE_BYTES and admission.large_pages < LARGE_PAGES
    asked = _Asked(connection.user, {topic: cursor}, size if is_large else PAGE_BYTES)
    admission.large_pages += is_large
    try:
        return await _read_log.ask(connection.runtime, asked)
    finally:
        admission.large_pages -= is_large


def _told(connection: Connection, topic: str, answer: _Answer) -> Mapping[str, Any]:
    """Return what is told of a topic; from here on the node compares it with the log."""
    recovery = answer.recoveries[topic]
    if connection.runtime.reconciler is not None and topic in connection.runtime.hub:
        connection.runtime.reconciler.start(topic, Tip(recovery.epoch, recovery.seq))
    return {**_fields(recovery), **answer.states.get(topic, {})}


def _fit_states(
    states: Mapping[str, Mapping[str, object]], *, size: int
) -> dict[str, Mapping[str, object]]:
    """Leave out what apps say of topics beyond the bytes of one answer, and say so: the client asks topic by topic.

    Args:
        states: topic → fields.
        size: how many bytes of events the answer has already.
    """
    if len(states) == 1:
        return dict(states)  # it was asked for
    fitting: dict[str, Mapping[str, object]] = {}
    for topic, state in states.items():
        encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in state.items()}
        size += sum(len(memoryview(value)) for value in encoded.values())
        fitting[topic] = encoded if size <= PAGE_BYTES else {"omitted": True}
    return fitting


def _fields(recovery: Recovery) -> dict[str, object]:
    """Return what is said of a recovery; what is empty is left out."""
    always = {"epoch": recovery.epoch, "seq": recovery.seq, "recovered": recovery.recovered}
    others = {"events": recovery.events, "more": recovery.more, "reason": recovery.reason}
    return {**always, **{name: value for name, value in others.items() if value}}


class _Asked(NamedTuple):
    """Who asks, how far they are in each of their topics, and how many bytes of events they get."""

    user: AbstractBaseUser
    cursors: Mapping[str, Cursor | None]
    size: int


class _Answer(NamedTuple):
    """What is told of topics: by the log, and by apps."""

    recoveries: Mapping[str, Recovery]
    states: Mapping[str, Mapping[str, object]]


def _read(asked: Sequence[_Asked]) -> list[_Answer]:
    log = installed_log()
    if log is None:
        raise RuntimeError("The log was uninstalled.")
    found: dict[int, Mapping[str, Recovery]] = {}
    for size in {one.size for one in asked}:
        places = [place for place, one in enumerate(asked) if one.size == size]
        recovered = log.recover([asked[place].cursors for place in places], size=size)
        found.update(zip(places, recovered, strict=True))
    # With the last page of a topic: whatever comes before it is old when that has come.
    whole = [
        [
            topic
            for topic in one.cursors
            if topic not in found[place] or not found[place][topic].more
        ]
        for place, one in enumerate(asked)
    ]
    states = registry.topic_states(
        [(one.user, topics) for one, topics in zip(asked, whole, strict=True)]
    )
    return [_complete(one, found[place], states[place]) for place, one in enumerate(asked)]


_read_log = Together(_read)


def _complete(
    asked: _Asked, found: Mapping[str, Recovery], states: Mapping[str, Mapping[str, object]]
) -> _Answer:
    recoveries = {
        topic: found.get(topic) or _without_log(cursor) for topic, cursor in asked.cursors.items()
    }
    size = sum(recovery.size for recovery in recoveries.values())
    return _Answer(recoveries, _fit_states(states, size=size))


def _without_log(cursor: Cursor | None) -> Recovery:
    """Return what is said of a topic that never had an event: a cursor there belongs to another history."""
    if cursor is None or cursor[1] == 0:
        return NOTHING_YET
    return msgspec.structs.replace(NOTHING_YET, recovered=False, reason="epoch_changed")
