"""Interleaved rounds: every system once, then every system again, so that a busy moment meets all of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness.generator import Lines, run_load
from benchmarks.harness.results import RESULTS, Result, say
from benchmarks.harness.world import World, Worlds
from benchmarks.systems import Load, Serving, System, find_systems

__all__ = ["Case", "Options", "Rounds", "connection_lines", "options_of"]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line.

    Attributes:
        rounds: launches of every system.
        seconds: of the measured part of each.
        systems: names; None for all.
        cases: what the name of a case must hold one of; None for all.
        smoke: whether it need only work.
        output: where results go.
    """

    rounds: int = 3
    seconds: float = 5.0
    systems: Sequence[str] | None = None
    cases: Sequence[str] | None = None
    smoke: bool = False
    output: Path = RESULTS

    def wants(self, case: Case) -> bool:
        """Say whether a case was asked for."""
        return self.cases is None or any(part in case.name for part in self.cases)


@dataclass(frozen=True)
class Case:
    """One size or kind of load within a question.

    Attributes:
        name: in the table.
        users: connections.
        rooms: among which they are divided.
        lines: of the scenario, besides those of the system.
        database: `sqlite` or `postgresql`.
        skip: names of systems that would take too long.
        only: names of the systems that it is meant for; empty for all.
    """

    name: str
    users: int
    rooms: int
    lines: Lines = field(default_factory=list)
    database: str = "sqlite"
    skip: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    def is_for(self, system: System) -> bool:
        """Say whether a system is measured in this case."""
        return system.name not in self.skip and (not self.only or system.name in self.only)


#: Turns what the generator has counted into the figures of a row.
Reduce = Callable[[Mapping[str, Any]], dict[str, Any]]


class Rounds:
    """Measure cases on systems, round by round, and collect the rows.

    Args:
        result: where the rows go.
        load: what the systems have to do.
        options: of the command line.
    """

    def __init__(self, result: Result, load: Load, options: Options) -> None:
        self.result = result
        self.load = load
        self.options = options
        self.systems, lacking = find_systems(load, options.systems)
        result.missing.update(lacking)
        result.settings.update({"rounds": options.rounds, "seconds": options.seconds})

    def measure(self, worlds: Worlds, cases: Sequence[Case], reduce: Reduce) -> None:
        """Measure every case on every system."""
        for case in filter(self.options.wants, cases):
            found: dict[str, list[dict[str, Any]]] = {}
            for number in range(self.options.rounds):
                for system in self.systems:
                    if not case.is_for(system):
                        continue
                    figures = self._once(worlds, case, system, reduce, number)
                    if figures is not None:
                        found.setdefault(system.name, []).append(figures)
            for system in self.systems:
                if system.name in found:
                    names = {"system": system.name, "title": system.title}
                    self.result.add(found[system.name], case=case.name, **names)

    def _once(
        self, worlds: Worlds, case: Case, system: System, reduce: Reduce, number: int
    ) -> dict[str, Any] | None:
        site = system.site(self.load)
        world = worlds.get(site, case.users, case.rooms, database=case.database)
        say(f"  {case.name}: {system.title}, round {number + 1}")
        database = worlds.database_cpu()
        try:
            with system.serve(world, self.load) as serving:
                lines = [*connection_lines(world, serving), *system.client(self.load), *case.lines]
                counted = run_load([("duration", self.options.seconds), *lines])
        except RuntimeError as error:
            say(f"    failed: {error}")
            self.result.missing[f"{system.title}, {case.name}"] = "it failed under this load"
            return None
        counted["database_cpu"] = worlds.database_cpu() - database
        figures = reduce(counted)
        say("    " + ", ".join(f"{key} {value:,.6g}" for key, value in figures.items()))
        return figures


def connection_lines(world: World, serving: Serving) -> Lines:
    """Return the lines of a scenario that say who connects where."""
    return [
        *(("address", f"127.0.0.1:{port}") for port in serving.ports),
        *(("pid", pid) for pid in serving.pids),
        ("tokens", world.tokens),
        ("room-names", world.room_names),
        ("connections", world.users),
        ("rooms", world.rooms),
    ]


def options_of(parsed: argparse.Namespace) -> Options:
    """Return the options that were given on the command line."""
    return Options(
        rounds=parsed.rounds,
        seconds=parsed.seconds,
        systems=parsed.systems,
        cases=parsed.cases,
        smoke=parsed.smoke,
        output=parsed.output,
    )
