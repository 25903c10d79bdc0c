"""Socket.IO on Node.js; the server is in `socketio_server.mjs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.generator import Lines
from benchmarks.harness.world import World
from benchmarks.peers.node import missing_package, serve_node
from benchmarks.peers.socketio_client import socketio_client
from benchmarks.systems import Load, Serving, System

__all__ = ["SYSTEMS", "SocketIO"]


class SocketIO(System):
    """The original."""

    name = "socket.io"
    title = "Socket.IO (Node.js)"

    def missing(self) -> str | None:
        """Return what has to be installed."""
        return missing_package("socket.io")

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run Node.js."""
        with serve_node("socketio_server.mjs", world) as serving:
            yield serving

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        return socketio_client(load)


SYSTEMS = [SocketIO()]
