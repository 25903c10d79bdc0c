"""Every query of the log.

The two statements of an append are raw SQL on Django's own connection, the only ones in the library: they are the hot
path of everything durable. What they need of a database: `UPDATE … RETURNING` (SQLite 3.35, PostgreSQL, MariaDB has
none) or, without it, a locked read before the update.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from django.db import connections, router
from django.db.models import F, Max
from django.db.models.functions import Now

from djwsbridge.log.models import Event, Topic, new_epoch

__all__ = [
    "Position",
    "Row",
    "advance",
    "delete_before",
    "insert",
    "positions",
    "read",
    "recent_tips",
    "renew_epoch",
    "replace_payloads",
    "types_of",
    "using",
]

ROWS_PER_INSERT = 400  # five parameters each; SQLite takes 32,766 in one statement, older ones 999


class Position(msgspec.Struct, frozen=True):
    """Where the log of a topic stands."""

    topic_id: int
    epoch: str
    seq: int


class Row(msgspec.Struct, frozen=True):
    """One event as it is stored."""

    topic_id: int
    seq: int
    type: str
    payload: str


def using() -> str:
    """Return the alias of the database that holds the log."""
    return router.db_for_write(Topic)


def advance(counts: Mapping[str, int]) -> tuple[dict[str, Position], dt.datetime]:
    """Lock topics and give each that many new seqs; call it in a transaction, after every check.

    Returns:
        For each name its position after the new seqs; and the database's clock, the only one that stamps rows.
    """
    if len(counts) > 1:
        _lock(counts)
    found = _advance(counts)
    if len(found) < len(counts):
        missing = {name: count for name, count in counts.items() if name not in found}
        _create(missing)
        found |= _advance(missing)
    now = next(iter(found.values()))[1]
    return {name: position for name, (position, _) in found.items()}, _to_datetime(now)


def _lock(names: Collection[str]) -> None:
    """Make the topics that are missing, then lock all, each time in the order of their names.

    Two appends then never wait for each other in a circle: nobody who holds a lock has a topic to make. SQLite has
    one lock, that of its only writer, and nothing to put in order.
    """
    if not connections[using()].features.has_select_for_update:
        return
    topics = Topic.objects.using(using()).filter(name__in=list(names)).order_by("name")
    missing = set(names) - set(topics.values_list("name", flat=True))
    if missing:
        _create(missing)
    list(topics.select_for_update().values_list("pk"))


def _create(names: Iterable[str]) -> None:
    Topic.objects.using(using()).bulk_create(
        (Topic(name=name) for name in sorted(names)), ignore_conflicts=True
    )


def _advance(counts: Mapping[str, int]) -> dict[str, tuple[Position, object]]:
    """Advance those topics that exist."""
    connection = connections[using()]
    table = connection.ops.quote_name(Topic._meta.db_table)
    wanted = ", ".join(["(CAST(%s AS varchar(80)), CAST(%s AS bigint))"] * len(counts))
    now, now_params = Topic.objects.all().query.get_compiler(using()).compile(Now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (name, count) AS (VALUES {wanted}) UPDATE {table} SET seq = seq + "  # noqa: S608
            f"(SELECT wanted.count FROM wanted WHERE wanted.name = {table}.name) "
            f"WHERE name IN (SELECT wanted.name FROM wanted) RETURNING name, id, epoch, seq, {now}",
            [*(value for item in counts.items() for value in item), *now_params],
        )
        return {name: (Position(*position), at) for name, *position, at in cursor.fetchall()}


def insert(rows: Sequence[Row], *, now: dt.datetime) -> None:
    """Store events in one statement per few hundred."""
    connection = connections[using()]
    table = connection.ops.quote_name(Event._meta.db_table)
    created = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_PER_INSERT):
            part = rows[start : start + ROWS_PER_INSERT]
            values = ", ".join(["(%s, %s, %s, %s, %s)"] * len(part))
            cursor.execute(
                f"INSERT INTO {table} (topic_id, seq, type, payload, created) VALUES {values}",  # noqa: S608
                [
                    value
                    for row in part
                    for value in (row.topic_id, row.seq, row.type, row.payload, created)
                ],
            )


def positions(names: Iterable[str]) -> dict[str, Position]:
    """Return where the logs of topics stand; topics without a log are left out."""
    rows = Topic.objects.filter(name__in=list(names)).values_list("name", "id", "epoch", "seq")
    return {name: Position(topic_id, epoch, seq) for name, topic_id, epoch, seq in rows}


def recent_tips(age: dt.timedelta) -> dict[str, int]:
    """Return the newest seq of each topic with an event younger than `age`: costs what happened, not what exists."""
    recent = Event.objects.filter(created__gte=Now() - age).values("topic__name")
    return dict(recent.annotate(tip=Max("seq")).values_list("topic__name", "tip"))


def read(topic_id: int, *, after: int, up_to: int, limit: int) -> list[str]:
    """Return frames in order: those with `after` < seq ≤ `up_to`, at most `limit`."""
    events = Event.objects.filter(topic_id=topic_id, seq__gt=after, seq__lte=up_to)
    return list(events.order_by("seq").values_list("payload", flat=True)[:limit])


def delete_before(age: dt.timedelta, *, limit: int) -> int:
    """Delete at most `limit` events that are older than `age`; return how many there were."""
    old = Event.objects.filter(created__lt=Now() - age).order_by("created")
    keys = list(old.values_list("pk", flat=True)[:limit])
    deleted, _ = Event.objects.filter(pk__in=keys).delete()
    return deleted


def types_of(topic: str, seqs: Iterable[int]) -> dict[int, str]:
    """Return the types of events that are in the log, by seq."""
    events = Event.objects.filter(topic__name=topic, seq__in=list(seqs))
    return dict(events.values_list("seq", "type"))


def replace_payloads(topic: str, frames: Mapping[int, str]) -> None:
    """Write other frames in place of stored ones: an erasure reaches the log, too."""
    for seq, payload in frames.items():
        Event.objects.filter(topic__name=topic, seq=seq).update(payload=payload)


def renew_epoch(names: Sequence[str] | None) -> int:
    """Give topics (all when None) another epoch; return how many there were."""
    topics = Topic.objects.all() if names is None else Topic.objects.filter(name__in=names)
    changed = 0
    for pk in topics.values_list("pk", flat=True):
        changed += Topic.objects.filter(pk=pk).update(epoch=new_epoch(), seq=F("seq"))
    return changed


def _to_datetime(value: object) -> dt.datetime:
    """Read what a database gives for its clock: PostgreSQL a datetime, SQLite a text in UTC."""
    if isinstance(value, dt.datetime):
        return value
    return dt.datetime.fromisoformat(str(value)).replace(tzinfo=dt.timezone.utc)
