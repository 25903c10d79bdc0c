"""Transactions in which every statement sees what was committed before it, whatever isolation level the project has.

Whoever locks a row and then looks again must see what the previous holder of the lock has committed. At the levels
REPEATABLE READ and SERIALIZABLE PostgreSQL shows the state before the lock: then two first messages make two chats, and
members of one room who write at the same time are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["statement_in", "transaction_in"]


@contextmanager
def transaction_in(alias: str, *, savepoint: bool = True) -> Iterator[None]:
    """Let what is done happen as a whole or not at all; as a decorator, each call.

    A transaction that is open already keeps its isolation level.

    Args:
        alias: of the database.
        savepoint: as of Django's `atomic`.
    """
    connection = connections[alias]
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(using=alias, savepoint=savepoint):
        if is_outermost and _has_level(connection):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        yield


@contextmanager
def statement_in(alias: str) -> Iterator[None]:
    """Let a single statement, which needs no transaction, wait for the row that it changes and then see it as it is.

    It costs nothing where the project has chosen no isolation level. At a stricter one it would fail instead.
    """
    connection = connections[alias]
    if connection.in_atomic_block or not _has_level(connection):
        yield
    else:
        with transaction_in(alias):
            yield


def _has_level(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the project's settings choose an isolation level."""
    options = connection.settings_dict.get("OPTIONS") or {}
    return connection.vendor == "postgresql" and (
        options.get("isolation_level") is not None
        or "default_transaction_isolation" in str(options.get("options", ""))
    )
