"""Run a load on a system, do it harm, heal it, let it settle, and judge what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from djwsbridge.testing.checker import State, Verdict, judge
from djwsbridge.testing.device import ClientDevice
from djwsbridge.testing.history import Fault as Injected
from djwsbridge.testing.history import History
from djwsbridge.testing.workload import Device, Journal, Participant, Workload
from tests.faults.device import CarelessDevice, SmallDevice
from tests.faults.faults import FAULTS, LEAVERS, Fault, heal
from tests.faults.system import SYSTEMS, System, running_system

__all__ = ["Plan", "Result", "run"]


@dataclass(frozen=True)
class Plan:
    """One run.

    Args:
        fault: its key in `FAULTS`.
        system: its key in `SYSTEMS`.
        seed: of everything that happens by chance.
        warm: seconds of load before the first fault.
        harm: seconds of faults under load.
        settle: seconds in which everything must have been answered and shown after that; it ends when it is so.
        writers: how many people write and read.
        readers: how many others only read.
        rooms: how many rooms, with everybody in each.
        pause: seconds between two messages of a writer to a room, on average.
        min_acks: with fewer acknowledged messages the verdict is unknown.
        min_faults: with fewer faults likewise.
        heartbeat: seconds between two signs of life of a client.
        client: `library`, or `small`: the rig's own; `careless`: one that shows what it has shown.
        sabotage: its key in `SABOTAGES`; none when empty.
    """

    fault: str
    system: str
    seed: int = 1
    warm: float = 10.0
    harm: float = 40.0
    settle: float = 40.0
    writers: int = 8
    readers: int = 4
    rooms: int = 4
    pause: float = 0.05
    min_acks: int = 5_000
    min_faults: int = 3
    heartbeat: float = 5.0
    client: str = "library"
    sabotage: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has shown."""

    fault: str
    name: str
    system: str
    seed: int
    verdict: Verdict
    # Figures over their limits, in words.
    exceeded: list[str]
    # Workers that ended and were not made to.
    crashes: list[str]

    @property
    def ok(self) -> bool:
        """Say whether everything held."""
        return self.verdict.state is State.VALID and not self.exceeded and not self.crashes

    @property
    def row(self) -> str:
        """Return a row of the table of faults."""
        figures = self.verdict.figures
        verdict = self.verdict.state.value if not self.exceeded else "too slow"
        return (
            f"{self.fault:>4}  {self.name:<46} {self.system:<14} {figures.acked:>6} acks"
            f" {figures.faults:>4} faults  {verdict:<8} back ≤ {figures.away['max']:5.1f} s"
            f"  ack p99 {figures.ack['p99']:5.2f} max {figures.ack['max']:5.1f} s"
            f"  delivery p99 {figures.delivery['p99']:5.2f} max {figures.delivery['max']:5.1f} s"
        )

    def __str__(self) -> str:
        return "\n".join([self.row, str(self.verdict), *self.exceeded, *self.crashes])


def run(plan: Plan, directory: Path) -> Result:
    """Carry out a plan, and leave history, result and logs in a directory."""
    directory = directory.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    fault = FAULTS[plan.fault]
    env = {"FAULTS_HEARTBEAT": str(plan.heartbeat), **fault.env}
    env["FAULTS_SABOTAGE"] = plan.sabotage
    history = History()
    with (
        _client_log(directory / "clients.log"),
        running_system(SYSTEMS[plan.system], directory, seed=plan.seed, env=env) as system,
    ):
        system.populate(plan.writers + plan.readers, plan.rooms)
        asyncio.run(_run(plan, fault, system, history))
        system.database.read_rows(history, system.rooms)
    history.write(directory / "history.jsonl")
    verdict = judge(history, min_acks=plan.min_acks, min_faults=plan.min_faults)
    result = Result(
        fault=plan.fault,
        name=fault.name,
        system=plan.system,
        seed=plan.seed,
        verdict=verdict,
        exceeded=_exceeded(fault, verdict),
        crashes=[] if fault.inject is None else _describe(system.crashes),
    )
    (directory / "result.json").write_bytes(msgspec.json.encode(result))
    return result


async def _run(plan: Plan, fault: Fault, system: System, history: History) -> None:
    chance = random.Random(f"{plan.seed} workload")
    workload = Workload(history, _participants(plan, system, history, chance), plan.pause, chance)
    supervisor = asyncio.ensure_future(system.supervise())
    try:
        await workload.start()
        await asyncio.sleep(plan.warm)
        await _harm(plan, fault, system, history)
        await heal(system)
        await workload.settle(plan.settle)
    finally:
        await workload.stop()
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor


@contextlib.contextmanager
def _client_log(path: Path) -> Iterator[None]:
    """Keep what the clients say in a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(relativeCreated)d %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("djwsbridge.client", "djwsbridge.testing")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        handler.close()


def _participants(
    plan: Plan, system: System, history: History, chance: random.Random
) -> Sequence[Participant]:
    participants = []
    for number, (user, token) in enumerate(zip(system.people, system.tokens, strict=True)):
        journal = Journal(history, f"device-{number}", user)
        url = system.urls[number % len(system.urls)]
        device: Device
        if plan.client == "library":
            device = ClientDevice(url, token, system.rooms, journal)
        else:
            kind = CarelessDevice if plan.client == "careless" else SmallDevice
            device = kind([url], token, system.rooms, journal, chance)
        writes = number < plan.writers
        participants.append(Participant(journal, device, system.rooms, writes))
    assert plan.fault != "35" or plan.readers >= len(LEAVERS)
    return participants


async def _harm(plan: Plan, fault: Fault, system: System, history: History) -> None:
    """Inject the fault again and again, and write down each time that it really happened."""
    if fault.inject is None:
        await _let_crash(plan, fault, system, history)
        return
    chance = random.Random(f"{plan.seed} faults")
    end = time.monotonic() + plan.harm
    while time.monotonic() < end:
        begun = time.monotonic()
        with contextlib.suppress(asyncio.TimeoutError):
            done = await asyncio.wait_for(
                fault.inject(system, chance, history), max(end - begun, 0.0) + plan.settle
            )
            if done is not None:
                history.add(
                    Injected(name=fault.name, detail=done, at=begun, until=time.monotonic())
                )
        await asyncio.sleep(chance.uniform(0.5, 1.5) * fault.pause)


async def _let_crash(plan: Plan, fault: Fault, system: System, history: History) -> None:
    """Wait while workers die of their crash point, and write down how often they did; later ones have none."""
    await asyncio.sleep(plan.harm)
    for worker in system.workers:
        worker.site.env.pop("DJWSBRIDGE_CRASH_POINT", None)
    for number, at, status in system.crashes:
        detail = f"worker {number} ended with {status}"
        history.add(Injected(name=fault.name, detail=detail, at=at, until=at))


def _exceeded(fault: Fault, verdict: Verdict) -> list[str]:
    figures = {
        "ack": verdict.figures.ack,
        "delivery": verdict.figures.delivery,
        "away": verdict.figures.away,
    }
    return [
        f"{figure} {percentile}: {figures[figure][percentile]:.1f} s, at most {limit:.1f} s"
        for (figure, percentile), limit in fault.limits.items()
        if figures[figure][percentile] > limit
    ]


def _describe(crashes: Sequence[tuple[int, float, int]]) -> list[str]:
    return [f"Worker {number} ended by itself with {status}." for number, _, status in crashes]
