"""The floor: a loop in C that only writes. Nothing that talks to a socket for each delivery is below it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.build import BUILD, HERE, compile_c
from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.harness.servers import server
from benchmarks.harness.world import World
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "Floor"]


class Floor(System):
    """The floor, in one of its two ways to write.

    Args:
        name: see `System`.
        title: see `System`.
        mode: `write` or `join`.
    """

    loads = frozenset({"fanout", "idle"})

    def __init__(self, name: str, title: str, mode: str) -> None:
        self.name = name
        self.title = title
        self._mode = mode

    def missing(self) -> str | None:
        """Return what has to be installed; compiles it."""
        if shutil.which("cc") is None:
            return "apt-get install gcc libc6-dev"
        compile_c("floor", HERE / "peers" / "floor.c")
        return None

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run it."""
        port = free_port()
        command = [str(BUILD / "floor"), str(port), self._mode]
        with server(command, port=port, directory=world.directory) as process:
            yield Serving([port], [process.pid])

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        return [("path", "/room/{room}"), ("publish", MESSAGE)]


SYSTEMS = [
    Floor("floor", "floor: C, one write per delivery", "write"),
    Floor("floor-joined", "floor: C, frames of a turn joined", "join"),
]
