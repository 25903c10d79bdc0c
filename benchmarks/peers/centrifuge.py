"""Centrifuge, the Go library below Centrifugo, on one core; the server is in `centrifuge/main.go`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.build import BUILD, DEBIAN_GO, HERE, compile_go
from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.harness.servers import server
from benchmarks.harness.world import World
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "Centrifuge"]

_LIBRARY = DEBIAN_GO / "src" / "github.com" / "centrifugal" / "centrifuge"
_PACKAGES = (
    "apt-get install golang-go golang-github-centrifugal-centrifuge-dev "
    "golang-github-centrifugal-protocol-dev golang-github-fzambia-eagle-dev "
    "golang-github-igm-sockjs-go-dev golang-github-mna-redisc-dev"
)
_PUBLISH: dict[Load, str] = {
    "fanout": '{"id":{id},"method":3,"params":{"channel":"room.{room}","data":%s}}',
    "unicast": '{"id":{id},"method":9,"params":{"data":{"to":"{peer}","data":%s}}}',
}


class Centrifuge(System):
    """A server in Go, with the JSON protocol, which puts several messages into one frame."""

    name = "centrifuge"
    title = "Centrifuge (Go)"

    def missing(self) -> str | None:
        """Return what has to be installed; compiles the server."""
        if not _LIBRARY.exists() or shutil.which("go") is None:
            return _PACKAGES
        try:
            compile_go("centrifuge", HERE / "peers" / "centrifuge")
        except RuntimeError:
            return _PACKAGES
        return None

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run it."""
        port = free_port()
        command = [str(BUILD / "centrifuge"), str(port)]
        env = {**world.env, "GOMAXPROCS": "1"}
        with server(command, port=port, directory=world.directory, env=env) as process:
            yield Serving([port], [process.pid])

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        lines: Lines = [
            ("path", "/connection/websocket"),
            ("hello", '{"id":1,"params":{"token":"{token}","data":{"room":"{room}"}}}'),
            ("ready", '{"id":1,"result":'),
            ("reply", '{"id":'),
            ("error", '"error"'),
            ("split", 1),
        ]
        if load in _PUBLISH:
            lines.append(("publish", _PUBLISH[load] % MESSAGE))
        if load == "unicast":
            lines.append(("expected", 1))
        return lines


SYSTEMS = [Centrifuge()]
