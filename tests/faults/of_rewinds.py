"""History is rewound: by a restore, or because a replica is promoted that was behind.

Nothing is prepared for it: the workers run, the clients stay connected, and everybody writes on. It is only chosen when
they write, so that each room meets the rewind in another state.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing

from djwsbridge.testing.history import History, Rewind
from tests.faults.catalogue import fault, lasting, manage
from tests.faults.proxy import BLACK
from tests.faults.system import System

LAG = 2.0  # seconds by which the copy is behind
FEW = 0.4  # seconds in which a room gets a few messages that are lost
AFTERWARDS = 9.0  # seconds of load after it
IN_TIME = {("told", "max"): 5.0}
TRIES = 5  # of a restore that meets a transaction of a worker in a circle of locks
COPIED = 0.5  # seconds in which what was already on its way to the replica arrives

#: What takes a copy, and returns what puts it in the place of the database.
Copy = Callable[[System], Awaitable[Callable[[], Awaitable[float]]]]


async def rewind(
    system: System, history: History, copy: Copy, *, renew: bool, kill: bool = False
) -> str:
    """Let the database forget what has happened since a copy of it.

    Four of the rooms meet it differently. The first is always busy. The second loses a few messages and gets more new
    ones at once, so that its numbers overtake those that are lost. The third loses some and is silent from then on. In
    the fourth nothing happens at all.

    Args:
        system: whose database.
        history: where it is written down.
        copy: how a copy is taken and put back.
        renew: whether an operator gives every topic a new epoch afterwards.
        kill: whether all workers are killed before, and started again after that.
    """
    _, overtaken, muted, untouched, *_ = system.made.rooms
    system.silent |= {overtaken, untouched}
    await lasting(FEW)  # what is under way there ends
    since = time.monotonic()
    put_back = await copy(system)
    copied = time.monotonic()
    system.silent.discard(overtaken)
    await lasting(FEW)
    system.silent |= {overtaken, muted}
    await lasting(LAG)
    if kill:
        system.is_stopped = True
        for worker in system.workers:
            worker.kill()
    system.silent.discard(overtaken)
    begun = await put_back()
    until = time.monotonic()
    if renew:
        await manage(system, "djwsbridge_new_epoch", "--all")
    renewed = time.monotonic() if renew else None
    system.is_stopped = False
    history.add(Rewind(since=since, copied=copied, begun=begun, until=until, renewed=renewed))
    return f"{until - since:.1f} s lost, {time.monotonic() - begun:.1f} s for the restore"


# A dump is restored


async def dump(system: System) -> Callable[[], Awaitable[float]]:
    """Take a dump with pg_dump; restore it with pg_restore, which drops every table and makes it anew."""
    server, path = system.database.server, system.directory / "dump"
    assert server is not None
    await asyncio.to_thread(server.run, "pg_dump", "--format=custom", f"--file={path}")

    async def restore() -> float:
        options = ("--clean", "--if-exists", "--single-transaction", str(path))
        return await _try(lambda: server.run("pg_restore", *options))

    return restore


async def dump_data(system: System) -> Callable[[], Awaitable[float]]:
    """Take a dump of the rows only; empty the tables and fill them again in one transaction."""
    server, path = system.database.server, system.directory / "dump.sql"
    assert server is not None
    await asyncio.to_thread(server.run, "pg_dump", "--data-only", f"--file={path}")

    async def restore() -> float:
        rows = system.database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = ", ".join(f'public."{name}"' for (name,) in rows)
        options = ("--single-transaction", "--quiet", "--set=ON_ERROR_STOP=1", "--no-psqlrc")
        steps = (f"--command=TRUNCATE {tables}", f"--file={path}")
        return await _try(lambda: server.run("psql", *options, *steps))

    return restore


async def back_up(system: System) -> Callable[[], Awaitable[float]]:
    """Take a backup of SQLite as its shell's `.backup` does, and put it back as `.restore` does."""
    path, copy = system.database.path, system.directory / "backup.sqlite3"
    assert path is not None

    def carry(source: str, target: str) -> str:
        with (
            closing(sqlite3.connect(source, timeout=10.0)) as here,
            closing(sqlite3.connect(target, timeout=10.0)) as there,
        ):
            here.backup(there)
        return ""

    await asyncio.to_thread(carry, str(path), str(copy))

    async def restore() -> float:
        return await _try(lambda: carry(str(copy), str(path)))

    return restore


async def _try(restore: Callable[[], str]) -> float:
    """Restore, again where the database had to end it for a worker's sake; return when the last try began."""
    for last in (*[False] * (TRIES - 1), True):
        begun = time.monotonic()
        try:
            await asyncio.to_thread(restore)
        except (RuntimeError, sqlite3.OperationalError):
            if last:
                raise
        else:
            break
    return begun


# A replica is promoted


async def lose_sight(system: System) -> Callable[[], Awaitable[float]]:
    """Let the replica get nothing more; lose the primary, and promote the replica."""
    server, replica = system.database.server, system.replica
    assert server is not None
    assert replica is not None
    system.proxy.links["replica"].set(up=BLACK, down=BLACK)
    await lasting(COPIED)

    async def promote() -> float:
        begun = time.monotonic()
        await asyncio.to_thread(server.kill)
        system.proxy.links["replica"].cut(reset=True)
        await asyncio.to_thread(replica.execute, "SELECT pg_promote()")
        system.database.server, system.database.url = replica, replica.url
        system.proxy.links["database"].targets = (replica.port,)
        return begun

    return promote


def _register(
    key: str,
    name: str,
    system: str,
    copy: Copy,
    *,
    renew: bool = False,
    kill: bool = False,
) -> None:
    """Put a way to rewind into the list of faults."""

    @fault(
        key,
        name,
        systems=(system,),
        pause=AFTERWARDS,
        limits={} if kill else IN_TIME,
        least=1,
        rewinds=True,
        once=True,
    )
    async def inject(system: System, chance: random.Random, history: History) -> str | None:
        return await rewind(system, history, copy, renew=renew, kill=kill)


_register("25", "a replica 2 s behind is promoted", "replica", lose_sight, renew=True, kill=True)
_register("38", "a dump is restored, workers live", "postgresql", dump)
_register("38b", "tables refilled, workers live, new epochs", "redis-engine", dump_data, renew=True)
_register("38c", "late replica promoted, workers live", "replica", lose_sight)
_register("38d", "the same, new epochs", "replica", lose_sight, renew=True)
_register("38e", "SQLite is restored, the worker lives", "sqlite", back_up)
