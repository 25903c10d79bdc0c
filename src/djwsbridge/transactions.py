"""Transactions in which every statement sees what was committed before it, whatever isolation level the project has.

Code that locks a row and then looks again must see what the previous holder of the lock has committed. At the levels
REPEATABLE READ and SERIALIZABLE PostgreSQL shows the state before the lock: then two first messages make two chats, and
members of one room who write at the same time are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.signals import setting_changed
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["statement_in", "transaction_in"]

# Alias → whether its transactions begin at a stricter level than READ COMMITTED, once PostgreSQL was asked.
_strict: dict[str, bool] = {}
_WEAK_LEVELS = frozenset({"read committed", "read uncommitted"})  # one and the same to PostgreSQL


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
        # `commit_on_exit` is False where autocommit is off: the project's transaction may be open then.
        if is_outermost and connection.commit_on_exit and _begins_strict(connection):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        yield


@contextmanager
def statement_in(alias: str) -> Iterator[None]:
    """Let a single statement, which needs no transaction, wait for the row that it changes and then see it as it is.

    It costs nothing where transactions begin at READ COMMITTED, once that is known. At a stricter level the statement
    would fail instead.
    """
    connection = connections[alias]
    is_weak = connection.vendor != "postgresql" or _strict.get(alias) is False
    if connection.in_atomic_block or is_weak:
        yield
    else:
        with transaction_in(alias):
            yield


def _begins_strict(connection: BaseDatabaseWrapper) -> bool:
    """Say whether the transaction that has just begun is stricter than READ COMMITTED; ask once in a process.

    Only PostgreSQL knows: the level may come from OPTIONS, from PGOPTIONS, from a service file, from the server's
    configuration, or from its database or role. `SHOW` takes no snapshot, so the level can still be set after it.
    """
    if connection.vendor != "postgresql":
        return False
    known = _strict.get(connection.alias)
    if known is None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            known = cursor.fetchone()[0] not in _WEAK_LEVELS
        _strict[connection.alias] = known
    return known


def _forget(*, setting: str = "", **_: object) -> None:
    if setting == "DATABASES":
        _strict.clear()


setting_changed.connect(_forget, dispatch_uid="djwsbridge.transactions")
