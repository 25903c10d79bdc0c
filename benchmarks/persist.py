"""Stored, then delivered: what a message costs that must not get lost, on SQLite and PostgreSQL.

Three parts: 64 senders in 16 rooms over WebSocket, acknowledged; one sender alone; and the same inside one process,
without sockets: group commit beside one transaction per message and beside the plain insert of the ORM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.harness.build import ROOT
from benchmarks.harness.cores import SERVER_CORE, on_core
from benchmarks.harness.generator import Lines
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Case, Options, Rounds
from benchmarks.harness.world import Worlds

__all__ = ["run"]

SENDERS, ROOMS = 64, 16
DATABASES = ("sqlite", "postgresql")
COLUMNS = (
    ("load", "case"),
    ("system", "title"),
    ("messages/s", "per_second"),
    ("messages/s of one core", "per_core"),
    ("PostgreSQL: CPU µs a message", "database_us"),
    ("ack p50 ms", "p50"),
    ("ack p99 ms", "p99"),
    ("lost", "lost"),
)
NOTES = (
    "SQLite with `synchronous=FULL`, PostgreSQL with `synchronous_commit=on` on the generator's core. A message counts "
    "when its sender has the acknowledgement and every member of the room, four with 16 rooms, has the message. "
    "djwsbridge stores a row of the log and a row of the chat, numbered without gaps; the ordinary stack one row. "
    "`in one process` has no sockets: services called with the same messages."
)
TITLES = {
    "orm": "in one process: the ORM's insert of one row",
    "naive": "in one process: one transaction per message",
    "grouped": "in one process: group commit",
}


def reduce(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one run over WebSocket."""
    messages, cpu = counted["messages"], counted["server_cpu"]
    return {
        "per_second": round(messages / counted["seconds"]),
        "per_core": round(messages / cpu) if cpu else 0,
        "p50": counted["reply_ms"]["p50"],
        "p99": counted["reply_ms"]["p99"],
        "database_us": round(counted["database_cpu"] / counted["published"] * 1e6, 1),
        "lost": counted["lost"] + counted["unfinished"],
        "errors": counted["errors"],
    }


def cases(options: Options) -> list[Case]:
    """Return the loads."""
    warm_up = 0.2 if options.smoke else 2
    members = SENDERS // ROOMS
    common: Lines = [("in-flight", 1), ("wait-reply", 1), ("warm-up", warm_up), ("drain", 20)]
    many: Lines = [("publishers", members), *common]
    alone: Lines = [("publishers", 1), ("max-publishers", 1), *common]
    if options.smoke:
        return [Case(f"{SENDERS} senders, sqlite", SENDERS, ROOMS, many)]
    found = []
    for database in DATABASES:
        found += [
            Case(f"{SENDERS} senders, {database}", SENDERS, ROOMS, many, database),
            Case(f"1 sender, {database}", SENDERS, ROOMS, alone, database),
        ]
    return found


def in_process(worlds: Worlds, result: Result, options: Options) -> None:
    """Measure without sockets."""
    for database in dict.fromkeys(case.database for case in filter(options.wants, cases(options))):
        world = worlds.get("chat", SENDERS, ROOMS, database=database)
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            say(f"  in one process, {database}, round {number + 1}")
            command = [sys.executable, "-m", "benchmarks.sites.inserts", str(options.seconds)]
            done = subprocess.run(
                on_core(SERVER_CORE, command),
                cwd=ROOT,
                env={**os.environ, **world.env, "BENCH_REDIS": ""},
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
            for row in json.loads(done.stdout):
                found.setdefault((row.pop("way"), row.pop("senders")), []).append(row)
        for (way, senders), rows in found.items():
            case = f"{senders} sender{'s' if senders > 1 else ''}, {database}"
            result.add(rows, case=case, system=way, title=TITLES[way])


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("persist", "Stored, then delivered", COLUMNS, NOTES)
    Rounds(result, "stored", options).measure(worlds, cases(options), reduce)
    if options.systems is None or any(name.startswith("djwsbridge") for name in options.systems):
        in_process(worlds, result, options)
    result.rows.sort(key=lambda row: str(row["case"]), reverse=True)
    result.write(options.output)
    return result
