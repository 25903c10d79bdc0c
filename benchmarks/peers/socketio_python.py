"""python-socketio on uvicorn; the server is in `socketio_server.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from benchmarks.harness.generator import Lines
from benchmarks.harness.servers import server
from benchmarks.harness.world import World
from benchmarks.peers.socketio_client import socketio_client
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "PythonSocketIO"]


class PythonSocketIO(System):
    """The Python server of Socket.IO."""

    name = "python-socketio"
    title = "python-socketio on uvicorn"

    def missing(self) -> str | None:
        """Return whether it is installed."""
        return None if find_spec("socketio") else "pip install --group bench"

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run uvicorn."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--loop", "uvloop", "--log-level", "warning", "--no-access-log"]
        command += ["benchmarks.peers.socketio_server:application"]
        with server(command, port=port, directory=world.directory, env=world.env) as process:
            yield Serving([port], [process.pid])

    def client(self, load: Load) -> Lines:
        """Return what a client of Socket.IO says."""
        return socketio_client(load)


SYSTEMS = [PythonSocketIO()]
