"""Faults of the workers."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import time
from pathlib import Path

from djwsbridge.testing.history import History
from tests.faults.blocking import BLOCK
from tests.faults.catalogue import SMALL_TOO, crash_point, fault, lasting, pick, until
from tests.faults.system import System, set_clock

HEALTHY = 200  # the status of a page


@fault("1", "worker SIGKILL", pause=3.0, limits={("away", "p99"): 15.0})
async def kill_worker(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.kill()
    return f"pid {worker.site.pid}"


crash_point("2", "after_commit")
crash_point("3", "after_ack_before_publish", delivery_p99=6.0)
crash_point("4", "before_commit")


@fault(
    "5",
    "all workers SIGKILL",
    systems=(*SMALL_TOO, "sqlite-daphne"),
    pause=1.0,
    limits={("away", "max"): 30.0},
    least=2,
)
async def kill_all(system: System, chance: random.Random, history: History) -> str | None:
    """Kill them when all have served for a while: otherwise there would be nobody to come back to."""
    for worker in system.workers:
        await until(lambda worker=worker: worker.site.status("/healthz") == HEALTHY, within=30.0)
    await lasting(5.0)
    for worker in system.workers:
        worker.kill()
    return f"{len(system.workers)} workers"


async def pause_worker(system: System, chance: random.Random, seconds: float) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.site.send_signal(signal.SIGSTOP)
    try:
        await lasting(seconds)
    finally:
        worker.site.send_signal(signal.SIGCONT)
    return f"{seconds:.0f} s, pid {worker.site.pid}"


@fault("6", "worker SIGSTOP 5 s")
async def pause_5(system: System, chance: random.Random, history: History) -> str | None:
    return await pause_worker(system, chance, 5.0)


@fault("6b", "worker SIGSTOP 40 s", least=1)
async def pause_40(system: System, chance: random.Random, history: History) -> str | None:
    return await pause_worker(system, chance, 40.0)


@fault("8", "worker SIGTERM", systems=SMALL_TOO, pause=8.0, least=2)
async def drain_worker(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.expected = True
    begun, pid = time.monotonic(), worker.site.pid
    worker.site.send_signal(signal.SIGTERM)
    while worker.is_running and worker.site.pid == pid:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.05)
    return f"exit after {time.monotonic() - begun:.1f} s"


@fault("9", "worker SIGTERM, then SIGKILL")
async def drain_too_long(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.expected = True
    worker.site.send_signal(signal.SIGTERM)
    await lasting(2.0)
    worker.kill()
    return f"pid {worker.site.pid}"


@fault("6c", "worker SIGSTOP 90 s", least=1)
async def pause_90(system: System, chance: random.Random, history: History) -> str | None:
    return await pause_worker(system, chance, 90.0)


@fault("7", "event loop blocked 3 s", pause=3.0, limits={("away", "max"): 0.0})
async def block_worker(system: System, chance: random.Random, history: History) -> str | None:
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.site.send_signal(BLOCK)
    await lasting(3.0)
    return f"pid {worker.site.pid}"


@fault(
    "31",
    "wall clock ±1 h, ±25 h",
    systems=("clocks",),
    pause=2.0,
    limits={("away", "max"): 0.0},
)
async def turn_clock(system: System, chance: random.Random, history: History) -> str | None:
    clocks = [worker.clock for worker in system.workers if worker.clock is not None]
    clock, hours = chance.choice(clocks), chance.choice((1, -1, 25, -25))
    set_clock(clock, hours * 3_600)
    await lasting(4.0)
    set_clock(clock, 0)
    return f"{clock.name} {hours:+} h"


@fault("32", "worker out of file descriptors", pause=2.0)
async def take_descriptors(system: System, chance: random.Random, history: History) -> str | None:
    """Let a worker open no more than it has, while half of the clients come back."""
    worker = pick(system, chance)
    if worker is None:
        return None
    pid = worker.site.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = _count_descriptors(pid)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    try:
        for front in system.fronts:
            front.cut(reset=True, share=0.5)
        await lasting(4.0)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    return f"{used} were open"


@fault("33", "worker out of memory", pause=4.0)
async def take_memory(system: System, chance: random.Random, history: History) -> str | None:
    """Give a worker no more memory than it has; it may end, but not stay and be of no use."""
    worker = pick(system, chance)
    if worker is None:
        return None
    worker.expected = True
    pid = worker.site.pid
    limits = resource.prlimit(pid, resource.RLIMIT_AS)
    size = _size_of(pid)
    resource.prlimit(pid, resource.RLIMIT_AS, (size, limits[1]))
    await lasting(4.0)
    if worker.site.pid != pid or not worker.is_running:
        return "it ended"
    resource.prlimit(pid, resource.RLIMIT_AS, limits)
    worker.expected = False
    if not await until(lambda: worker.site.status("/healthz") == HEALTHY, within=10.0):
        raise AssertionError("A worker that had no memory for 4 s is of no use after it.")
    return "it lived"


def _count_descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _size_of(pid: int) -> int:
    """Return the bytes of a process's address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
