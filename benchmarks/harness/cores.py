"""Which core each program runs on: the server alone on one, the generator and everything else on another."""

from __future__ import annotations

import os
import shutil

__all__ = ["GENERATOR_CORE", "HELPER_CORE", "SERVER_CORE", "on_core", "worker_core"]

_CORES = sorted(os.sched_getaffinity(0))

SERVER_CORE = _CORES[0]
# Also that of Redis and PostgreSQL, unless there is a third one.
GENERATOR_CORE = _CORES[1] if len(_CORES) > 1 else _CORES[0]
HELPER_CORE = _CORES[min(2, len(_CORES) - 1)]


def on_core(core: int, command: list[str]) -> list[str]:
    """Return the command that runs another one on one core only."""
    taskset = shutil.which("taskset")
    return [taskset, "--cpu-list", str(core), *command] if taskset else command


def worker_core(number: int) -> int:
    """Return the core of the n-th worker of one site: its own, as long as there are some beside the generator's."""
    free = [core for core in _CORES if core != GENERATOR_CORE] or _CORES
    return free[number % len(free)]
