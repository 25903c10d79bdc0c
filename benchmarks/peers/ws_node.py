"""ws on Node.js: sockets and sets, nothing else; the server is in `ws_server.mjs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.harness.world import World
from benchmarks.peers.node import missing_package, serve_node
from benchmarks.systems import Load, Serving, System

__all__ = ["SYSTEMS", "Ws"]


class Ws(System):
    """The library below Socket.IO, without authentication."""

    name = "ws"
    title = "ws (Node.js)"
    loads = frozenset({"fanout", "idle"})

    def missing(self) -> str | None:
        """Return what has to be installed."""
        return missing_package("ws")

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run Node.js."""
        with serve_node("ws_server.mjs", world) as serving:
            yield serving

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        return [("path", "/room/{room}"), ("publish", MESSAGE)]


SYSTEMS = [Ws()]
