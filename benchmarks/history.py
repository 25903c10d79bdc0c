"""Opening a room with a long history: pages of it over REST, the newest and any other."""

from __future__ import annotations

import http
import http.client
import os
import random
import time
from contextlib import closing
from typing import Any

from benchmarks.harness.cores import GENERATOR_CORE
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options
from benchmarks.harness.servers import cpu_of
from benchmarks.harness.world import World, Worlds
from benchmarks.sites.ours import choose_ours

__all__ = ["run"]

MESSAGES = 100_000
REQUESTS = 1_000
WARM_UP = 20  # requests that are not counted: the first ones open the database
COLUMNS = (
    ("database", "case"),
    ("page", "page"),
    ("system", "title"),
    ("p50 ms", "p50"),
    ("p99 ms", "p99"),
    ("max ms", "max"),
    ("CPU ms", "cpu"),
)
NOTES = (
    "`GET /chat/api/rooms/<id>/messages/` with a JWT, 50 messages a page, one request after the other over one "
    "connection, from the request's first byte to the answer's last."
)


def once(port: int, world: World, messages: int, requests: int, *, newest: bool) -> dict[str, Any]:
    """Ask for pages; return how long they took."""
    room = world.room_names.read_text().split()[0]
    _, token = world.users_and_tokens()[0]
    headers = {"Authorization": f"Bearer {token}"}
    chance, times = random.Random(1), []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for number in range(requests + WARM_UP):
            query = "" if newest else f"?before={chance.randint(51, messages)}"
            begun = time.perf_counter()
            connection.request("GET", f"/chat/api/rooms/{room}/messages/{query}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            took = (time.perf_counter() - begun) * 1_000
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"HTTP {answer.status}: {body[:200]!r}")
            if number >= WARM_UP:
                times.append(took)
    times.sort()
    return {
        "p50": round(times[len(times) // 2], 2),
        "p99": round(times[int(len(times) * 0.99)], 2),
        "max": round(times[-1], 2),
    }


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("history", "A page of a long history", COLUMNS, NOTES)
    ours = choose_ours(options.systems, result.missing)
    messages, requests = (200, 20) if options.smoke else (MESSAGES, REQUESTS)
    result.settings.update({"messages": messages, "requests": requests})
    os.sched_setaffinity(0, {GENERATOR_CORE})
    for database in ("sqlite",) if options.smoke else ("sqlite", "postgresql"):
        world = worlds.get("chat", 2, 1, database=database, messages=messages)
        found: dict[tuple[str, bool], list[dict[str, Any]]] = {}
        for number in range(options.rounds):
            for system in ours:
                say(f"  {database}: {system.title}, round {number + 1}")
                with system.serve(world, "stored") as serving:
                    for newest in (True, False):
                        port, before = serving.ports[0], cpu_of(serving.pids)
                        figures = once(port, world, messages, requests, newest=newest)
                        used = cpu_of(serving.pids) - before
                        figures["cpu"] = round(used / (requests + WARM_UP) * 1_000, 2)
                        found.setdefault((system.name, newest), []).append(figures)
        for newest in (True, False):
            for system in ours:
                names = {"system": system.name, "title": system.title}
                page = "the newest" if newest else "any other"
                rows = found[system.name, newest]
                result.add(rows, case=f"{messages:,} messages, {database}", page=page, **names)
    result.write(options.output)
    return result
