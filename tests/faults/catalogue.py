"""The list of faults: what one is, and how it gets into the list.

An injection returns what it did, or None when there was nothing to do it to. Each lasts as long as the fault does, and
what it leaves behind heals by itself or by `faults.heal`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from djwsbridge.testing.history import History
from tests.faults.system import System, Worker
from tests.servers import PostgresServer, Process, RedisServer, run_manage

__all__ = [
    "ENGINE",
    "ENGINES",
    "FAR",
    "FAULTS",
    "FULL",
    "SMALL_TOO",
    "Fault",
    "Injection",
    "crash_point",
    "fault",
    "lasting",
    "manage",
    "pick",
    "start",
    "until",
]

Injection = Callable[[System, random.Random, History], Awaitable[str | None]]

FULL = ("postgresql",)
FAR = ("far-database",)
ENGINE = ("redis-engine",)
ENGINES = (*FULL, *ENGINE)
SMALL_TOO = ("postgresql", "sqlite")

LOOK_INTERVAL = 0.1  # seconds between two looks at a condition


@dataclass(frozen=True)
class Fault:
    """A fault, and what must hold under it.

    Args:
        number: in the list of promises.
        name: what is done, in a few words.
        inject: does it once; None when the workers do it to themselves.
        systems: what it is tried on, of `SYSTEMS`.
        pause: seconds from one injection to the next, on average.
        env: settings of the workers.
        limits: figures that must not be exceeded: one of `Figures`, then the percentile, to seconds.
        least: how often it must have happened for the verdict to mean anything.
        rewinds: whether it takes acknowledged messages out of the database, as restoring a backup does.
        once: whether it is done once; the load then goes on for `pause` seconds, at most for the plan's `harm`.
        calm: whether the limits for clients hold, so that the writers write seldom.
    """

    number: int
    name: str
    inject: Injection | None
    systems: tuple[str, ...] = FULL
    pause: float = 1.0
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[tuple[str, str], float] = field(default_factory=dict)
    least: int = 3
    rewinds: bool = False
    once: bool = False
    calm: bool = False


#: Number (with a letter for a variant) → fault.
FAULTS: dict[str, Fault] = {}


def fault(
    key: str,
    name: str,
    *,
    systems: tuple[str, ...] = FULL,
    pause: float = 1.0,
    env: Mapping[str, str] | None = None,
    limits: Mapping[tuple[str, str], float] | None = None,
    least: int = 3,
    rewinds: bool = False,
    once: bool = False,
    calm: bool = False,
) -> Callable[[Injection], Injection]:
    """Put an injection into the list; the arguments are those of `Fault`."""

    def register(inject: Injection) -> Injection:
        FAULTS[key] = Fault(
            _number(key),
            name,
            inject,
            systems,
            pause,
            env=env or {},
            limits=limits or {},
            least=least,
            rewinds=rewinds,
            once=once,
            calm=calm,
        )
        return inject

    return register


def crash_point(key: str, point: str, **limits: float) -> None:
    """Put a crash of the workers' own into the list."""
    env = {"DJWSBRIDGE_CRASH_POINT": point, "DJWSBRIDGE_CRASH_RATE": "0.01"}
    named = {tuple(limit.split("_")): seconds for limit, seconds in limits.items()}
    FAULTS[key] = Fault(_number(key), f"SIGKILL {point}", None, SMALL_TOO, env=env, limits=named)


def _number(key: str) -> int:
    return int("".join(filter(str.isdigit, key)))


def pick(system: System, chance: random.Random) -> Worker | None:
    """Return one of the workers that run."""
    running = [worker for worker in system.workers if worker.is_running]
    return chance.choice(running) if running else None


async def lasting(seconds: float) -> None:
    """Let a fault last."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], object], *, within: float) -> bool:
    """Wait for a condition that may take its time to look at; return whether it held within so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not await asyncio.to_thread(condition):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(LOOK_INTERVAL)
    return True


async def start(server: RedisServer | PostgresServer) -> None:
    """Start a server again: from this thread, since it ends with the thread that it is a child of."""
    Process.start(server)
    await asyncio.to_thread(server.wait_ready, server._answers)


async def manage(system: System, *arguments: str) -> str:
    """Run `manage.py` as an operator would, past the proxy, and return what it printed."""
    env = {**system.env, "DATABASE_URL": system.database.url}
    env.pop("DJWSBRIDGE_CRASH_POINT", None)
    return await asyncio.to_thread(run_manage, *arguments, env=env)
