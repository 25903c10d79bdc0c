"""Every query of the log.

The statement that numbers events is raw SQL on Django's own connection, like those of `log.rows`: it is the hot path of
everything durable. What it needs of a database: `UPDATE … RETURNING` (PostgreSQL, or SQLite from 3.35 on).
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from django.db import connections, router
from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from djwsbridge.durable import Witness
from djwsbridge.log.models import Event, Topic, new_epoch
from djwsbridge.log.rows import cursor_of, insert_rows
from djwsbridge.protocol.pages import PAGE_BYTES
from djwsbridge.sequencer import Tip

__all__ = [
    "Page",
    "Position",
    "Row",
    "advance",
    "delete_before",
    "delete_events",
    "has_kept",
    "insert",
    "newest_by_type",
    "newest_event",
    "positions",
    "read",
    "read_page",
    "recent_tips",
    "renew_epoch",
    "replace_payloads",
    "types_of",
    "using",
]


NAMES_AT_ONCE = 5_000  # of one statement: databases bound the number of its parameters
ROWS = 500  # events in a page of `PAGE_BYTES`, at most; in a larger one, more in proportion
SAMPLE = 50  # events by which the size of the others is estimated


class Position(msgspec.Struct, frozen=True):
    """Where the log of a topic stands."""

    topic_id: int
    epoch: str
    seq: int


class Page(msgspec.Struct, frozen=True):
    """Events in order: how many, the seq of the last (0 when there is none), and their frames as a JSON array."""

    count: int
    last: int
    events: str


class Row(NamedTuple):
    """One event as it is stored."""

    topic_id: int
    seq: int
    type: str
    payload: str


def using() -> str:
    """Return the alias of the database that holds the log."""
    return router.db_for_write(Topic)


def advance(counts: Mapping[str, int]) -> tuple[dict[str, Position], dt.datetime]:
    """Lock topics and give each that many new seqs, or none; call it in a transaction.

    What must hold at the commit is looked at again in a later statement: its snapshot begins when the lock is held.
    The row is written even for no new seq, so that a transaction with an older snapshot fails instead of going on.

    Two appends never wait for each other in a circle: the topics are locked in the order of their names, and nobody who
    holds a lock has a topic to make (SQLite has one lock, that of its only writer, and nothing to put in order).

    Returns:
        For each name its position after the new seqs; and the database's clock, the only one that stamps rows.
    """
    found = _advance(counts)
    if len(found) < len(counts):
        missing = {name: count for name, count in counts.items() if name not in found}
        _create(missing)
        found |= _advance(missing)
    now = next(iter(found.values()))[1]
    return {name: position for name, (position, _) in found.items()}, _to_datetime(now)


def _create(names: Iterable[str]) -> None:
    _topics().bulk_create((Topic(name=name) for name in sorted(names)), ignore_conflicts=True)


def _advance(counts: Mapping[str, int]) -> dict[str, tuple[Position, object]]:
    """Advance those topics that exist; on PostgreSQL all or, if one is missing, none."""
    connection = connections[using()]
    wanted = msgspec.json.encode(list(counts.items())).decode()
    with cursor_of(connection) as cursor:
        cursor.execute(_advance_statement(connection.alias, connection.vendor), [wanted])
        return {name: (Position(*position), at) for name, *position, at in cursor.fetchall()}


@functools.cache
def _advance_statement(alias: str, vendor: str) -> str:
    table = connections[alias].ops.quote_name(Topic._meta.db_table)
    now, _ = Topic.objects.all().query.get_compiler(alias).compile(Now())
    returning = f"RETURNING {table}.name, {table}.id, {table}.epoch, {table}.seq, {now}"
    if vendor == "sqlite":
        return (
            f"UPDATE {table} SET seq = seq + wanted.count "  # noqa: S608
            "FROM (SELECT json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS count "
            f"FROM json_each(%s)) AS wanted WHERE {table}.name = wanted.name {returning}"
        )
    # Through an array, of which the planner expects little, each name is looked up in the index: it takes a text for a
    # hundred names, and would rather read a whole table of some ten thousand topics.
    named = f"FROM {table} WHERE name = ANY(ARRAY(SELECT name FROM wanted))"  # noqa: S608
    return (
        "WITH wanted AS (SELECT value ->> 0 AS name, CAST(value ->> 1 AS bigint) AS count "  # noqa: S608
        "FROM json_array_elements(CAST(%s AS json))), "
        f"locked AS (SELECT id, name {named} AND "
        f"(SELECT count(*) {named}) = (SELECT count(*) FROM wanted) ORDER BY name FOR UPDATE) "
        f"UPDATE {table} SET seq = seq + wanted.count FROM wanted, locked "
        f"WHERE {table}.id = locked.id AND locked.name = wanted.name {returning}"
    )


def insert(rows: Sequence[Row], *, now: dt.datetime) -> None:
    """Store events in one statement per thousand."""
    fields = ("topic_id", "seq", "type", "payload", "created")
    insert_rows(Event, fields, [(*row, now) for row in rows])


def positions(names: Iterable[str]) -> dict[str, Position]:
    """Return where the logs of topics stand; topics without a log are left out."""
    wanted = list(names)
    found: dict[str, Position] = {}
    for start in range(0, len(wanted), NAMES_AT_ONCE):
        some = _topics().filter(name__in=wanted[start : start + NAMES_AT_ONCE])
        for name, topic_id, epoch, seq in some.values_list("name", "id", "epoch", "seq"):
            found[name] = Position(topic_id, epoch, seq)
    return found


def recent_tips(age: dt.timedelta) -> dict[str, Tip]:
    """Return where each topic stands with an event younger than `age`: costs what happened, not what exists."""
    recent = _events().filter(created__gte=Now() - age).values("topic__name", "topic__epoch")
    rows = recent.annotate(tip=Max("seq")).values_list("topic__name", "topic__epoch", "tip")
    return {name: Tip(epoch, seq) for name, epoch, seq in rows}


def newest_event() -> Witness | None:
    """Return the event that was stored last; None in an empty log."""
    row = _events().order_by("-pk").values_list("pk", "topic_id", "seq", "created").first()
    return None if row is None else Witness(*row)


def has_kept(witness: Witness) -> bool:
    """Say whether the log still has an event, or has deleted it and kept its number."""
    place = _events().filter(topic_id=witness.topic_id, seq=witness.seq)
    row = place.values_list("pk", "topic_id", "seq", "created").first()
    if row is not None:
        return Witness(*row) == witness
    return _topics().filter(pk=witness.topic_id, seq__gte=witness.seq).exists()


def read(topic_id: int, *, after: int, up_to: int, limit: int) -> list[str]:
    """Return frames in order: those with `after` < seq ≤ `up_to`, at most `limit`."""
    events = _events().filter(topic_id=topic_id, seq__gt=after, seq__lte=up_to)
    return list(events.order_by("seq").values_list("payload", flat=True)[:limit])


def read_page(topic_id: int, *, after: int, up_to: int, size: int, largest: int) -> Page:
    """Return the frames with `after` < seq ≤ `up_to` that fit into `size` bytes, at least the first.

    A first frame of more than `largest` bytes is left out: no client can be sent it. The page is empty then.

    The database joins them. To make an object of each row would take longer than all the rest, and would hold up the
    event loop meanwhile.
    """
    connection = connections[using()]
    missed = (topic_id, after, up_to)
    rows = max(1, size * ROWS // PAGE_BYTES)
    with cursor_of(connection) as cursor:
        statement = _page_statement(connection.alias, connection.vendor)
        cursor.execute(statement, [*missed, rows, size, *missed, size, largest])
        count, last, events = cursor.fetchone()
    return Page(count, last or 0, events or "[]")


@functools.cache
def _page_statement(alias: str, vendor: str) -> str:
    """Write the statement of `read_page`.

    It adds up sizes, for which it reads about as many rows as it returns: the first rows tell how many that may be.
    """
    table = connections[alias].ops.quote_name(Event._meta.db_table)
    is_sqlite = vendor == "sqlite"
    join = "group_concat" if is_sqlite else "string_agg"
    octets = "length(CAST(payload AS BLOB))" if is_sqlite else "octet_length(payload)"
    missed = (
        f"SELECT seq, payload, {octets} + 1 AS size FROM {table} "  # noqa: S608
        "WHERE topic_id = %s AND seq > %s AND seq <= %s ORDER BY seq LIMIT"
    )
    probable = f"SELECT CAST(coalesce(%s / avg(size), 0) AS integer) + 1 FROM ({missed} {SAMPLE}) AS sample"  # noqa: S608
    near = f"SELECT * FROM ({missed} %s) AS missed ORDER BY seq LIMIT ({probable})"  # noqa: S608
    total = "sum(size) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS total"
    return (
        f"SELECT count(*), max(seq), '[' || {join}(payload, ',') || ']' FROM ("  # noqa: S608
        f"SELECT seq, payload FROM (SELECT near.*, {total} FROM ({near}) AS near) AS added "
        "WHERE total <= %s OR (total = size AND size <= %s + 1) ORDER BY seq) AS page"
    )


def delete_before(age: dt.timedelta, *, limit: int) -> int:
    """Delete at most `limit` events that are older than `age`; return how many there were."""
    old = _events().filter(created__lt=Now() - age).order_by("created")
    keys = list(old.values_list("pk", flat=True)[:limit])
    deleted, _ = _events().filter(pk__in=keys).delete()
    return deleted


def delete_events(topic: str, *, older_than: dt.timedelta | None = None) -> None:
    """Delete all events of a topic, or those that are older."""
    events = _events().filter(topic__name=topic)
    if older_than is not None:
        events = events.filter(created__lt=Now() - older_than)
    events.delete()


def newest_by_type(topic: str) -> dict[str, int]:
    """Return the newest seq of each type of event that a topic has."""
    newest = _events().filter(topic__name=topic).values("type").annotate(newest=Max("seq"))
    return dict(newest.values_list("type", "newest"))


def types_of(topic: str, seqs: Iterable[int]) -> dict[int, str]:
    """Return the types of events that are in the log, by seq."""
    events = _events().filter(topic__name=topic, seq__in=list(seqs))
    return dict(events.values_list("seq", "type"))


def replace_payloads(topic: str, frames: Mapping[int, str]) -> None:
    """Write other frames in place of stored ones: an erasure reaches the log, too."""
    for seq, payload in frames.items():
        _events().filter(topic__name=topic, seq=seq).update(payload=payload)


def renew_epoch(names: Sequence[str] | None, *, unless_other_than: str | None = None) -> int:
    """Give topics (all when None) another epoch; return how many there were.

    Args:
        names: of the topics.
        unless_other_than: leave topics alone that have another epoch than this one.
    """
    topics = _topics() if names is None else _topics().filter(name__in=names)
    if unless_other_than is not None:
        topics = topics.filter(epoch=unless_other_than)
    changed = 0
    for pk, epoch in topics.values_list("pk", "epoch"):
        changed += _topics().filter(pk=pk, epoch=epoch).update(epoch=new_epoch())
    return changed


def _topics() -> QuerySet[Topic]:
    """Return all topics as they are where they are written: a replica is behind, and the log with it."""
    return Topic.objects.using(using())


def _events() -> QuerySet[Event]:
    """Return all events, from the same place."""
    return Event.objects.using(using())


def _to_datetime(value: object) -> dt.datetime:
    """Read what a database gives for its clock: PostgreSQL a datetime, SQLite a text in UTC."""
    if isinstance(value, dt.datetime):
        return value
    return dt.datetime.fromisoformat(str(value)).replace(tzinfo=dt.timezone.utc)
