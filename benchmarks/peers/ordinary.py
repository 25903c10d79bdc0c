"""The ordinary stack: an idiomatic Channels consumer on Daphne, with channels_redis."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.harness.servers import private_redis, server
from benchmarks.harness.world import World
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "OrdinaryStack"]

_PUBLISH: dict[Load, str] = {
    "fanout": '{"message":%s}',
    "unicast": '{"id":{id},"to":{peer},"message":%s}',
    "stored": '{"id":{id},"store":true,"message":%s}',
}


class OrdinaryStack(System):
    """What a tutorial leads to; its site is in `ordinary_site/`. Redis runs on the core of the generator."""

    name = "ordinary"
    title = "Channels, Daphne, channels_redis"
    loads = frozenset({"fanout", "unicast", "stored", "idle"})

    def site(self, load: Load) -> str:
        """Return the kind of its site."""
        return "ordinary"

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run Daphne on the server's core, and Redis beside the generator."""
        port = free_port()
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)]
        command += ["--websocket_timeout", "-1", "benchmarks.peers.ordinary_site.asgi:application"]
        with private_redis(world.directory) as redis:
            env = {**world.env, "BENCH_REDIS": redis.url}
            with server(command, port=port, directory=world.directory, env=env) as process:
                yield Serving([port], [process.pid])

    def client(self, load: Load) -> Lines:
        """Return what a client says."""
        lines: Lines = [
            ("path", "/ws/room/{room}/"),
            ("header", "Authorization: Bearer {token}"),
        ]
        if load in _PUBLISH:
            lines.append(("publish", _PUBLISH[load] % MESSAGE))
        if load in {"unicast", "stored"}:
            lines.append(("reply", '{"id":'))
        if load == "unicast":
            lines.append(("expected", 1))
        return lines


SYSTEMS = [OrdinaryStack()]
