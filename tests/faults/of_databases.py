"""Faults of the database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
from pathlib import Path

import psycopg

from djwsbridge.testing.history import History
from tests.faults.catalogue import FAR, fault, lasting, start
from tests.faults.proxy import BLACK, Trouble
from tests.faults.system import System

FIRST = {("recovery", "max"): 5.0}  # the first answer after the end of an outage


@fault("18", "pg_terminate_backend", pause=0.5)
async def end_backends(system: System, chance: random.Random, history: History) -> str | None:
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
        " WHERE datname = 'djwsbridge' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2) x"
    )
    rows = await asyncio.to_thread(system.database.query, statement)
    return f"{rows[0][0]} backends" if rows[0][0] else None


async def restart_database(system: System, seconds: float) -> str:
    server = system.database.server
    assert server is not None
    await asyncio.to_thread(server.stop, signal.SIGQUIT)  # "immediate shutdown": no checkpoint
    await lasting(seconds)
    await start(server)
    return f"down for {seconds:.0f} s"


@fault("19", "PostgreSQL immediate stop", pause=8.0, limits=FIRST, least=2)
async def stop_database(system: System, chance: random.Random, history: History) -> str | None:
    return await restart_database(system, 5.0)


@fault("19b", "PostgreSQL away for 20 s", pause=8.0, limits=FIRST, least=1)
async def lose_database(system: System, chance: random.Random, history: History) -> str | None:
    return await restart_database(system, 20.0)


@fault("20", "slow database", systems=FAR, pause=5.0, limits={("ack", "p99"): 10.0})
async def slow_database(system: System, chance: random.Random, history: History) -> str | None:
    trouble = Trouble(latency=0.25, jitter=0.25)  # there and back: 500 ms ± 500
    system.proxy.links["database"].set(up=trouble, down=trouble)
    await lasting(5.0)
    system.proxy.links["database"].heal()
    return "5 s"


@fault("21", "database in a black hole", systems=FAR, pause=8.0, limits=FIRST, least=2)
async def hide_database(system: System, chance: random.Random, history: History) -> str | None:
    link = system.proxy.links["database"]
    link.set(up=BLACK, down=BLACK)
    await lasting(8.0)
    link.heal()
    return "8 s"


@fault(
    "34",
    "SQLite write lock 10 s",
    systems=("sqlite", "sqlite-3"),
    pause=8.0,
    limits=FIRST,
    least=2,
)
async def lock_database(system: System, chance: random.Random, history: History) -> str | None:
    path = system.database.path
    assert path is not None
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
        await lasting(10.0)
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    return "10 s"


# No room: no connections, no threads, no disk


@fault("22", "PostgreSQL has no connection left", pause=3.0)
async def take_connections(system: System, chance: random.Random, history: History) -> str | None:
    """Take every connection away, and end those of the workers, which then find none."""
    taken: list[psycopg.Connection[tuple[object, ...]]] = []
    try:
        await asyncio.to_thread(_take_all, system.database.url, taken)
        ours = [link.info.backend_pid for link in taken]
        await asyncio.to_thread(
            taken[0].execute,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'djwsbridge' AND pid <> ALL(%s)",
            [ours],
        )
        await asyncio.to_thread(_take_all, system.database.url, taken)
        await lasting(5.0)
    finally:
        for link in taken:
            link.close()
    return f"{len(taken)} connections, 5 s"


def _take_all(url: str, taken: list[psycopg.Connection[tuple[object, ...]]]) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(url, autocommit=True))


@fault(
    "22b",
    "two threads, slow database, all clients cut",
    systems=FAR,
    env={"FAULTS_THREADS": "2"},
    pause=4.0,
    limits={("away", "max"): 30.0},
)
async def cut_with_few_threads(
    system: System, chance: random.Random, history: History
) -> str | None:
    """Let handshakes and sends wait for the same two threads."""
    trouble = Trouble(latency=0.02)
    system.proxy.links["database"].set(up=trouble, down=trouble)
    count = sum(front.cut(reset=True) for front in system.fronts)
    await lasting(4.0)
    system.proxy.links["database"].heal()
    return f"{count} connections"


FILLER = "filler"


@fault("23", "PostgreSQL's disk is full", systems=("disk",), pause=4.0, least=2)
async def fill_disk(system: System, chance: random.Random, history: History) -> str | None:
    """Fill the disk for a while; a server that has ended is started again, as its supervisor would."""
    folder = system.database.directory
    free = os.statvfs(folder)
    await asyncio.to_thread(_fill, folder / FILLER, free.f_bavail * free.f_frsize)
    await lasting(6.0)
    (folder / FILLER).unlink()
    server = system.database.server
    if server is not None and server.popen.poll() is not None:
        await start(server)
        return "6 s; the server had ended"
    return "6 s"


@fault("24", "SQLite's disk is full", systems=("sqlite-disk",), pause=4.0, least=2)
async def fill_small_disk(system: System, chance: random.Random, history: History) -> str | None:
    return await fill_disk(system, chance, history)


def _fill(path: Path, size: int) -> None:
    """Take all the room that there is."""
    subprocess.run(["fallocate", f"--length={size}", path], check=False, capture_output=True)
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
