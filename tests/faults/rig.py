"""Run a load on a system, do it harm, heal it, let it settle, and judge what happened."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
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
from djwsbridge.testing.history import History, Rewind
from djwsbridge.testing.workload import Device, Journal, Participant, Workload
from tests.faults.device import CarelessDevice, SmallDevice
from tests.faults.faults import FAULTS, LEAVERS, Fault, heal
from tests.faults.rewind import without_lost
from tests.faults.system import SYSTEMS, System, running_system
from tests.faults.wanderer import hush, wander

__all__ = ["Plan", "Result", "run"]

LONGEST = 150.0  # seconds of one injection
PROBLEMS = 20  # that are printed; the file has all
CALM = 25.0  # by this much fewer messages, where the limits for clients hold


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
        rooms: how many rooms, with every other person in each.
        pause: seconds between two messages of a writer to a room, on average.
        min_acks: with fewer acknowledged messages the verdict is unknown.
        min_faults: with fewer faults likewise; 0 for what the fault itself wants.
        heartbeat: seconds between two signs of life of a client.
        client: `library`, or `small`: the rig's own; `careless`: one that shows what it has shown.
        sabotage: its key in `SABOTAGES`; none when empty.
    """

    fault: str
    system: str
    seed: int = 1
    warm: float = 3.0
    harm: float = 30.0
    settle: float = 40.0
    writers: int = 8
    readers: int = 4
    rooms: int = 5
    pause: float = 0.15
    min_acks: int = 300
    min_faults: int = 0
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
    # What else should not be, in words.
    problems: list[str]
    # Workers that ended and were not made to.
    crashes: list[str]

    @property
    def ok(self) -> bool:
        """Say whether everything held."""
        return self.is_right and not self.exceeded

    @property
    def is_right(self) -> bool:
        """Say whether everything held, however long it took."""
        return self.verdict.state is State.VALID and not self.problems and not self.crashes

    @property
    def row(self) -> str:
        """Return a row of the table of faults."""
        figures = self.verdict.figures
        verdict = self.verdict.state.value
        if self.verdict.state is State.VALID and self.problems:
            verdict = "wrong"
        elif self.verdict.state is State.VALID and self.exceeded:
            verdict = "too slow"
        return (
            f"{self.fault:>4}  {self.name:<46} {self.system:<14} {figures.acked:>6} acks"
            f" {figures.faults:>4} faults  {verdict:<8} back ≤ {figures.away['max']:5.1f} s"
            f"  ack p99 {figures.ack['p99']:5.2f} max {figures.ack['max']:5.1f} s"
            f"  after ≤ {figures.recovery['max']:4.1f} s"
            f"  delivery p99 {figures.delivery['p99']:5.2f} max {figures.delivery['max']:5.1f} s"
        )

    def __str__(self) -> str:
        lines = [self.row, str(self.verdict), *self.exceeded, *self.problems[:PROBLEMS]]
        return "\n".join([*lines, *self.crashes])


def run(plan: Plan, directory: Path) -> Result:
    """Carry out a plan, and leave history, result and logs in a directory."""
    directory = directory.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    fault = FAULTS[plan.fault]
    env = {"FAULTS_HEARTBEAT": str(plan.heartbeat), **fault.env}
    env["FAULTS_SABOTAGE"] = plan.sabotage
    env["FAULTS_LIMITS"] = "default" if fault.calm else ""
    history = History()
    with (
        _client_log(directory / "clients.log"),
        running_system(
            SYSTEMS[plan.system],
            directory,
            seed=plan.seed,
            people=plan.writers + plan.readers,
            rooms=plan.rooms,
            env=env,
        ) as system,
    ):
        asyncio.run(_run(plan, fault, system, history))
        system.database.read_rows(history, system.made.rooms)
    history.write(directory / "history.jsonl")
    problems, told = system.problems, 0.0
    for rewind in list(history.of(Rewind)):
        history, lost, told = without_lost(history, rewind)
        problems = [*problems, *lost]
    min_acks = round(plan.min_acks / CALM) if fault.calm else plan.min_acks
    verdict = judge(history, min_acks=min_acks, min_faults=plan.min_faults or fault.least)
    result = Result(
        fault=plan.fault,
        name=fault.name,
        system=plan.system,
        seed=plan.seed,
        verdict=verdict,
        exceeded=_exceeded(fault, verdict, told),
        problems=problems,
        crashes=[] if fault.inject is None else _describe(system.crashes),
    )
    (directory / "result.json").write_bytes(msgspec.json.encode(result))
    return result


async def _run(plan: Plan, fault: Fault, system: System, history: History) -> None:
    chance = random.Random(f"{plan.seed} workload")
    pause = plan.pause * CALM if fault.calm else plan.pause
    participants = _participants(plan, system, history, chance)
    workload = Workload(history, participants, pause, chance, system.silent)
    supervisor = asyncio.ensure_future(system.supervise())
    try:
        await workload.start()
        beside = [
            asyncio.ensure_future(wander(system, system.made.spares[0], chance, history)),
            asyncio.ensure_future(hush(system, system.made.rooms[-1])),
        ]
        try:
            await asyncio.sleep(plan.warm)
            await _harm(plan, fault, system, history, workload)
        finally:
            # A visit is let end: a request that is cut may still be stored, after everybody has stopped watching.
            async with system.visits:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        await heal(system)
        await workload.settle(plan.settle)
        if fault.inject is None:
            _note_crashes(fault, system, history)
    finally:
        await workload.stop()
        await system.helpers.aclose()
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
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
        handler.close()


def _participants(
    plan: Plan, system: System, history: History, chance: random.Random
) -> list[Participant]:
    """Return everybody who is there from the start; the first of those who only read has an old client."""
    participants = []
    for number in range(len(system.made.people)):
        client = "small" if number == plan.writers and plan.client == "library" else plan.client
        one = _participant(client, system, history, chance, number, f"device-{number}")
        participants.append(dataclasses.replace(one, writes=number < plan.writers))
    assert plan.fault != "35" or plan.readers >= len(LEAVERS)
    return participants


def _participant(
    client: str, system: System, history: History, chance: random.Random, number: int, name: str
) -> Participant:
    """Return a device of one of the people."""
    made = system.made
    journal = Journal(history, name, made.people[number])
    rooms, token = made.places[number], made.tokens[number]
    url = system.urls[number % len(system.urls)]
    device: Device
    if client == "library":
        device = ClientDevice(url, token, rooms, journal)
    else:
        kind = CarelessDevice if client == "careless" else SmallDevice
        device = kind([url], token, rooms, journal, chance)
    return Participant(journal, device, rooms, writes=False)


async def _harm(
    plan: Plan, fault: Fault, system: System, history: History, workload: Workload
) -> None:
    """Inject the fault again and again, and write down each time that it really happened."""
    if fault.inject is None:
        await asyncio.sleep(plan.harm)
        for worker in system.workers:  # those that are started from now on have none
            worker.site.env.pop("DJWSBRIDGE_CRASH_POINT", None)
        return
    chance = random.Random(f"{plan.seed} faults")
    end = time.monotonic() + plan.harm
    is_first = True
    while time.monotonic() < end:
        begun = time.monotonic()
        done = await asyncio.wait_for(fault.inject(system, chance, history), LONGEST)
        if done is not None:
            history.add(Injected(name=fault.name, detail=done, at=begun, until=time.monotonic()))
        if fault.rewinds:
            workload.rewound()
        if is_first and done is not None and plan.client == "library":
            _let_newcomers_in(system, history, workload, chance)
            is_first = False
        if fault.once:
            await asyncio.sleep(min(fault.pause, plan.harm))
            return
        await asyncio.sleep(chance.uniform(0.5, 1.5) * fault.pause)


def _let_newcomers_in(
    system: System, history: History, workload: Workload, chance: random.Random
) -> None:
    """Let two more devices of the first people come, one of them an old client: they begin with nothing."""
    for number, client in enumerate(("library", "small")):
        one = _participant(client, system, history, chance, number, f"newcomer-{number}")
        workload.join(one)


def _note_crashes(fault: Fault, system: System, history: History) -> None:
    """Write down how often workers died of their crash point."""
    for number, at, status in system.crashes:
        detail = f"worker {number} ended with {status}"
        history.add(Injected(name=fault.name, detail=detail, at=at, until=at))


def _exceeded(fault: Fault, verdict: Verdict, told: float) -> list[str]:
    figures = {
        "told": {"max": told},
        "ack": verdict.figures.ack,
        "delivery": verdict.figures.delivery,
        "away": verdict.figures.away,
        "recovery": verdict.figures.recovery,
    }
    return [
        f"{figure} {percentile}: {figures[figure][percentile]:.1f} s, at most {limit:.1f} s"
        for (figure, percentile), limit in fault.limits.items()
        if figures[figure][percentile] > limit
    ]


def _describe(crashes: Sequence[tuple[int, float, int]]) -> list[str]:
    return [f"Worker {number} ended by itself with {status}." for number, _, status in crashes]
