"""Many rows of a model at once, by statements that are written once: what every group of messages waits for.

The ORM writes a statement anew for each call and prepares each value of each row; for a group of 64 messages that takes
several times as long as the database does. Here the text of a statement does not depend on the number of rows, so it is
written once and the database driver knows it again, and the rows travel as one value. This module and `log.store` are
the only ones in the library that hold SQL; where a database or the type of a field is unknown here, the ORM does it.
"""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models.expressions import RawSQL

__all__ = ["Permit", "cursor_of", "find_rows", "insert_rows"]

ROWS_AT_ONCE = 1_000  # of one statement, so that no text gets out of hand

Row = TypeVar("Row", bound=tuple[Any, ...])
Model = type[models.Model]
#: The text of a statement, and its parameters after the rows.
Statement = tuple[str, tuple[Any, ...]]

EVERY = models.Q()  # a condition that every row fulfils

# Fields whose values are stored as they are, or as JSON writes them. Exactly these classes: others may think otherwise.
_PLAIN_FIELDS = frozenset(
    {
        models.AutoField,
        models.BigAutoField,
        models.BigIntegerField,
        models.CharField,
        models.IntegerField,
        models.PositiveBigIntegerField,
        models.PositiveIntegerField,
        models.TextField,
        models.DateTimeField,
        models.UUIDField,
    }
)
_encode = msgspec.json.Encoder().encode


class Permit(NamedTuple):
    """Rows of one table without which a row of another may not be stored, such as the membership of a message's sender.

    Attributes:
        model: of the rows that permit.
        same: fields of that model, each with the field of the stored row that must have the same value.
        where: what else must hold for the row that permits.
    """

    model: Model
    same: tuple[tuple[str, str], ...]
    where: models.Q


def insert_rows(
    model: Model,
    fields: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    *,
    permit: Permit | None = None,
) -> int:
    """Store rows in one statement per thousand; what the fields leave out gets the database's own default.

    Args:
        model: of the rows. No `save` is called, as with `bulk_create`.
        fields: their names, of a foreign key that of its column's value (`room_id`).
        rows: the values of these fields.
        permit: leaves out the rows that it does not permit. The statement itself looks, so a caller who has just got a
            lock sees what was committed before.

    Returns:
        How many rows were stored.

    Raises:
        IntegrityError: a row contradicts a constraint.
    """
    connection = connections[router.db_for_write(model)]
    if not _is_known(model, tuple(fields), connection.vendor):
        return _insert_portably(model, fields, rows, permit, connection.alias)
    statement, extra = _insert_statement(
        model, tuple(fields), permit, connection.alias, connection.vendor
    )
    stored = 0
    with cursor_of(connection) as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            if connection.vendor == "sqlite":
                cursor.executemany(statement, [(*row, *extra) for row in _adapt(part, connection)])
            else:
                text = _as_text([dict(zip(fields, row)) for row in part])  # noqa: B905
                cursor.execute(statement, [text, *extra])
            stored += cursor.rowcount
    return stored


def find_rows(
    model: Model, fields: Sequence[str], keys: Iterable[Row], *, where: models.Q = EVERY
) -> set[Row]:
    """Return which of these values of some fields are those of a row, in one statement.

    Args:
        model: of the rows.
        fields: the names of the fields, as for `insert_rows`; an index on them is what makes it quick.
        keys: values of these fields.
        where: what else must hold for the row.
    """
    wanted = list(keys)
    if not wanted:
        return set()
    connection = connections[router.db_for_write(model)]
    if not _is_known(model, tuple(fields), connection.vendor):
        return _find_portably(model, fields, wanted, where, connection.alias)
    statement, extra = _find_statement(
        model, tuple(fields), where, connection.alias, connection.vendor
    )
    if connection.vendor == "sqlite":
        text = _as_text(_adapt(wanted, connection))
    else:
        names = [*fields, "position"]
        text = _as_text([dict(zip(names, (*key, n))) for n, key in enumerate(wanted)])  # noqa: B905
    with cursor_of(connection) as cursor:
        cursor.execute(statement, [text, *extra])
        return {wanted[position] for (position,) in cursor.fetchall()}


def cursor_of(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Return a cursor for statements that are written once.

    Django writes values into the text of a statement, and PostgreSQL plans each text anew: for one message that takes
    longer than to carry it out. With this cursor they travel apart from it, so that the driver can prepare it; it does
    where the project allows that (`prepare_threshold` in OPTIONS: a pooler in front may not bear it).
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    from psycopg import Cursor  # noqa: PLC0415  psycopg is optional

    connection.ensure_connection()
    cursor: Any = Cursor(connection.connection)
    if connection.queries_logged:
        return connection.make_debug_cursor(cursor)
    return connection.make_cursor(cursor)


def _insert_portably(
    model: Model,
    fields: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    permit: Permit | None,
    alias: str,
) -> int:
    if permit is not None:
        places = [fields.index(name) for _, name in permit.same]
        keys = [tuple(row[place] for place in places) for row in rows]
        names = [name for name, _ in permit.same]
        permitted = _find_portably(permit.model, names, keys, permit.where, alias)
        rows = [row for row, key in zip(rows, keys, strict=True) if key in permitted]
    made = [model(**dict(zip(fields, row, strict=True))) for row in rows]
    return len(_all(model, alias).bulk_create(made))


def _find_portably(
    model: Model, fields: Sequence[str], wanted: Sequence[Row], where: models.Q, alias: str
) -> set[Row]:
    columns = zip(fields, zip(*wanted, strict=True), strict=True)
    same = {f"{name}__in": set(values) for name, values in columns}
    return set(wanted) & set(_all(model, alias).filter(where, **same).values_list(*fields))


def _all(model: Model, alias: str) -> models.QuerySet[Any]:
    return models.QuerySet(model, using=alias)


@functools.cache
def _is_known(model: Model, fields: tuple[str, ...], vendor: str) -> bool:
    """Say whether this module has the statements for these fields."""
    return vendor in {"sqlite", "postgresql"} and all(
        type(_value_field(model, name)) in _PLAIN_FIELDS for name in fields
    )


def _value_field(model: Model, name: str) -> Any:
    """Return the field that says what the values of a column are: of a foreign key, that of what it points to."""
    field = _field(model, name)
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field


def _field(model: Model, name: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", model._meta.get_field(name))


@functools.cache
def _insert_statement(
    model: Model, fields: tuple[str, ...], permit: Permit | None, alias: str, vendor: str
) -> Statement:
    connection = connections[alias]
    quote = connection.ops.quote_name
    table, columns = _names(model, fields, connection)
    names = ", ".join(quote(name) for name in fields)
    if vendor == "sqlite":
        row = ", ".join(f"%s AS {quote(name)}" for name in fields)
        wanted = f"(SELECT {row}) AS wanted"
    else:
        types = _types(model, fields, connection)
        wanted = f"json_to_recordset(CAST(%s AS json)) AS wanted ({types})"
    statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {names} FROM {wanted}"  # noqa: S608
    if permit is None:
        return statement, ()
    same = {ours: f"wanted.{quote(theirs)}" for ours, theirs in permit.same}
    exists, extra = _exists(permit.model, same, permit.where, connection)
    return f"{statement} WHERE {exists}", extra


@functools.cache
def _find_statement(
    model: Model, fields: tuple[str, ...], where: models.Q, alias: str, vendor: str
) -> Statement:
    connection = connections[alias]
    quote = connection.ops.quote_name
    if vendor == "sqlite":
        wanted = "wanted.key FROM json_each(%s) AS wanted"
        same = {name: f"json_extract(wanted.value, '$[{n}]')" for n, name in enumerate(fields)}
    else:
        wanted = (
            "wanted.position FROM json_to_recordset(CAST(%s AS json)) AS wanted "
            f"(position integer, {_types(model, fields, connection)})"
        )
        same = {name: f"wanted.{quote(name)}" for name in fields}
    exists, extra = _exists(model, same, where, connection)
    return f"SELECT {wanted} WHERE {exists}", extra


def _exists(
    model: Model, same: Mapping[str, str], where: models.Q, connection: BaseDatabaseWrapper
) -> Statement:
    """Write the condition that a row exists; the ORM writes the joins.

    Args:
        model: of the row.
        same: its fields, each with the SQL of the value that it must have.
        where: what else must hold for the row.
        connection: to the database.
    """
    values = {name: RawSQL(text, ()) for name, text in same.items()}  # noqa: S611  our own text
    rows = _all(model, connection.alias).filter(where, **values).order_by().values("pk")
    text, extra = rows.query.get_compiler(connection.alias).as_sql()
    # OFFSET 0 keeps this an index lookup for each row. Without it PostgreSQL, which estimates 100 rows for any JSON
    # text, turns EXISTS into a join and scans tables of about 10,000 rows.
    limit = " OFFSET 0" if connection.vendor == "postgresql" else ""
    return f"EXISTS ({text}{limit})", tuple(extra)


def _names(
    model: Model, fields: Sequence[str], connection: BaseDatabaseWrapper
) -> tuple[str, list[str]]:
    """Return the names of the table and of the columns, quoted."""
    quote = connection.ops.quote_name
    columns = [quote(str(_field(model, name).column)) for name in fields]
    return quote(model._meta.db_table), columns


def _types(model: Model, fields: Sequence[str], connection: BaseDatabaseWrapper) -> str:
    """Return the columns of a table of wanted rows: `"room_id" bigint, …`."""
    quote = connection.ops.quote_name
    return ", ".join(f"{quote(name)} {_field(model, name).db_type(connection)}" for name in fields)


def _adapt(rows: Iterable[tuple[Any, ...]], connection: BaseDatabaseWrapper) -> list[list[Any]]:
    """Return rows as SQLite stores them: it has no type for an identifier, nor for a moment."""
    adapters: Mapping[type, Callable[[Any], Any]] = {
        uuid.UUID: lambda value: value.hex,
        dt.datetime: functools.cache(connection.ops.adapt_datetimefield_value),
    }
    return [
        [adapters[type(value)](value) if type(value) in adapters else value for value in row]
        for row in rows
    ]


def _as_text(rows: object) -> str:
    return _encode(rows).decode()
