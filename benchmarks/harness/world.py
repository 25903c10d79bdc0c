"""The people and rooms of a run: a database that is filled once for each kind of site and size."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.build import ROOT
from benchmarks.harness.results import say
from benchmarks.harness.servers import children_of, cpu_of, private_postgres
from tests.servers import PostgresServer

__all__ = ["SECRET", "World", "Worlds"]

#: Signs the tokens; every system knows it.
SECRET = "known to all systems, for measuring only"

_SETTINGS = {"ordinary": "benchmarks.peers.ordinary_site.settings"}


@dataclass(frozen=True)
class World:
    """A filled database.

    Attributes:
        site: `groups`, `push`, `chat`, or `ordinary`.
        users: how many there are.
        rooms: in how many rooms.
        database: its URL.
        directory: for tokens, rooms and logs.
    """

    site: str
    users: int
    rooms: int
    database: str
    directory: Path

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of a site that works on it."""
        return {
            "BENCH_SITE": self.site,
            "BENCH_SECRET": SECRET,
            "DATABASE_URL": self.database,
            "DJANGO_SETTINGS_MODULE": _SETTINGS.get(self.site, "benchmarks.sites.settings"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def tokens(self) -> Path:
        """Return the file with a user and a token on each line."""
        return self.directory / "tokens"

    @property
    def room_names(self) -> Path:
        """Return the file with a room on each line."""
        return self.directory / "rooms"

    def users_and_tokens(self) -> list[tuple[str, str]]:
        """Return the key and the token of every user."""
        lines = self.tokens.read_text().splitlines()
        return [(user, token) for user, _, token in (line.partition(" ") for line in lines)]


class Worlds:
    """Make worlds when they are asked for, and keep them until closed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._made: dict[tuple[object, ...], World] = {}
        # None until somebody asks for it.
        self._postgres: PostgresServer | None = None
        made = tempfile.TemporaryDirectory(prefix="djwsbridge-bench-")
        self.directory = Path(self._stack.enter_context(made))

    def close(self) -> None:
        """Throw them away."""
        self._stack.close()

    def get(
        self,
        site: str,
        users: int,
        rooms: int,
        *,
        database: str = "sqlite",
        messages: int = 0,
        members: int = 0,
    ) -> World:
        """Return a world of this size, made at the first call.

        Args:
            site: see `World`.
            users: see `World`.
            rooms: see `World`.
            database: `sqlite` or `postgresql`.
            messages: in the first room, for the chat.
            members: of each room; 0: all users have one.
        """
        content = "plain" if site in {"groups", "push"} else site
        key = (content, users, rooms, database, messages, members)
        if key not in self._made:
            say(f"  making {users:,} users in {rooms:,} rooms ({site}, {database})")
            world = self._place(site, users, rooms, database)
            _fill(world, messages, members)
            self._made[key] = world
        return replace(self._made[key], site=site)

    def postgres(self) -> PostgresServer:
        """Return the private PostgreSQL, started at the first call."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(private_postgres())
        return self._postgres

    def database_cpu(self) -> float:
        """Return the seconds of processor time that PostgreSQL has used so far; 0.0 when nobody has asked for it."""
        if self._postgres is None:
            return 0.0
        return cpu_of([self._postgres.pid, *children_of(self._postgres.pid)])

    def _place(self, site: str, users: int, rooms: int, database: str) -> World:
        name = f"world{len(self._made)}"
        directory = self.directory / name
        directory.mkdir()
        url = f"sqlite:///{directory / 'site.sqlite3'}"
        if database == "postgresql":
            url = self.postgres().create_database(name)
        return World(site, users, rooms, url, directory)


def _fill(world: World, messages: int, members: int) -> None:
    command = [sys.executable, "-m", "benchmarks.sites.prepare", str(world.users)]
    command += [str(world.rooms), str(world.directory), str(messages), str(members)]
    env = {**os.environ, **world.env, "BENCH_REDIS": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"No world could be made:\n{done.stderr.decode(errors='replace')}")
