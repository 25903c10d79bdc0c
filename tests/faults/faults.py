"""The faults, by their numbers: what is done to the system, once, and undone.

An injection returns what it did, or None when there was nothing to do it to. Each lasts as long as the fault does, and
what it leaves behind heals by itself or by `heal`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import redis as redis_library

from djwsbridge.testing.history import History, Member
from tests.faults.proxy import PASS, Trouble
from tests.faults.system import System, Worker
from tests.servers import PostgresServer, Process, RedisServer

__all__ = ["FAULTS", "LEAVERS", "Fault", "Injection", "heal"]

Injection = Callable[[System, random.Random, History], Awaitable[str | None]]

FULL = ("postgresql",)
ENGINE = ("redis-engine",)
ENGINES = (*FULL, *ENGINE)
SMALL_TOO = ("postgresql", "sqlite")
BLACK = Trouble(black=True)


@dataclass(frozen=True)
class Fault:
    """A fault, and what must hold under it.

    Args:
        number: in the list of promises.
        name: what is done, in a few words.
        inject: does it once; None when the workers do it to themselves.
        systems: what it is tried on, of `SYSTEMS`.
        pause: seconds from one injection to the next, on average.
        env: settings of the workers.
        limits: figures that must not be exceeded: `ack`, `delivery` or `away`, then the percentile, to seconds.
    """

    number: int
    name: str
    inject: Injection | None
    systems: tuple[str, ...] = FULL
    pause: float = 1.0
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[tuple[str, str], float] = field(default_factory=dict)


#: Number (with a letter for a variant) → fault.
FAULTS: dict[str, Fault] = {}


def fault(
    key: str,
    name: str,
    *,
    systems: tuple[str, ...] = FULL,
    pause: float = 1.0,
    limits: Mapping[tuple[str, str], float] | None = None,
) -> Callable[[Injection], Injection]:
    """Put an injection into the list."""

    def register(inject: Injection) -> Injection:
        number = int("".join(filter(str.isdigit, key)))
        FAULTS[key] = Fault(number, name, inject, systems, pause, limits=limits or {})
        return inject

    return register


def crash_point(key: str, point: str, **limits: float) -> None:
    """Put a crash of the workers' own into the list."""
    env = {"DJWSBRIDGE_CRASH_POINT": point, "DJWSBRIDGE_CRASH_RATE": "0.01"}
    named = {tuple(limit.split("_")): seconds for limit, seconds in limits.items()}
    FAULTS[key] = Fault(int(key), f"SIGKILL {point}", None, SMALL_TOO, env=env, limits=named)


def pick(system: System, chance: random.Random) -> Worker | None:
    """Return one of the workers that run."""
    running = [worker for worker in system.workers if worker.is_running]
    return chance.choice(running) if running else None


async def lasting(seconds: float) -> None:
    """Let a fault last."""
    await asyncio.sleep(seconds)


async def start(server: RedisServer | PostgresServer) -> None:
    """Start a server again: from this thread, since it ends with the thread that it is a child of."""
    Process.start(server)
    await asyncio.to_thread(server.wait_ready, server._answers)


# Workers


@fault("1", "worker SIGKILL", pause=3.0, limits={("away", "p99"): 15.0})
async def kill_worker(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.kill()
    return f"pid {worker.site.pid}"


crash_point("2", "after_commit")
crash_point("3", "after_ack_before_publish", delivery_p99=6.0)
crash_point("4", "before_commit")


@fault(
    "5",
    "all workers SIGKILL",
    systems=(*SMALL_TOO, "sqlite-daphne"),
    pause=6.0,
    limits={("away", "max"): 30.0},
)
async def kill_all(system: System, chance: random.Random, history: History) -> str | None:
    for worker in system.workers:
        worker.kill()
    return f"{len(system.workers)} workers"


async def pause_worker(system: System, chance: random.Random, seconds: float) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.site.send_signal(signal.SIGSTOP)
    try:
        await lasting(seconds)
    finally:
        worker.site.send_signal(signal.SIGCONT)
    return f"{seconds:.0f} s, pid {worker.site.pid}"


@fault("6", "worker SIGSTOP 5 s")
async def pause_5(system: System, chance: random.Random, history: History) -> str | None:
    return await pause_worker(system, chance, 5.0)


@fault("6b", "worker SIGSTOP 40 s")
async def pause_40(system: System, chance: random.Random, history: History) -> str | None:
    return await pause_worker(system, chance, 40.0)


@fault("8", "worker SIGTERM", systems=SMALL_TOO, pause=3.0)
async def drain_worker(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.expected = True
    begun, pid = time.monotonic(), worker.site.pid
    worker.site.send_signal(signal.SIGTERM)
    while worker.is_running and worker.site.pid == pid:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.05)
    return f"exit after {time.monotonic() - begun:.1f} s"


@fault("9", "worker SIGTERM, then SIGKILL")
async def drain_too_long(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.expected = True
    worker.site.send_signal(signal.SIGTERM)
    await lasting(2.0)
    worker.kill()
    return f"pid {worker.site.pid}"


# Redis


async def restart_redis(system: System, seconds: float) -> str:
    assert system.redis is not None
    await asyncio.to_thread(system.redis.kill)
    await lasting(seconds)
    await start(system.redis)
    return f"down for {seconds:.0f} s"


@fault(
    "10",
    "Redis SIGKILL and restart",
    systems=ENGINES,
    limits={("ack", "p99"): 1.0, ("delivery", "max"): 6.0},
)
async def kill_redis(system: System, chance: random.Random, history: History) -> str | None:
    return await restart_redis(system, chance.choice((0.0, 5.0)))


@fault("11", "Redis SIGSTOP 10 s", systems=ENGINES, limits={("ack", "p99"): 1.0})
async def pause_redis(system: System, chance: random.Random, history: History) -> str | None:
    assert system.redis is not None
    system.redis.send_signal(signal.SIGSTOP)
    try:
        await lasting(10.0)
    finally:
        system.redis.send_signal(signal.SIGCONT)
    return "10 s"


async def tell_redis(system: System, *command: str) -> object:
    assert system.redis is not None
    port = system.redis.port

    def tell() -> object:
        with redis_library.Redis(port=port, socket_timeout=5.0) as client:
            return client.execute_command(*command)

    return await asyncio.to_thread(tell)


@fault("12", "Redis FLUSHALL", systems=ENGINES)
async def flush_redis(system: System, chance: random.Random, history: History) -> str | None:
    await tell_redis(system, "FLUSHALL")
    return "flushed"


@fault("13", "Redis CLIENT KILL TYPE pubsub", systems=ENGINE, pause=2.0)
async def kill_subscribers(system: System, chance: random.Random, history: History) -> str | None:
    killed = await tell_redis(system, "CLIENT", "KILL", "TYPE", "pubsub")
    return f"{killed} connections" if killed else None


@fault("14", "Redis out of memory", systems=ENGINE, limits={("ack", "p99"): 1.0})
async def fill_redis(system: System, chance: random.Random, history: History) -> str | None:
    await tell_redis(system, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "1")
    await lasting(4.0)
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "0")
    return "4 s"


@fault("17", "Redis in a black hole", systems=ENGINE, limits={("ack", "p99"): 1.0})
async def hide_redis(system: System, chance: random.Random, history: History) -> str | None:
    link = system.proxy.links["redis"]
    link.set(up=BLACK, down=BLACK)
    await lasting(10.0)
    link.heal()
    return "10 s"


# The database


@fault("18", "pg_terminate_backend", pause=0.5)
async def end_backends(system: System, chance: random.Random, history: History) -> str | None:
    statement = (
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
        " WHERE datname = 'djwsbridge' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2) x"
    )
    rows = await asyncio.to_thread(system.database.query, statement)
    return f"{rows[0][0]} backends" if rows[0][0] else None


@fault("19", "PostgreSQL immediate stop", pause=5.0)
async def stop_database(system: System, chance: random.Random, history: History) -> str | None:
    server = system.database.server
    assert server is not None
    await asyncio.to_thread(server.stop, signal.SIGQUIT)  # "immediate shutdown": no checkpoint
    await lasting(5.0)
    await start(server)
    return "down for 5 s"


@fault("20", "slow database", limits={("ack", "p99"): 10.0})
async def slow_database(system: System, chance: random.Random, history: History) -> str | None:
    trouble = Trouble(latency=0.25, jitter=0.25)  # there and back: 500 ms ± 500
    system.proxy.links["database"].set(up=trouble, down=trouble)
    await lasting(5.0)
    system.proxy.links["database"].heal()
    return "5 s"


@fault("21", "database in a black hole", pause=4.0)
async def hide_database(system: System, chance: random.Random, history: History) -> str | None:
    link = system.proxy.links["database"]
    link.set(up=BLACK, down=BLACK)
    await lasting(8.0)
    link.heal()
    return "8 s"


@fault("34", "SQLite write lock 10 s", systems=("sqlite", "sqlite-3"))
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


# The network of the clients


@fault("26", "clients RST, FIN, cut, one-byte slices", systems=SMALL_TOO)
async def cut_clients(system: System, chance: random.Random, history: History) -> str | None:
    front, kind = chance.choice(system.fronts), chance.choice(("RST", "FIN", "cut", "slices"))
    if kind in ("RST", "FIN"):
        count = front.cut(reset=kind == "RST", share=0.7)
        return f"{kind} for {count}" if count else None
    trouble = Trouble(slice=1) if kind == "slices" else Trouble(cut_after=chance.randint(1, 3_000))
    front.set(up=trouble, down=trouble)
    await lasting(2.0)
    front.heal()
    return kind


@fault("26b", "replies lost, then RST", systems=SMALL_TOO)
async def lose_replies(system: System, chance: random.Random, history: History) -> str | None:
    """Let what clients send arrive, and nothing come back, until their connections are reset."""
    front = chance.choice(system.fronts)
    front.set(down=BLACK)
    await lasting(chance.uniform(0.2, 1.0))
    count = front.cut(reset=True)
    front.heal()
    return f"RST for {count}" if count else None


@fault("27", "clients hear and are not heard, or the reverse", limits={("away", "max"): 60.0})
async def deafen_clients(system: System, chance: random.Random, history: History) -> str | None:
    front, up = chance.choice(system.fronts), chance.random() < 0.5
    front.set(up=BLACK if up else PASS, down=PASS if up else BLACK)
    await lasting(15.0)
    front.heal()
    return "not heard" if up else "do not hear"


@fault("28", "clients with 300 ms ± 300 and 2 kB/s")
async def slow_clients(system: System, chance: random.Random, history: History) -> str | None:
    front = chance.choice(system.fronts)
    trouble = Trouble(latency=0.3, jitter=0.3, rate=2_000)
    front.set(up=trouble, down=trouble)
    await lasting(6.0)
    front.heal()
    return "6 s"


@fault("30", "all clients cut at once", pause=1.0)
async def cut_everybody(system: System, chance: random.Random, history: History) -> str | None:
    return f"{sum(front.cut(reset=True) for front in system.fronts)} connections"


# Rights


@fault("35", "membership removed", pause=3.0)
async def remove_member(system: System, chance: random.Random, history: History) -> str | None:
    """Let one of the last people leave a room by the API, and note when and at what seq."""
    taken = {(member.user, member.room) for member in history.of(Member)}
    room = chance.choice(system.rooms)
    candidates = [n for n in LEAVERS if (system.people[n], room) not in taken]
    if not candidates:
        return None
    person = chance.choice(candidates)
    status = await asyncio.to_thread(_leave, system, person, room)
    until = time.monotonic()
    if status not in (200, 204):
        return None
    seqs = await asyncio.to_thread(
        system.database.query,
        f"SELECT max(seq) FROM djwsbridge_chat_message WHERE room_id = {int(room)}",
    )
    newest = seqs[0][0] or 0
    history.add(
        Member(user=system.people[person], room=room, until=until, until_seq=int(str(newest)))
    )
    return f"person {person} out of room {room}"


LEAVERS = (-1, -2, -3)  # the last people only read


def _leave(system: System, person: int, room: int) -> int:
    port = system.fronts[0].port
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/chat/api/rooms/{room}/leave/",
        data=json.dumps({}).encode(),
        headers={
            "Authorization": f"Bearer {system.tokens[person]}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10.0) as response:
            status: int = response.status
            return status
    except OSError:
        return 0


async def heal(system: System) -> None:
    """Undo whatever a fault that was interrupted has left behind."""
    system.proxy.heal()
    for process in (system.redis, *(worker.site for worker in system.workers)):
        if process is not None:
            process.send_signal(signal.SIGCONT)
    for server in (system.redis, system.database.server):
        if server is not None and server.popen.poll() is not None:
            await start(server)
