"""djwsbridge itself: one site, three servers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.harness.cores import worker_core
from benchmarks.harness.generator import BODY, Lines
from benchmarks.harness.servers import server
from benchmarks.harness.world import World
from benchmarks.systems import Load, Serving, System
from tests.servers import free_port

__all__ = ["SYSTEMS", "Ours", "choose_ours"]

_APPLICATION = "benchmarks.sites.asgi:application"
_UVICORN = (
    *("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop"),
    *("--log-level", "warning", "--no-access-log", "--backlog", "4096"),
    *("--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
)
_FAST_PATH = "djwsbridge.server:WebSocketProtocol"

_PUBLISH: dict[Load, str] = {
    "fanout": '{"id":{id},"cmd":"user.send","recipient":{room},"type":"text","content":"%s"}',
    "unicast": '{"id":{id},"cmd":"user.send","recipient":{peer},"type":"text","content":"%s"}',
    "stored": '{"id":{id},"cmd":"message.send","room":{room},"body":"%s","client_message_id":"{uuid}"}',
}


class Ours(System):
    """Our site under one server.

    Args:
        name: see `System`.
        title: see `System`.
        command: what Python runs.
    """

    loads = frozenset({"fanout", "unicast", "stored", "idle"})

    def __init__(self, name: str, title: str, command: tuple[str, ...]) -> None:
        self.name = name
        self.title = title
        self._command = command

    def missing(self) -> str | None:
        """Return whether the fast path is there yet."""
        if _FAST_PATH not in self._command:
            return None
        module, _, name = _FAST_PATH.partition(":")
        try:
            getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            return f"this version has no {_FAST_PATH}"
        return None

    def site(self, load: Load) -> str:
        """Return the kind of its site."""
        return {"fanout": "groups", "unicast": "push", "stored": "chat", "idle": "groups"}[load]

    @contextmanager
    def serve(self, world: World, load: Load) -> Iterator[Serving]:
        """Run one process."""
        with self.serve_workers(world, 1) as serving:
            yield serving

    @contextmanager
    def serve_workers(
        self, world: World, count: int, *, redis: str | None = None, ports: list[int] | None = None
    ) -> Iterator[Serving]:
        """Run some processes, each with a port and, as far as there are any, a core of its own.

        Args:
            world: what they work on.
            count: how many.
            redis: the URL of what connects them.
            ports: where; free ones unless told.
        """
        ports = ports or [free_port() for _ in range(count)]
        env = {**world.env, "BENCH_REDIS": redis or ""}
        with ExitStack() as stack:
            processes = []
            for number, port in enumerate(ports):
                process = stack.enter_context(
                    server(
                        self.command(port),
                        port=port,
                        directory=world.directory,
                        env=env,
                        core=worker_core(number),
                    )
                )
                processes.append(process)
            yield Serving(ports, [process.pid for process in processes], processes)

    def command(self, port: int) -> list[str]:
        """Return how a process is started."""
        return [
            sys.executable,
            "-m",
            *(part.format(port=port) for part in self._command),
            _APPLICATION,
        ]

    def client(self, load: Load) -> Lines:
        """Return what a client of `djwsbridge.v1` says."""
        lines: Lines = [
            ("path", "/ws/bridge/"),
            ("header", "Authorization: Bearer {token}"),
            ("subprotocol", "djwsbridge.v1"),
            ("hello", '{"id":1,"cmd":"connect"}'),
            ("ready", '{"id":1,"ok":'),
            ("reply", '{"id":'),
            ("error", '"error"'),
            ("heartbeat", '{"id":{id},"cmd":"heartbeat"}'),
            ("asks", '{"push":"proof","data":{"proof":"'),
            ("prove", '{"id":{id},"cmd":"heartbeat","proof":"{proof}"}'),
        ]
        if load in _PUBLISH:
            lines.append(("publish", _PUBLISH[load] % BODY))
        if load == "unicast":
            lines.append(("expected", 2))  # the sender's own devices get it, too
        return lines


SYSTEMS = [
    Ours(
        "djwsbridge",
        "djwsbridge",
        (*_UVICORN, "--ws", _FAST_PATH, "--http", "djwsbridge.server:HTTPProtocol"),
    ),
    Ours(
        "djwsbridge-uvicorn",
        "djwsbridge on stock uvicorn",
        (*_UVICORN, "--ws", "websockets-sansio"),
    ),
    Ours(
        "djwsbridge-daphne",
        "djwsbridge on Daphne",
        ("daphne", "-b", "127.0.0.1", "-p", "{port}", "--websocket_timeout", "-1"),
    ),
]


def choose_ours(wanted: Sequence[str] | None, missing: dict[str, str]) -> list[Ours]:
    """Return which of our servers take part in a question about us alone: those named, else the fastest one there.

    Args:
        wanted: names; None for the fastest.
        missing: filled with what is not there.
    """
    asked = [one for one in SYSTEMS if wanted is None or one.name in wanted]
    lacking = {one.title: what for one in asked if (what := one.missing()) is not None}
    missing.update(lacking)
    there = [one for one in asked if one.title not in lacking]
    return there if wanted else there[:1]
