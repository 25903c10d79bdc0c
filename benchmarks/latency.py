"""Latency at a fixed, moderate rate: one message to 1,000 members, 10,000 deliveries a second in all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.generator import Lines
from benchmarks.harness.results import Result
from benchmarks.harness.rounds import Case, Options, Rounds
from benchmarks.harness.world import Worlds

__all__ = ["run"]

# Who is asked again at a fifth of the rate, because the ordinary stack cannot keep up with the first.
SLOW = frozenset({"ordinary", "djwsbridge"})
COLUMNS = (
    ("load", "case"),
    ("system", "title"),
    ("p50 ms", "p50"),
    ("p90 ms", "p90"),
    ("p99 ms", "p99"),
    ("max ms", "max"),
    ("server's core busy", "busy"),
    ("lost", "missing"),
)
NOTES = (
    "Messages leave on a fixed schedule, whatever came of those before, and a delivery's time counts from the "
    "scheduled moment: who cannot keep up is not spared. Every delivery counts, so p50 is what the member in the "
    "middle of the room sees."
)


def cases(options: Options) -> list[Case]:
    """Return the loads."""
    common: Lines = [("publishers", 1), ("warm-up", 0.2 if options.smoke else 3), ("drain", 30)]
    if options.smoke:
        return [Case("10 members, 200/s", 20, 2, [("rate", 20), *common])]
    return [
        Case("1,000 members, 10,000/s", 1_000, 1, [("rate", 10), *common]),
        Case("1,000 members, 2,000/s", 1_000, 1, [("rate", 2), *common], only=SLOW),
    ]


def reduce(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one run."""
    times = counted["delivery_ms"]
    return {
        **{key: times[key] for key in ("p50", "p90", "p99", "max")},
        "busy": round(counted["server_cpu"] / counted["seconds"], 3),
        "missing": counted["missing"],
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("latency", "Latency at a fixed rate", COLUMNS, NOTES)
    Rounds(result, "fanout", options).measure(worlds, cases(options), reduce)
    result.write(options.output)
    return result
