"""Scale: 50,000 authenticated connections on one machine, and a room of 10,000 that receives among them."""

from __future__ import annotations

import math
import resource
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.connect import warm_up
from benchmarks.harness.generator import Generator, Lines
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options
from benchmarks.harness.servers import listens, memory_of, private_redis
from benchmarks.harness.world import World, Worlds
from benchmarks.sites.ours import Ours, choose_ours
from benchmarks.systems import Serving

__all__ = ["run"]

CONNECTIONS = 50_000
MEMBERS = 10_000
SOURCES = 8  # addresses to connect from: each has 28,000 ports
SPARE_FILES = 500  # of a process, for everything but connections
SETTLE = 5.0  # seconds until what is only there while connecting has gone
ROOM = 0  # the generator whose connections are the members of the room
COLUMNS = (
    ("connections", "case"),
    ("system", "title"),
    ("workers", "workers"),
    ("connected in s", "connected"),
    ("the room's members in s", "room_connected"),
    ("KB a connection", "kilobytes"),
    ("memory of all workers, MiB", "mebibytes"),
    ("one message to the room: p50 ms", "complete_p50"),
    ("p99 ms", "complete_p99"),
    ("deliveries/s", "per_second"),
    ("a worker is killed: its clients", "cut"),
    ("back after s", "back"),
)
NOTES = (
    "Each connection has an own user and a JWT, and shows every 20 s that it lives. A message to the room is complete "
    "when the last member has it; the next one leaves then. There are as many workers as the limit of open files of a "
    "process asks for, with Redis between them when there are several; on a machine with two cores they share one. "
    "After that one worker is killed and started again, and its clients come back with the product's own back-off."
)


class Crowd:
    """The load generators that hold all connections, the members of the room in the first one.

    Args:
        world: whose users they are.
        system: how they speak.
        serving: with whom.
        files: how many connections one generator may hold.
    """

    def __init__(self, world: World, system: Ours, serving: Serving, files: int) -> None:
        self._world = world
        self._common: Lines = [
            *(("address", f"127.0.0.1:{port}") for port in serving.ports),
            *(("pid", pid) for pid in serving.pids),
            *system.client("fanout"),
            *(("sources", SOURCES), ("hold", 1), ("heartbeat-every", 20)),
            *(("reconnect", 1), ("backoff-cap", 8), ("room-names", world.room_names)),
        ]
        lines = world.tokens.read_text().splitlines(keepends=True)
        self._members = min(MEMBERS, world.users // 5)
        rest = lines[self._members :]
        parts = math.ceil(len(rest) / files)
        self._slices = [lines[: self._members]]
        self._slices += [rest[number::parts] for number in range(parts)]

    def generators(self, stack: ExitStack, seconds: float) -> list[Generator]:
        """Start them one after the other, each when the last one is connected."""
        found = []
        for number, lines in enumerate(self._slices):
            tokens = Path(self._world.directory) / f"tokens-{number}"
            tokens.write_text("".join(lines))
            load: Lines = [("publishers", 1), ("in-flight", 1), ("duration", seconds)]
            scenario = [*self._common, ("tokens", tokens), ("connections", len(lines)), *load]
            generator = Generator(scenario)
            stack.callback(generator.close)
            generator.connected = generator.wait_for("connected")
            say(f"    {len(lines):,} connected in {generator.connected['seconds']:.1f} s")
            found.append(generator)
        return found


def once(system: Ours, world: World, options: Options, files: int) -> dict[str, Any]:
    """Connect everybody to one launch, send to the room, kill a worker."""
    count = math.ceil(world.users / files)
    with ExitStack() as stack:
        redis = stack.enter_context(private_redis(world.directory)).url if count > 1 else None
        serving = stack.enter_context(system.serve_workers(world, count, redis=redis))
        settle = 0.1 if options.smoke else SETTLE
        warm_up(system, world, serving, settle)
        before = memory_of(serving.pids)
        crowd = Crowd(world, system, serving, files)
        generators = crowd.generators(stack, options.seconds)
        time.sleep(settle)
        memory = memory_of(serving.pids)
        generators[ROOM].tell("go")
        room = generators[ROOM].wait_for("result")
        back = kill_one(serving, generators[ROOM + 1 :], 1.0 if options.smoke else 45.0)
    connected = [generator.connected["seconds"] for generator in generators]
    return {
        "workers": count,
        "connected": round(sum(connected), 1),
        "room_connected": round(connected[ROOM], 1),
        "kilobytes": round((memory - before) / world.users / 1024, 2),
        "mebibytes": round(memory / 2**20),
        "complete_p50": room["complete_ms"]["p50"],
        "complete_p99": room["complete_ms"]["p99"],
        "per_second": round(room["deliveries"] / room["seconds"]),
        "missing": room["missing"],
        **back,
    }


def kill_one(serving: Serving, generators: list[Generator], patience: float) -> dict[str, Any]:
    """Kill a worker, start it again, and say when the last of its clients was back."""
    process = serving.processes[0]
    process.kill()
    process.start()
    process.wait_ready(lambda: listens(serving.ports[0]))
    time.sleep(patience)
    for generator in generators:
        generator.tell("report")
    found = [generator.wait_for("result") for generator in generators]
    return {
        "cut": sum(one["dropped"] for one in found),
        "back": round(max(one["resumed_ms"]["max"] for one in found) / 1_000, 1),
        "still_away": sum(one["dropped"] - one["resumed_ms"]["count"] for one in found),
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(limit, 10**6) - SPARE_FILES
    result = Result("idle", "Many connections", COLUMNS, NOTES)
    ours = choose_ours(options.systems, result.missing)
    users = 50 if options.smoke else CONNECTIONS
    members = min(MEMBERS, users // 5)
    result.settings.update({"connections": users, "members": members, "open_files": limit})
    # Once is enough for memory, and each launch takes minutes.
    for system in ours:
        world = worlds.get("groups", users, 1, members=members)
        say(f"  {users:,} connections: {system.title}")
        figures = once(system, world, options, files)
        say("    " + ", ".join(f"{key} {value:,}" for key, value in figures.items()))
        names = {"system": system.name, "title": system.title}
        result.add([figures], case=f"{users:,}", **names)
    result.write(options.output)
    return result
