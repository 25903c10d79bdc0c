"""Connecting: handshakes with a token a second, and the memory of a connection that is only there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from benchmarks.harness.generator import Generator
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options, Rounds, connection_lines
from benchmarks.harness.servers import cpu_of, memory_of
from benchmarks.harness.world import World, Worlds
from benchmarks.systems import Serving, System

__all__ = ["run", "warm_up"]

CONNECTIONS = 5_000
SETTLE = 3.0  # seconds until what is only there while connecting has gone
SMOKE_SETTLE = 0.1
COLUMNS = (
    ("system", "title"),
    ("handshakes/s", "per_second"),
    ("handshakes/s of one core", "per_core"),
    ("p50 ms", "p50"),
    ("p99 ms", "p99"),
    ("KB a connection", "kilobytes"),
)
NOTES = (
    "64 handshakes at a time. A connection counts when it is authenticated by a JWT, hears its user's topic and one "
    "room, and has the server's word for it (the answer to `connect`); `ws`, nchan and the floor authenticate nobody. "
    f"Memory is what the server process has grown by, {SETTLE:.0f} s after the last one, divided by connections."
)


def once(system: System, world: World, settle: float) -> dict[str, Any]:
    """Connect everybody to one launch of a system."""
    with system.serve(world, "idle") as serving:
        warm_up(system, world, serving, settle)
        before, cpu_before = memory_of(serving.pids), cpu_of(serving.pids)
        lines = [*connection_lines(world, serving), *system.client("idle"), ("hold", 1)]
        with closing(Generator(lines)) as generator:
            connected = generator.wait_for("connected")
            cpu = cpu_of(serving.pids) - cpu_before
            time.sleep(settle)
            grown = memory_of(serving.pids) - before
            generator.tell("quit")
    return reduce(connected, cpu, grown)


def warm_up(system: System, world: World, serving: Serving, settle: float) -> None:
    """Let a server do what it does once, so that no connection is charged for it."""
    lines = [*connection_lines(world, serving), ("connections", 10), ("rooms", 1)]
    with closing(Generator([*lines, *system.client("idle"), ("hold", 1)])) as generator:
        generator.wait_for("connected")
        time.sleep(settle)
        generator.tell("quit")
    time.sleep(settle)


def reduce(connected: Mapping[str, Any], cpu: float, grown: int) -> dict[str, Any]:
    """Return the figures of one launch."""
    count = connected["connections"]
    return {
        "per_second": round(count / connected["seconds"]),
        "per_core": round(count / cpu) if cpu else 0,
        "p50": connected["handshake_ms"]["p50"],
        "p99": connected["handshake_ms"]["p99"],
        "kilobytes": round(grown / count / 1024, 2),
        "failed": connected["failed"],
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("connect", "Connecting, and being there", COLUMNS, NOTES)
    users = 20 if options.smoke else CONNECTIONS
    rounds = Rounds(result, "idle", options)
    result.settings["connections"] = users
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        for system in rounds.systems:
            world = worlds.get(system.site("idle"), users, 2 if options.smoke else users)
            say(f"  {users:,} connections: {system.title}, round {number + 1}")
            try:
                figures = once(system, world, SMOKE_SETTLE if options.smoke else SETTLE)
            except RuntimeError as error:
                say(f"    failed: {error}")
                result.missing[system.title] = "it failed under this load"
                continue
            say("    " + ", ".join(f"{key} {value:,}" for key, value in figures.items()))
            found.setdefault(system.name, []).append(figures)
    for system in (one for one in rounds.systems if one.name in found):
        result.add(found[system.name], system=system.name, title=system.title)
    result.write(options.output)
    return result
