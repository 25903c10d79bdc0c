"""The system under test: private Redis and PostgreSQL, workers with a supervisor, a proxy on every link."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from djwsbridge.testing.history import History, Member, Pointer, Row, digest
from tests.faults.proxy import Link, Proxy, fault_proxy
from tests.servers import (
    ROOT,
    PostgresServer,
    Process,
    RedisServer,
    ServerName,
    Site,
    child_environment,
    free_port,
    postgres_server,
    redis_server,
    run_manage,
)

__all__ = ["SYSTEMS", "Database", "Layout", "System", "Worker", "running_system"]

RESTART_DELAY = 1.0  # seconds until the supervisor starts a dead worker again
LOOK_INTERVAL = 0.05  # seconds between two looks of the supervisor
FRONTS = 2  # ways in for clients, so that one half can have trouble that the other has not

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
    "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
    "DEBUG": "0",
    "HTTPS": "0",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Layout:
    """What a system is made of.

    Args:
        database: `sqlite` or `postgresql`.
        workers: under which server each runs.
        redis: whether Redis connects them.
        engine: `DJWSBRIDGE_ENGINE`; the default when empty.
    """

    database: str
    workers: tuple[ServerName, ...]
    redis: bool
    engine: str = ""


#: The systems that faults are tried on.
SYSTEMS: Mapping[str, Layout] = {
    "sqlite": Layout("sqlite", ("uvicorn",), redis=False),
    "sqlite-daphne": Layout("sqlite", ("daphne",), redis=False),
    "sqlite-3": Layout("sqlite", ("uvicorn", "uvicorn", "daphne"), redis=True),
    "postgresql": Layout("postgresql", ("uvicorn", "uvicorn", "daphne"), redis=True),
    "redis-engine": Layout(
        "postgresql", ("uvicorn", "uvicorn", "daphne"), redis=True, engine="redis"
    ),
}


@dataclass
class Database:
    """Where the truth is, reached past the proxy.

    Args:
        url: as Django takes it.
        path: of the SQLite file; None for PostgreSQL.
        server: of PostgreSQL; None for SQLite.
    """

    url: str
    path: Path | None = None
    server: PostgresServer | None = None

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        if self.path is not None:
            with closing(sqlite3.connect(self.path, timeout=10.0)) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(self.url, autocommit=True) as link:
            return link.execute(statement).fetchall()

    def read_rows(self, history: History, rooms: Sequence[int]) -> None:
        """Write down every number and every pointer of the rooms, as they are stored."""
        chosen = f"({', '.join(map(str, rooms))})"
        rows: dict[tuple[object, object], Row] = {}
        others = []
        for room, seq, sender, body, mid in self.query(
            "SELECT room_id, seq, sender_id, body, client_message_id FROM djwsbridge_chat_message"
            f" WHERE room_id IN {chosen}"
        ):
            row = Row(room=room, seq=seq, id=_id(mid), sender=sender, body=digest(body))
            others.extend([row] if (room, seq) in rows else [])
            rows.setdefault((room, seq), row)
        for name, seq, kind in self.query(
            "SELECT name, e.seq, type FROM djwsbridge_log_event e"
            " JOIN djwsbridge_log_topic t ON t.id = e.topic_id"
        ):
            room = int(name.removeprefix("room.")) if name.startswith("room.") else 0
            if room in rooms and ((room, seq) not in rows or kind != "message.sent"):
                others.append(Row(room=room, seq=seq))
        for row in (*rows.values(), *others):
            history.add(row)
        for room, user, delivered, read in self.query(
            "SELECT room_id, user_id, delivered_seq, read_seq FROM djwsbridge_chat_membership"
            f" WHERE room_id IN {chosen}"
        ):
            history.add(Pointer(room=room, user=user, delivered_seq=delivered, read_seq=read))
            history.add(Member(room=room, user=user))


class Worker:
    """A worker and its supervisor's view of it."""

    def __init__(self, site: Site) -> None:
        self.site = site
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
    redis: RedisServer | None
    workers: list[Worker]
    fronts: list[Link]
    env: Mapping[str, str]
    people: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    # (worker, when it died, exit status) of deaths that no fault has claimed.
    crashes: list[tuple[int, float, int]] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        """Return where clients connect."""
        return [f"ws://127.0.0.1:{front.port}/ws/bridge/" for front in self.fronts]

    def populate(self, people: int, rooms: int) -> None:
        """Make people and rooms."""
        command = [sys.executable, "-m", "tests.faults.prepare", str(people), str(rooms)]
        env = child_environment({**self.env, "DATABASE_URL": self.database.url})
        env.pop("DJWSBRIDGE_CRASH_POINT", None)  # for the workers
        done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        made = json.loads(done.stdout)
        self.people, self.tokens, self.rooms = made["users"], made["tokens"], made["rooms"]

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
                elif now - worker.died >= RESTART_DELAY:
                    Process.start(worker.site)  # without waiting until it answers
                    worker.died = None
            await asyncio.sleep(LOOK_INTERVAL)


@contextmanager
def running_system(
    layout: Layout, directory: Path, *, seed: int, env: Mapping[str, str] | None = None
) -> Iterator[System]:
    """Run a system until the block ends.

    Args:
        layout: what it is made of.
        directory: for its files and logs.
        seed: of the proxy's chance.
        env: more settings of the workers.
    """
    with ExitStack() as stack:
        proxy = stack.enter_context(fault_proxy(seed))
        redis, settings = None, {**SETTINGS, "PYTHONUNBUFFERED": "1"}
        if layout.redis:
            redis = stack.enter_context(redis_server(directory))
            settings["REDIS_URL"] = f"redis://127.0.0.1:{proxy.link('redis', redis.port).port}/0"
            settings["FAULTS_ENGINE"] = layout.engine
        database = _make_database(layout, directory, stack)
        run_manage("migrate", "--verbosity=0", env={**settings, "DATABASE_URL": database.url})
        settings["DATABASE_URL"] = database.url
        if database.server is not None:
            port = proxy.link("database", database.server.port).port
            settings["DATABASE_URL"] = f"postgresql://djwsbridge@127.0.0.1:{port}/djwsbridge"
        workers = []
        for number, server in enumerate(layout.workers):
            site = Site(
                server,
                application="config.asgi:application",
                port=free_port(),
                log=directory / f"worker-{number}-{server}.log",
                env={**settings, **(env or {})},
                cwd=ROOT,
                ready_path="/healthz",
            )
            workers.append(Worker(site))
            stack.callback(site.kill)
            site.start()
        ports = [worker.site.port for worker in workers]
        fronts = [proxy.link(f"front-{number}", *ports) for number in range(FRONTS)]
        yield System(
            layout, directory, proxy, database, redis, workers, fronts, {**settings, **(env or {})}
        )


def _make_database(layout: Layout, directory: Path, stack: ExitStack) -> Database:
    if layout.database == "sqlite":
        path = directory / "site.sqlite3"
        return Database(f"sqlite:///{path}", path=path)
    server = stack.enter_context(postgres_server())
    return Database(server.url, server=server)


def _id(value: object) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))
