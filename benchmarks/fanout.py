"""Fan-out: one message to all members of a room, as fast as it goes.

One room of 100, 1,000 and 5,000 members with 16 messages in flight; and 50 rooms of 100 members with a publisher each
("scattered"), where hardly two frames wait for the same reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.generator import Lines
from benchmarks.harness.results import Result
from benchmarks.harness.rounds import Case, Options, Rounds
from benchmarks.harness.world import Worlds

__all__ = ["run"]

COLUMNS = (
    ("load", "case"),
    ("system", "title"),
    ("deliveries/s of one core", "per_core"),
    ("deliveries/s", "per_second"),
    ("CPU µs a delivery", "cpu_us"),
    ("p50 ms", "p50"),
    ("p99 ms", "p99"),
    ("lost", "missing"),
    ("generator busy", "generator"),
)
NOTES = (
    "Deliveries are messages times members. Per core: deliveries divided by the processor time of the server alone; "
    "for the ordinary stack without that of Redis, which runs beside the generator. Times are from a message's "
    "sending to its arrival, with 16 messages in flight: they say how long the queue is, not how fast a single "
    "message is (that is the question `latency`). Lost: what members had not received a minute after the end. "
    "On the stock servers the room of 5,000 is left out."
)

HOT: Lines = [("publishers", 1), ("in-flight", 16)]
SCATTERED: Lines = [("publishers", 1), ("in-flight", 1)]
# Every one of 5,000 who come is told to those who are there: minutes of a server that joins nothing.
STOCK = frozenset({"djwsbridge-uvicorn", "djwsbridge-daphne"})
PATIENT: Lines = [("warm-up", 2), ("drain", 60), ("give-up", 120)]


def cases(options: Options) -> list[Case]:
    """Return the loads."""
    if options.smoke:
        quick: Lines = [("warm-up", 0.2), ("drain", 20)]
        return [Case("2 x 10", 20, 2, [*HOT, *quick])]
    return [
        *(Case(f"{n:,} members", n, 1, [*HOT, *PATIENT]) for n in (100, 1_000)),
        Case("5,000 members", 5_000, 1, [*HOT, *PATIENT], skip=STOCK),
        Case("50 x 100", 5_000, 50, [*SCATTERED, *PATIENT]),
    ]


def reduce(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one run."""
    deliveries, cpu = counted["deliveries"], counted["server_cpu"]
    return {
        "per_core": round(deliveries / cpu) if cpu else 0,
        "per_second": round(deliveries / counted["seconds"]),
        "cpu_us": round(cpu / deliveries * 1e6, 3) if deliveries else 0,
        "p50": counted["delivery_ms"]["p50"],
        "p99": counted["delivery_ms"]["p99"],
        "missing": counted["missing"],
        "connected_s": counted["connected"]["seconds"],
        "generator": round(counted["generator_cpu"] / counted["seconds"], 2),
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("fanout", "Fan-out", COLUMNS, NOTES)
    Rounds(result, "fanout", options).measure(worlds, cases(options), reduce)
    result.write(options.output)
    return result
