"""Unicast with reply, nothing stored: users write to each other; each waits for the reply and the arrival."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.harness.generator import Lines
from benchmarks.harness.results import Result
from benchmarks.harness.rounds import Case, Options, Rounds
from benchmarks.harness.world import Worlds

__all__ = ["run"]

SENDERS = 64
COLUMNS = (
    ("system", "title"),
    ("messages/s of one core", "per_core"),
    ("messages/s", "per_second"),
    ("CPU µs a message", "cpu_us"),
    ("reply p50 ms", "p50"),
    ("reply p99 ms", "p99"),
    ("lost", "lost"),
)
NOTES = (
    f"{SENDERS} users in pairs; each has one message under way and sends the next one when it has the reply and "
    "the other one has the message. djwsbridge also brings each message to the sender's own devices; the peers do not."
)


def reduce(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one run."""
    messages, cpu = counted["messages"], counted["server_cpu"]
    return {
        "per_core": round(messages / cpu) if cpu else 0,
        "per_second": round(messages / counted["seconds"]),
        "cpu_us": round(cpu / messages * 1e6, 2) if messages else 0,
        "p50": counted["reply_ms"]["p50"],
        "p99": counted["reply_ms"]["p99"],
        "lost": counted["lost"] + counted["unfinished"],
        "errors": counted["errors"],
    }


def cases(options: Options) -> list[Case]:
    """Return the load."""
    senders = 20 if options.smoke else SENDERS
    lines: Lines = [("publishers", 2), ("in-flight", 1), ("wait-reply", 1)]
    lines.append(("warm-up", 0.2 if options.smoke else 2))
    rooms = 2 if options.smoke else senders // 2
    return [Case(f"{senders} senders", senders, rooms, lines)]


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("unicast", "Unicast with reply, not stored", COLUMNS, NOTES)
    Rounds(result, "unicast", options).measure(worlds, cases(options), reduce)
    result.write(options.output)
    return result
