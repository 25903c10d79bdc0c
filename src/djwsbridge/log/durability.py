"""Whether the database keeps what it has acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from djwsbridge.documentation import see
from djwsbridge.log import store

__all__ = ["weaknesses"]

_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
FULL = 2  # SQLite's PRAGMA synchronous: 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA


def weaknesses() -> list[str]:
    """Return a sentence for each setting of the database that costs messages or patience, and its remedy."""
    connection = connections[store.using()]
    if connection.vendor == "sqlite":
        # A database in memory, as tests have, ends with its process and has no journal.
        is_in_memory: bool = connection.is_in_memory_db()  # type: ignore[attr-defined]
        return [] if is_in_memory else list(_of_sqlite())
    if connection.vendor == "postgresql":
        return list(_of_postgresql())
    return []


def _of_sqlite() -> Iterator[str]:
    if int(_ask("PRAGMA synchronous")) < FULL:
        yield (
            "SQLite's `synchronous` is below FULL: a power cut can take what was acknowledged. "
            + _remedy("init_command", _PRAGMAS)
        )
    if _ask("PRAGMA journal_mode") != "wal":
        yield (
            "SQLite's `journal_mode` is not WAL: readers and the writer wait for each other. "
            + _remedy("init_command", _PRAGMAS)
        )
    mode = connections[store.using()].settings_dict.get("OPTIONS", {}).get("transaction_mode")
    if str(mode).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield (
            "SQLite's `transaction_mode` is not IMMEDIATE: when two write at once, one may be told that the "
            "database is locked instead of waiting. " + _remedy("transaction_mode", "IMMEDIATE")
        )


def _remedy(option: str, value: str) -> str:
    return f'Put "{option}": "{value}" into its OPTIONS. {see("How to operate it")}'


def _of_postgresql() -> Iterator[str]:
    if _ask("SHOW synchronous_commit") in {"off", "local"}:
        yield "PostgreSQL's `synchronous_commit` is off: a crash can take what was acknowledged."
    if _ask("SHOW fsync") == "off":
        yield "PostgreSQL's `fsync` is off: a crash can take everything."


def _ask(statement: str) -> str:
    with connections[store.using()].cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])
