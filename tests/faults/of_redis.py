"""Faults of Redis."""

from __future__ import annotations

import asyncio
import random
import signal

import redis as redis_library

from djwsbridge.testing.history import History
from tests.faults.catalogue import ENGINE, ENGINES, fault, lasting, start, until
from tests.faults.proxy import BLACK
from tests.faults.system import System

QUICK = {("ack", "p99"): 1.0}  # nobody who sends waits for Redis


async def restart_redis(system: System, seconds: float) -> str:
    assert system.redis is not None
    await asyncio.to_thread(system.redis.kill)
    await lasting(seconds)
    await start(system.redis)
    return f"down for {seconds:.0f} s"


@fault(
    "10",
    "Redis SIGKILL and restart",
    systems=ENGINES,
    limits={**QUICK, ("delivery", "max"): 6.0},
)
async def kill_redis(system: System, chance: random.Random, history: History) -> str | None:
    return await restart_redis(system, chance.choice((0.0, 5.0)))


@fault("11", "Redis SIGSTOP 10 s", systems=ENGINES, limits=QUICK)
async def pause_redis(system: System, chance: random.Random, history: History) -> str | None:
    assert system.redis is not None
    system.redis.send_signal(signal.SIGSTOP)
    try:
        await lasting(10.0)
    finally:
        system.redis.send_signal(signal.SIGCONT)
    return "10 s"


async def tell_redis(system: System, *command: str) -> object:
    assert system.redis is not None
    port = system.redis.port

    def tell() -> object:
        with redis_library.Redis(port=port, socket_timeout=5.0) as client:
            return client.execute_command(*command)

    return await asyncio.to_thread(tell)


@fault("12", "Redis FLUSHALL", systems=ENGINES)
async def flush_redis(system: System, chance: random.Random, history: History) -> str | None:
    await tell_redis(system, "FLUSHALL")
    return "flushed"


@fault("13", "Redis CLIENT KILL TYPE pubsub", systems=ENGINE, pause=2.0)
async def kill_subscribers(system: System, chance: random.Random, history: History) -> str | None:
    killed = await tell_redis(system, "CLIENT", "KILL", "TYPE", "pubsub")
    return f"{killed} connections" if killed else None


@fault("14", "Redis out of memory", systems=ENGINE, limits=QUICK)
async def fill_redis(system: System, chance: random.Random, history: History) -> str | None:
    await tell_redis(system, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "1")
    await lasting(4.0)
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "0")
    return "4 s"


@fault("17", "Redis in a black hole", systems=ENGINE, limits=QUICK)
async def hide_redis(system: System, chance: random.Random, history: History) -> str | None:
    link = system.proxy.links["redis"]
    link.set(up=BLACK, down=BLACK)
    await lasting(10.0)
    link.heal()
    return "10 s"


# 4 MB, for five seconds
FILL = "for n = 1, 400 do redis.call('SET', 'filler:' .. n, string.rep('x', 10000), 'EX', 5) end"


@fault("15", "Redis evicts", systems=ENGINES, limits=QUICK)
async def evict_redis(system: System, chance: random.Random, history: History) -> str | None:
    await tell_redis(system, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "2mb")
    await tell_redis(system, "EVAL", FILL, "0")
    await lasting(2.0)
    await tell_redis(system, "CONFIG", "SET", "maxmemory", "0")
    evicted = await tell_redis(system, "INFO", "stats")
    assert isinstance(evicted, dict)
    return f"{evicted['evicted_keys']} keys so far"


@fault(
    "16",
    "Redis fails over (sentinel)",
    systems=("sentinel",),
    pause=4.0,
    limits={**QUICK, ("delivery", "max"): 6.0},
    least=2,
)
async def fail_over(system: System, chance: random.Random, history: History) -> str | None:
    """Let the replica become the primary, by command or because the primary is dead; the old one then follows it."""
    site = system.sentinel
    assert site is not None
    if not await until(site.has_replica, within=30.0):
        return None
    before = site.primary
    if chance.random() < 0.5:
        await asyncio.to_thread(site.fail_over)
        return "SENTINEL FAILOVER"
    await asyncio.to_thread(before.kill)
    moved = await until(lambda: site.primary is not before, within=30.0)
    await start(before)
    return "SIGKILL of the primary" if moved else None
