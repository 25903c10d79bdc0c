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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

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

__all__ = ["SETTINGS", "SPARES", "Database", "Made", "Spare", "running_database"]

SPARES = 40  # people who are in no room, for what a fault needs people for

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
    "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
    "DEBUG": "0",
    "HTTPS": "0",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Spare:
    """Somebody who is in no room when a run begins.

    Args:
        user: the id.
        token: of the user.
    """

    user: int
    token: str


@dataclass(frozen=True)
class Made:
    """Who takes part in a run.

    Args:
        people: their ids.
        tokens: of each.
        places: the rooms of each.
        spares: who is in no room; the first one wanders, a fault takes the others.
    """

    people: list[int]
    tokens: list[str]
    places: list[list[int]]
    spares: list[Spare]

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
    # Events that are no messages, and that the log does not have any more.
    kept: list[_Event] = field(default_factory=list)

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
        events = [*self.kept, *self._events(rooms)]
        others += [
            Row(room=event.room, seq=event.seq)
            for event in events
            if (event.room, event.seq) not in rows or event.kind != "message.sent"
        ]
        for row in (*rows.values(), *others):
            history.add(row)
        came = _read_visits(events, history)
        for room, user, delivered, read, joined in self.query(
            "SELECT room_id, user_id, delivered_seq, read_seq, joined_seq"
            f" FROM djwsbridge_chat_membership WHERE room_id IN {chosen}"
        ):
            history.add(Pointer(room=room, user=user, delivered_seq=delivered, read_seq=read))
            since_seq = came.get((room, user), joined)
            history.add(Member(room=room, user=user, since_seq=since_seq))

    def keep_events(self, rooms: Sequence[int]) -> None:
        """Remember what only the log knows, before it is purged."""
        known = {(event.room, event.seq) for event in self.kept}
        for event in self._events(rooms):
            if event.kind != "message.sent" and (event.room, event.seq) not in known:
                self.kept.append(event)

    def _events(self, rooms: Sequence[int]) -> Iterator[_Event]:
        for name, seq, kind, payload in self.query(
            "SELECT name, e.seq, type, payload FROM djwsbridge_log_event e"
            " JOIN djwsbridge_log_topic t ON t.id = e.topic_id ORDER BY e.topic_id, e.seq"
        ):
            room = int(str(name).removeprefix("room.")) if str(name).startswith("room.") else 0
            if room in rooms:
                about = (
                    json.loads(str(payload))["data"].get("user") if kind != "message.sent" else None
                )
                user = about["id"] if isinstance(about, dict) else None
                yield _Event(room, int(str(seq)), str(kind), user)


class _Event(NamedTuple):
    """What the log has under a number; `user` is who has come or gone."""

    room: int
    seq: int
    kind: str
    user: int | None


def _read_visits(events: Iterable[_Event], history: History) -> dict[tuple[int, int], int]:
    """Write down every membership that has ended by a leaving; return at which seq the others have begun."""
    came: dict[tuple[int, int], int] = {}
    for event in events:
        if event.user is None:
            continue
        place = (event.room, event.user)
        if event.kind == "member.joined":
            came[place] = event.seq
        elif event.kind == "member.left":
            since_seq = came.pop(place, 0)
            history.add(
                Member(
                    user=event.user,
                    room=event.room,
                    since_seq=since_seq,
                    until=0.0,
                    until_seq=event.seq,
                )
            )
    return came


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
    counts = (str(people), str(rooms), str(SPARES))
    command = [sys.executable, "-m", "tests.faults.prepare", *counts]
    env = child_environment(settings)
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    made = json.loads(done.stdout)
    spares = [Spare(*pair) for pair in made["spares"]]
    return Made(made["users"], made["tokens"], made["places"], spares)


def _id(value: object) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))
