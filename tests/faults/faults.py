"""All faults, several at once, and how to heal what they leave behind."""

from __future__ import annotations

import asyncio
import random
import resource
import signal

from djwsbridge.testing.history import History
from tests.faults import (
    of_absence,
    of_clients,
    of_databases,
    of_lies,
    of_readers,
    of_redis,
    of_rewinds,
    of_rights,
    of_workers,
)
from tests.faults.catalogue import FAULTS, Fault, fault, start
from tests.faults.system import System, set_clock

__all__ = ["FAULTS", "KINDS", "LEAVERS", "Fault", "heal"]

#: The modules that fill the list.
KINDS = (
    of_workers,
    of_redis,
    of_databases,
    of_clients,
    of_rights,
    of_rewinds,
    of_readers,
    of_absence,
    of_lies,
)
LEAVERS = of_rights.LEAVERS
AT_ONCE = 3
#: What can happen to one system at the same time.
COMBINED = ("1", "6", "8", "10", "12", "13", "18", "20", "21", "26", "26b", "28", "30")


@fault("37", "three faults at once", systems=("far",), pause=2.0)
async def combine(system: System, chance: random.Random, history: History) -> str | None:
    """Do three of the others at the same time."""
    keys = chance.sample(COMBINED, AT_ONCE)
    injections = [FAULTS[key].inject for key in keys]
    done = await asyncio.gather(
        *(inject(system, chance, history) for inject in injections if inject is not None)
    )
    pairs = [f"{key}: {what}" for key, what in zip(keys, done, strict=True) if what]
    return ", ".join(pairs) or None


async def heal(system: System) -> None:
    """Undo whatever a fault that was interrupted has left behind."""
    system.proxy.heal()
    system.is_stopped = False
    (system.database.directory / of_databases.FILLER).unlink(missing_ok=True)
    for process in (system.redis, *(worker.site for worker in system.workers)):
        if process is not None:
            process.send_signal(signal.SIGCONT)
    for worker in system.workers:
        if worker.clock is not None:
            set_clock(worker.clock, 0)
        if worker.is_running:
            for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS):
                resource.prlimit(worker.site.pid, kind, resource.getrlimit(kind))
    for server in (system.redis, system.database.server, *_watched(system)):
        if server is not None and server.popen.poll() is not None:
            await start(server)


def _watched(system: System) -> tuple[of_redis.RedisServer, ...]:
    return () if system.sentinel is None else system.sentinel.servers
