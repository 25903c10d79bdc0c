"""Several processes with Redis between them: what a delivery costs beside one process that needs no Redis."""

from __future__ import annotations

import asyncio
import statistics
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks.harness.generator import Lines, run_load
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options, connection_lines
from benchmarks.harness.servers import cpu_of, private_redis
from benchmarks.harness.world import World, Worlds
from benchmarks.sites.ours import Ours, choose_ours
from djwsbridge.engine.redis import RedisEngine
from djwsbridge.protocol.codec import encode_push
from tests.servers import RedisServer

__all__ = ["run"]

COLUMNS = (
    ("load", "case"),
    ("system", "title"),
    ("workers", "workers"),
    ("CPU µs a delivery", "cpu_us"),
    ("beside one", "ratio"),
    ("deliveries/s of one core", "per_core"),
    ("deliveries/s", "per_second"),
    ("CPU of Redis, µs a message", "redis_us"),
    ("lost", "missing"),
)
NOTES = (
    "The members of each room are spread over the workers, so that every message reaches every worker through Redis "
    '(`DJWSBRIDGE_ENGINE = "redis"`). CPU is that of all workers together. Where the machine has too few cores, the '
    "workers share one: then the total rate cannot grow, and the cost of a delivery is what counts. "
    "`heard from Redis`: what it takes a process to read a message of 300 bytes, without writing it to anybody."
)
HEARD = "heard from Redis"
HEARD_MESSAGES = 20_000
PATIENCE = 60.0  # seconds
HOT: Lines = [("publishers", 1), ("in-flight", 16)]
SCATTERED: Lines = [("publishers", 1), ("in-flight", 1)]


def once(system: Ours, world: World, count: int, lines: Lines) -> dict[str, Any]:
    """Measure one launch of some workers; one worker has the engine of one process."""
    with ExitStack() as stack:
        redis = stack.enter_context(private_redis(world.directory)) if count > 1 else None
        url = redis.url if redis else None
        serving = stack.enter_context(system.serve_workers(world, count, redis=url))
        before = cpu_of([redis.pid]) if redis else 0.0
        counted = run_load([*connection_lines(world, serving), *system.client("fanout"), *lines])
        redis_cpu = cpu_of([redis.pid]) - before if redis else 0.0
    return reduce(counted, redis_cpu)


def hear(world: World, messages: int) -> dict[str, Any]:
    """Measure what it takes this process to hear messages from Redis."""

    async def run(redis: RedisServer) -> float:
        heard, all_heard = 0, asyncio.Event()

        def count(_topic: str, _text: str) -> None:
            nonlocal heard
            heard += 1
            if heard == messages:
                all_heard.set()

        engine = RedisEngine(redis.url, prefix="bench:")
        await engine.start(count)
        await engine.subscribe("room.1")
        push = encode_push("message", topic="room.1", data={"content": "x" * 200})
        commands = f"PUBLISH bench:room.1 '{push}'\n" * messages
        before = time.process_time()
        port = str(redis.port)
        publisher = await asyncio.create_subprocess_exec(
            *("redis-cli", "-p", port), stdin=PIPE, stdout=DEVNULL
        )
        await publisher.communicate(commands.encode())
        await asyncio.wait_for(all_heard.wait(), PATIENCE)
        used = time.process_time() - before
        await engine.stop()
        return used

    with private_redis(world.directory) as redis:
        return {"cpu_us": round(asyncio.run(run(redis)) / messages * 1e6, 1)}


def reduce(counted: Mapping[str, Any], redis_cpu: float) -> dict[str, Any]:
    """Return the figures of one launch."""
    deliveries, cpu = counted["deliveries"], counted["server_cpu"]
    return {
        "cpu_us": round(cpu / deliveries * 1e6, 3) if deliveries else 0,
        "per_core": round(deliveries / cpu) if cpu else 0,
        "per_second": round(deliveries / counted["seconds"]),
        "redis_us": round(redis_cpu / counted["published"] * 1e6, 1),
        "missing": counted["missing"],
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("workers", "Several processes with Redis", COLUMNS, NOTES)
    ours = choose_ours(options.systems, result.missing)
    loads = [("1,000 members", 1_000, 1, HOT), ("50 x 100", 5_000, 50, SCATTERED)]
    counts: tuple[int, ...] = (1, 2, 4)
    if options.smoke:
        loads, counts = [("2 x 10", 20, 2, HOT)], (1, 2)
    patience: Lines = [("duration", options.seconds), ("drain", 60)]
    patience.append(("warm-up", 0.2 if options.smoke else 2))
    for case, users, rooms, lines in loads:
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            for system in ours:
                world = worlds.get(system.site("fanout"), users, rooms)
                for count in counts:
                    say(f"  {case}: {system.title}, {count} workers, round {number + 1}")
                    figures = once(system, world, count, [*lines, *patience])
                    say("    " + ", ".join(f"{k} {v:,.6g}" for k, v in figures.items()))
                    found.setdefault((system.name, count), []).append(figures)
        for system in ours:
            alone = statistics.median(one["cpu_us"] for one in found[system.name, 1])
            for count in counts:
                names = {"system": system.name, "title": system.title, "workers": count}
                row = result.add(found[system.name, count], case=case, **names)
                row["ratio"] = round(row["cpu_us"] / alone, 2) if alone else None
    messages = 100 if options.smoke else HEARD_MESSAGES
    for system in ours[:1]:
        say(f"  {messages:,} messages {HEARD}")
        names = {"system": system.name, "title": "in one process"}
        result.add([hear(world, messages) for _ in range(options.rounds)], case=HEARD, **names)
    result.write(options.output)
    return result
