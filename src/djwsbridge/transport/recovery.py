"""What a connection is told of its topics when it comes back: subscribe first (done by now), read second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from djwsbridge.durable import Recovery, installed_log
from djwsbridge.protocol.frames import Cursor
from djwsbridge.sequencer import Tip
from djwsbridge.transport import registry
from djwsbridge.transport.together import Together

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from djwsbridge.transport.connection import Connection

__all__ = ["recover"]

#: Bytes of events, and of what apps have to say, in one answer: it has to be here before a slow line takes it for lost.
ANSWER_BYTES = 40_960

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
    log = installed_log()
    wanted = list(topics)
    if log is None:
        return {topic: {"recovered": False} for topic in wanted}
    asked = _Asked(connection.user, {topic: cursors.get(topic) for topic in wanted})
    recoveries, states = await _read_log.ask(connection.runtime, asked)
    found: dict[str, Mapping[str, Any]] = {}
    for topic in wanted:
        recovery = recoveries[topic]
        if connection.runtime.reconciler is not None:
            connection.runtime.reconciler.start(topic, Tip(recovery.epoch, recovery.seq))
        found[topic] = {**_fields(recovery), **states.get(topic, {})}
    return found


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
        fitting[topic] = encoded if size <= ANSWER_BYTES else {"omitted": True}
    return fitting


def _fields(recovery: Recovery) -> dict[str, object]:
    """Return what is said of a recovery; what is empty is left out."""
    always = {"epoch": recovery.epoch, "seq": recovery.seq, "recovered": recovery.recovered}
    others = {"events": recovery.events, "more": recovery.more, "reason": recovery.reason}
    return {**always, **{name: value for name, value in others.items() if value}}


class _Asked(NamedTuple):
    """Who asks, and how far they are in each of their topics."""

    user: AbstractBaseUser
    cursors: Mapping[str, Cursor | None]


_Answer = tuple[Mapping[str, Recovery], Mapping[str, Mapping[str, object]]]


def _read(asked: Sequence[_Asked]) -> list[_Answer]:
    log = installed_log()
    if log is None:
        raise RuntimeError("The log was uninstalled.")
    found = log.recover([one.cursors for one in asked])
    states = registry.topic_states([(one.user, list(one.cursors)) for one in asked])
    return [_fit_answer(*each) for each in zip(asked, found, states, strict=True)]


_read_log = Together(_read)


def _fit_answer(
    asked: _Asked, found: Mapping[str, Recovery], states: Mapping[str, Mapping[str, object]]
) -> _Answer:
    fitting = _fit(
        {topic: found.get(topic) or _without_log(cursor) for topic, cursor in asked.cursors.items()}
    )
    size = sum(len(memoryview(event)) for one in fitting.values() for event in one.events)
    return fitting, _fit_states(states, size=size)


def _fit(recoveries: Mapping[str, Recovery]) -> dict[str, Recovery]:
    """Leave out events beyond the bytes of one answer, but never the first: the client asks for them page by page."""
    fitting: dict[str, Recovery] = {}
    size = 0
    for topic, recovery in recoveries.items():
        kept: list[msgspec.Raw] = []
        for event in recovery.events:
            if size and size + len(memoryview(event)) > ANSWER_BYTES:
                break
            size += len(memoryview(event))
            kept.append(event)
        left_out = len(kept) < len(recovery.events)
        fitting[topic] = msgspec.structs.replace(
            recovery, events=kept, more=recovery.more or left_out
        )
    return fitting


def _without_log(cursor: Cursor | None) -> Recovery:
    """Return what is said of a topic that never had an event: a cursor there belongs to another history."""
    if cursor is None or cursor[1] == 0:
        return NOTHING_YET
    return msgspec.structs.replace(NOTHING_YET, recovered=False, reason="epoch_changed")
