"""The database of a run: migrated and with its people in it, reached past the proxy to read the truth."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from djwsbridge.testing.history import History, Member, Pointer, Row, digest
from tests.servers import (
    ROOT,
    PostgresServer,
    child_environment,
    postgres_server,
    run_manage,
    small_disk,
)

__all__ = ["SETTINGS", "Database", "Made", "running_database"]

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
    "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
    "DEBUG": "0",
    "HTTPS": "0",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Made:
    """Who takes part in a run.

    Args:
        people: their ids.
        tokens: of each.
        places: the rooms of each.
    """

    people: list[int]
    tokens: list[str]
    places: list[list[int]]

    @property
    def rooms(self) -> list[int]:
        """Return every room."""
        return sorted({room for rooms in self.places for room in rooms})


@dataclass
class Database:
    """Where the truth is.

    Args:
        url: as Django takes it.
        path: of the SQLite file; None for PostgreSQL.
        server: of PostgreSQL; None for SQLite.
    """

    url: str
    path: Path | None = None
    server: PostgresServer | None = None
    # Numbers of events that are no messages, and that the log does not have any more.
    kept: list[Row] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """Return where its files lie."""
        if self.server is not None:
            return self.server.data.parent
        assert self.path is not None
        return self.path.parent

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
        for kind, row in self._events(rooms):
            if (row.room, row.seq) not in rows or kind != "message.sent":
                others.append(row)
        for row in (*rows.values(), *others, *self.kept):
            history.add(row)
        for room, user, delivered, read in self.query(
            "SELECT room_id, user_id, delivered_seq, read_seq FROM djwsbridge_chat_membership"
            f" WHERE room_id IN {chosen}"
        ):
            history.add(Pointer(room=room, user=user, delivered_seq=delivered, read_seq=read))
            history.add(Member(room=room, user=user))

    def keep_numbers(self, rooms: Sequence[int]) -> None:
        """Remember the numbers that only the log knows, before it is purged."""
        known = {(row.room, row.seq) for row in self.kept}
        for kind, row in self._events(rooms):
            if kind != "message.sent" and (row.room, row.seq) not in known:
                self.kept.append(row)

    def _events(self, rooms: Sequence[int]) -> Iterator[tuple[str, Row]]:
        for name, seq, kind in self.query(
            "SELECT name, e.seq, type FROM djwsbridge_log_event e"
            " JOIN djwsbridge_log_topic t ON t.id = e.topic_id"
        ):
            room = int(str(name).removeprefix("room.")) if str(name).startswith("room.") else 0
            if room in rooms:
                yield str(kind), Row(room=room, seq=int(str(seq)))


@contextmanager
def running_database(
    kind: str, directory: Path, *, people: int, rooms: int, sabotage: str = "", disk: int = 0
) -> Iterator[tuple[Database, Made]]:
    """Run a database with people and rooms in it until the block ends.

    Args:
        kind: `sqlite` or `postgresql`.
        directory: for the files of SQLite.
        people: how many.
        rooms: how many, with every other one in each.
        sabotage: its key in `PREPARATIONS`; none when empty.
        disk: megabytes of the disk that it lies on; 0 for the one that everything else is on.
    """
    template, made = (_make if sabotage else _template)(kind, people, rooms, sabotage)
    if kind == "sqlite":
        folder = directory / "database"
        folder.mkdir()
        with small_disk(folder, disk):
            path = Path(shutil.copy(template, folder))
            yield Database(f"sqlite:///{path}", path=path), made
    else:
        few = ("-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB") if disk else ()
        with postgres_server(template=template, options=few, disk=disk) as server:
            yield Database(server.url, server=server), made


@functools.cache
def _template(kind: str, people: int, rooms: int, sabotage: str) -> tuple[Path, Made]:
    return _make(kind, people, rooms, sabotage)


def _make(kind: str, people: int, rooms: int, sabotage: str) -> tuple[Path, Made]:
    """Return the files of a database that is ready, to be copied; they live as long as this process."""
    directory = Path(tempfile.mkdtemp(prefix="djwsbridge-template-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    if kind == "sqlite":
        path = directory / "site.sqlite3"
        made = _fill(f"sqlite:///{path}", people, rooms, sabotage)
        with closing(sqlite3.connect(path)) as connection:  # all of it in one file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path, made
    with postgres_server() as server:
        made = _fill(server.url, people, rooms, sabotage)
        server.stop(signal.SIGINT)
        subprocess.run(["cp", "-a", server.data, directory / "data"], check=True)
    return directory / "data", made


def _fill(url: str, people: int, rooms: int, sabotage: str) -> Made:
    settings: Mapping[str, str] = {
        **SETTINGS,
        "DATABASE_URL": url,
        "FAULTS_SABOTAGE": sabotage,
    }
    run_manage("migrate", "--verbosity=0", env=settings)
    command = [sys.executable, "-m", "tests.faults.prepare", str(people), str(rooms)]
    env = child_environment(settings)
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    made = json.loads(done.stdout)
    return Made(made["users"], made["tokens"], made["places"])


def _id(value: object) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))
