"""Start a server on its core, wait until it listens, and say what it costs."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.build import ROOT
from benchmarks.harness.cores import HELPER_CORE, SERVER_CORE, on_core
from tests.servers import PostgresServer, Process, RedisServer, postgres_server, redis_server

__all__ = [
    "children_of",
    "cpu_of",
    "listens",
    "memory_of",
    "private_postgres",
    "private_redis",
    "server",
]


@contextmanager
def server(
    command: Sequence[str],
    *,
    port: int,
    directory: Path,
    env: Mapping[str, str] | None = None,
    core: int = SERVER_CORE,
    cwd: Path = ROOT,
) -> Iterator[Process]:
    """Run a server until the block ends, which begins when the server listens.

    Args:
        command: how it is started.
        port: of 127.0.0.1, where it will listen.
        directory: where its log goes.
        env: on top of this process's environment.
        core: the only one that it may use.
        cwd: where it is started.
    """
    log = directory / f"server-{port}.log"
    process = Process(on_core(core, list(command)), log=log, env=env or {}, cwd=cwd)
    try:
        process.start()
        process.wait_ready(lambda: listens(port))
        yield process
    finally:
        process.stop()


@contextmanager
def private_redis(directory: Path, *, core: int = HELPER_CORE) -> Iterator[RedisServer]:
    """Run a Redis that keeps nothing on disk, on the core of the helpers."""
    with redis_server(directory) as redis:
        _move(redis.pid, core)
        yield redis


@contextmanager
def private_postgres(*, core: int = HELPER_CORE) -> Iterator[PostgresServer]:
    """Run a PostgreSQL with `synchronous_commit=on`, on the core of the helpers."""
    with postgres_server() as postgres:
        for pid in [postgres.pid, *children_of(postgres.pid)]:
            _move(pid, core)
        yield postgres


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found += [child, *children_of(child)]
    return found


def memory_of(pids: Sequence[int]) -> int:
    """Return the bytes of memory that processes occupy (RSS)."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu_of(pids: Sequence[int]) -> float:
    """Return the seconds of processor time that processes have used, and those children of theirs that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(
            FileNotFoundError, ProcessLookupError
        ):  # it has ended: its parent has its time
            # After the name, which stands in brackets and may hold anything.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def listens(port: int) -> bool:
    """Say whether somebody listens on a port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _move(pid: int, core: int) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})
