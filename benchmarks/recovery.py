"""Recovery: the process is killed and started again; 10,000 clients come back and catch up while others write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from benchmarks.harness.generator import Generator, Lines
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options, connection_lines
from benchmarks.harness.servers import listens
from benchmarks.harness.world import World, Worlds
from benchmarks.sites.ours import Ours, choose_ours

__all__ = ["RECOVERY_LINES", "run"]

CLIENTS, ROOMS = 10_000, 100
RATE = 20  # messages a second, over all rooms
BEFORE = 3.0  # seconds of load before the kill
AFTER = 30.0  # seconds from the kill to the end of the load
DATABASE = "postgresql"
COLUMNS = (
    ("clients", "case"),
    ("system", "title"),
    ("process back after s", "down"),
    ("clients back: p50 s", "p50"),
    ("p99 s", "p99"),
    ("the last one s", "last"),
    ("slowest send s", "slowest_send"),
    ("refused for s", "refused"),
    ("not current", "behind"),
    ("handshakes refused", "failed"),
)
NOTES = (
    f"SIGKILL under load, and started again at once. Clients wait as the product's clients do (full jitter, and what "
    f"the server tells them), come back with their cursors, and are current when `connect` is answered. All times "
    f"count from the first lost connection. {RATE} messages a second go on; a sender that is cut off sends again "
    "with the same id, and the slowest send is the longest from the first try to the acknowledgement. Refused: the "
    "longest time for which a send that had reached the server was answered with an error."
)
#: What makes the generator's clients behave as ours: cursors, back-off, retries.
RECOVERY_LINES: Lines = [
    ("reconnect", 1),
    ("backoff-cap", 8),
    ("resume", '{"id":{id},"cmd":"connect","cursors":{"room.{room}":["{epoch}",{seq}]}}'),
    ("wait-delivery", 0),
    ("wait-reply", 1),
    ("hold", 1),
    ("heartbeat-every", 20),
]


def once(system: Ours, world: World, options: Options) -> dict[str, Any]:
    """Kill one launch, and look."""
    before, after = (0.5, 3.0) if options.smoke else (BEFORE, AFTER)
    with system.serve(world, "stored") as serving:
        lines: Lines = [
            *connection_lines(world, serving),
            *system.client("stored"),
            *RECOVERY_LINES,
            *(("publishers", 1), ("rate", RATE), ("warm-up", 0), ("drain", 60)),
            ("duration", before + after),
        ]
        with closing(Generator(lines)) as generator:
            generator.wait_for("connected")
            generator.tell("go")
            generator.wait_for("measuring")
            time.sleep(before)
            process = serving.processes[0]
            process.kill()
            begun = time.monotonic()
            process.start()
            process.wait_ready(lambda: listens(serving.ports[0]))
            down = time.monotonic() - begun
            counted = generator.wait_for("result")
    return reduce(counted, down)


def reduce(counted: Mapping[str, Any], down: float) -> dict[str, Any]:
    """Return the figures of one launch."""
    back = counted["resumed_ms"]
    return {
        "down": round(down, 2),
        "p50": round(back["p50"] / 1_000, 2),
        "p99": round(back["p99"] / 1_000, 2),
        "last": round(back["max"] / 1_000, 2),
        "slowest_send": round(counted["reply_ms"]["max"] / 1_000, 2),
        "refused": round(counted["refused_ms"]["max"] / 1_000, 2),
        "behind": counted["behind"] + counted["unrecovered"] + counted["gaps"],
        "lost": counted["unfinished"],
        "errors": counted["errors"],
        "failed": counted["failed"],
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("recovery", "Recovery after a restart", COLUMNS, NOTES)
    ours = choose_ours(options.systems, result.missing)
    clients, rooms = (64, 16) if options.smoke else (CLIENTS, ROOMS)
    result.settings.update({"clients": clients, "rooms": rooms})
    found: dict[str, list[dict[str, Any]]] = {}
    database = "sqlite" if options.smoke else DATABASE
    world = worlds.get("chat", clients, rooms, database=database)
    for number in range(options.rounds):
        for system in ours:
            say(f"  {clients:,} clients: {system.title}, round {number + 1}")
            figures = once(system, world, options)
            say("    " + ", ".join(f"{key} {value:,}" for key, value in figures.items()))
            found.setdefault(system.name, []).append(figures)
    for system in ours:
        names = {"system": system.name, "title": system.title}
        result.add(found[system.name], case=f"{clients:,}", **names)
    result.write(options.output)
    return result
