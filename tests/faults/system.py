"""The system under test: private Redis and PostgreSQL, workers with a supervisor, a proxy where trouble is made."""

from __future__ import annotations

import asyncio
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.database import SETTINGS, Database, Made, running_database
from tests.faults.proxy import Link, Proxy, fault_proxy
from tests.redis_rig import SentinelSite, redis_with_sentinel
from tests.servers import (
    ROOT,
    PostgresServer,
    Process,
    RedisServer,
    ServerName,
    Site,
    find_binary,
    free_port,
    postgres_replica,
    redis_server,
)

if TYPE_CHECKING:
    from tests.faults.of_lies import Liar
    from tests.faults.staff import Staff

__all__ = ["SYSTEMS", "Layout", "System", "Worker", "running_system", "set_clock"]

RESTART_DELAY = 1.0  # seconds until the supervisor starts a dead worker again
LOOK_INTERVAL = 0.05  # seconds between two looks of the supervisor
FRONTS = 2  # ways in for clients, so that one half can have trouble that the other has not
MIXED: tuple[ServerName, ...] = ("uvicorn", "uvicorn", "daphne")


@dataclass(frozen=True)
class Layout:
    """What a system is made of.

    Args:
        database: `sqlite` or `postgresql`.
        workers: under which server each runs.
        redis: whether Redis connects them.
        engine: `DJWSBRIDGE_ENGINE`; the default when empty.
        sentinel: whether there are two of Redis, and a sentinel.
        replica: whether PostgreSQL has a replica, asynchronous, over a link of its own.
        disk: megabytes of the database's own disk; 0 for none of its own.
        links: what workers reach through the proxy: `redis`, `database`. It shares a process with the clients and adds
            milliseconds to every round trip, of which a channel layer needs three for each push.
        clocks: whether each worker but the first has a wall clock of its own.
    """

    database: str
    workers: tuple[ServerName, ...] = MIXED
    redis: bool = True
    engine: str = ""
    sentinel: bool = False
    replica: bool = False
    disk: int = 0
    links: tuple[str, ...] = ()
    clocks: bool = False


#: The systems that faults are tried on.
SYSTEMS: Mapping[str, Layout] = {
    "sqlite": Layout("sqlite", ("uvicorn",), redis=False),
    "sqlite-daphne": Layout("sqlite", ("daphne",), redis=False),
    "sqlite-fast": Layout("sqlite", ("fast",), redis=False),
    "sqlite-3": Layout("sqlite"),
    "sqlite-disk": Layout("sqlite", ("uvicorn",), redis=False, disk=16),
    "postgresql": Layout("postgresql"),
    "far-database": Layout("postgresql", links=("database",)),
    "far": Layout("postgresql", engine="redis", links=("redis", "database")),
    "redis-engine": Layout("postgresql", engine="redis", links=("redis",)),
    "sentinel": Layout("postgresql", engine="redis", sentinel=True),
    "replica": Layout("postgresql", engine="redis", replica=True),
    "disk": Layout("postgresql", disk=256),
    "clocks": Layout("postgresql", engine="redis", clocks=True),
}


class Worker:
    """A worker and its supervisor's view of it."""

    def __init__(self, site: Site, clock: Path | None = None) -> None:
        self.site = site
        # The file that says by how much its wall clock is wrong; None when it has the machine's.
        self.clock = clock
        # When it was seen dead; None while it runs.
        self.died: float | None = None
        # Faults that end it on purpose say so, to tell them from crashes of its own.
        self.expected = False

    @property
    def is_running(self) -> bool:
        """Say whether the process is there."""
        return self.site.popen.poll() is None

    def kill(self) -> None:
        """End it as a crash would."""
        self.expected = True
        self.site.send_signal(signal.SIGKILL)


@dataclass
class System:
    """Everything that runs, and what a fault may lay hands on."""

    layout: Layout
    directory: Path
    proxy: Proxy
    database: Database
    made: Made
    redis: RedisServer | None
    sentinel: SentinelSite | None
    replica: PostgresServer | None
    workers: list[Worker]
    fronts: list[Link]
    # The settings of the workers.
    env: Mapping[str, str]
    # Whether the supervisor leaves dead workers alone, as when an operator has stopped the site.
    is_stopped: bool = False
    # Rooms in which the writers write nothing at present.
    silent: set[int] = field(default_factory=set)
    # What should not have been, in words, as far as a fault itself has seen it.
    problems: list[str] = field(default_factory=list)
    # Held while somebody visits a room, so that a fault can wait until all memberships are at rest.
    visits: asyncio.Lock = field(default_factory=asyncio.Lock)
    # What faults have started and use again; ended with the run.
    helpers: AsyncExitStack = field(default_factory=AsyncExitStack)
    staff: Staff | None = None
    liar: Liar | None = None
    # (worker, when it died, exit status) of deaths that no fault has claimed.
    crashes: list[tuple[int, float, int]] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Return where clients connect."""
        return [f"ws://127.0.0.1:{front.port}/ws/bridge/" for front in self.fronts]

    @property
    def ports(self) -> list[int]:
        """Return the ports of the workers that run, past the proxy."""
        return [worker.site.port for worker in self.workers if worker.is_running]

    async def supervise(self) -> None:
        """Start every worker again a second after it has ended, until cancelled."""
        while True:
            for number, worker in enumerate(self.workers):
                now = time.monotonic()
                if worker.is_running:
                    worker.died = None
                elif worker.died is None:
                    worker.died = now
                    if not worker.expected:
                        status = worker.site.popen.returncode
                        self.crashes.append((number, now, status))
                    worker.expected = False
                elif now - worker.died >= RESTART_DELAY and not self.is_stopped:
                    Process.start(worker.site)  # without waiting until it answers
                    worker.died = None
            await asyncio.sleep(LOOK_INTERVAL)


@contextmanager
def running_system(
    layout: Layout,
    directory: Path,
    *,
    seed: int,
    people: int,
    rooms: int,
    env: Mapping[str, str] | None = None,
) -> Iterator[System]:
    """Run a system until the block ends.

    Args:
        layout: what it is made of.
        directory: for its files and logs.
        seed: of the proxy's chance.
        people: how many there are.
        rooms: how many there are.
        env: more settings of the workers.
    """
    settings = {**SETTINGS, "PYTHONUNBUFFERED": "1", **(env or {})}
    with ExitStack() as stack:
        proxy = stack.enter_context(fault_proxy(seed))
        redis, sentinel = _start_redis(layout, directory, proxy, settings, stack)
        database, made = stack.enter_context(
            running_database(
                layout.database,
                directory,
                people=people,
                rooms=rooms,
                sabotage=settings.get("FAULTS_SABOTAGE", ""),
                disk=layout.disk,
            )
        )
        settings["DATABASE_URL"] = database.url
        replica = None
        if database.server is not None:
            if "database" in layout.links or layout.replica:
                port = proxy.link("database", database.server.port).port
                settings["DATABASE_URL"] = f"postgresql://djwsbridge@127.0.0.1:{port}/djwsbridge"
            if layout.replica:
                port = proxy.link("replica", database.server.port).port
                url = f"postgresql://djwsbridge@127.0.0.1:{port}"
                replica = stack.enter_context(postgres_replica(url))
        workers = _start_workers(layout, directory, settings, stack)
        ports = [worker.site.port for worker in workers]
        yield System(
            layout=layout,
            directory=directory,
            proxy=proxy,
            database=database,
            made=made,
            redis=redis,
            sentinel=sentinel,
            replica=replica,
            workers=workers,
            fronts=[proxy.link(f"front-{number}", *ports) for number in range(FRONTS)],
            env=settings,
        )


def _start_redis(
    layout: Layout, directory: Path, proxy: Proxy, settings: dict[str, str], stack: ExitStack
) -> tuple[RedisServer | None, SentinelSite | None]:
    """Start what Redis there is, and tell the settings where."""
    settings["FAULTS_ENGINE"] = layout.engine
    if layout.sentinel:  # it tells where the primary is, past any proxy
        sentinel = stack.enter_context(redis_with_sentinel(directory))
        settings["FAULTS_REDIS_URL"] = sentinel.url
        return None, sentinel
    if not layout.redis:
        return None, None
    redis = stack.enter_context(redis_server(directory))
    port = proxy.link("redis", redis.port).port if "redis" in layout.links else redis.port
    settings["REDIS_URL"] = settings["FAULTS_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    return redis, None


def _start_workers(
    layout: Layout, directory: Path, settings: Mapping[str, str], stack: ExitStack
) -> list[Worker]:
    """Start all workers, and return when all answer."""
    workers = []
    for number, server in enumerate(layout.workers):
        clock = directory / f"clock-{number}" if layout.clocks and number else None
        site = Site(
            server,
            application="config.asgi:application",
            port=free_port(),
            log=directory / f"worker-{number}-{server}.log",
            env={**settings, **_clock_settings(clock)},
            cwd=ROOT,
            ready_path="/healthz",
        )
        workers.append(Worker(site, clock))
        stack.callback(site.kill)
        Process.start(site)
    for worker in workers:
        worker.site.wait_answer()
    return workers


def _clock_settings(clock: Path | None) -> Mapping[str, str]:
    """Return what gives a process a wall clock that a file sets."""
    if clock is None:
        return {}
    set_clock(clock, 0)
    library = clock.parent / "clock.so"
    compiler = find_binary("cc", package="gcc")
    source = Path(__file__).with_name("clock.c")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return {"LD_PRELOAD": str(library), "WALL_CLOCK": str(clock)}


def set_clock(clock: Path, seconds: int) -> None:
    """Make a wall clock wrong by so many seconds."""
    with clock.open("r+b" if clock.exists() else "wb") as file:
        file.write(struct.pack("q", seconds))
