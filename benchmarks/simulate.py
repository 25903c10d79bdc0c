"""From what was measured to a million connections: `python -m benchmarks.simulate [--write]`.

It takes the costs from the newest results, places rooms and their members on processes at random, and counts. With
`--write` the tables go into docs/explanation/scaling.md, between the comments that name them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.build import ROOT
from benchmarks.harness.results import RESULTS, table, three_digits

__all__ = ["Costs", "Plan", "Site", "hot_room", "nodes_reached", "plan", "read_costs", "render"]

PAGE = ROOT / "docs" / "explanation" / "scaling.md"

BUSY = 0.5  # of a core, at the busiest hour: the rest is for bursts, for collections, for the clients of a lost process
NODE_CONNECTIONS = 50_000  # more must not be cut off by one crash
NODE_MEMORY = 4.0  # GiB
HEARTBEAT = 25.0  # seconds
SAMPLES = 4_000  # messages whose way is followed


@dataclass(frozen=True)
class Costs:
    """What was measured, for one core.

    Attributes:
        delivery_us: CPU of one delivery where hardly anything can be joined.
        hot_delivery_us: … in a room where many messages wait for the same readers.
        command_us: CPU of a command that stores nothing, with its reply.
        stored_us: CPU of a process for one stored message, its deliveries to a small room included.
        handshake_us: CPU of one handshake with a token.
        connection_kb: memory of one connection.
        hop_us: CPU of a process for a message that comes through Redis.
        redis_us: CPU of Redis for a message to two processes.
        database_us: CPU of PostgreSQL for a stored message.
        lease_bytes: memory of knowing that a user is online on a topic.
        lease_us: CPU of hearing that it has changed.
    """

    delivery_us: float
    hot_delivery_us: float
    command_us: float
    stored_us: float
    handshake_us: float
    connection_kb: float
    hop_us: float
    redis_us: float
    database_us: float
    lease_bytes: float
    lease_us: float


@dataclass(frozen=True)
class Site:
    """What a site's users do at its busiest hour.

    Attributes:
        connections: at the same time.
        room: members of a room who are online, the average over rooms.
        spread: how unequal rooms are: the sigma of the logarithm of their size.
        every: seconds between two messages of a connection.
        stay: seconds that a connection lasts.
        topics: rooms of a user, and their own topic.
    """

    connections: int
    room: float = 20.0
    spread: float = 1.0
    every: float = 300.0
    stay: float = 1_800.0
    topics: int = 6


@dataclass(frozen=True)
class Plan:
    """What a site needs.

    Attributes:
        nodes: processes, each with a core.
        memory_gib: of all connections.
        presence_gib: in every process: who is online.
        messages: a second.
        deliveries: a second.
        reached: processes that a message reaches, on average.
        redis_in: messages a second that Redis takes.
        redis_out: messages a second that Redis hands out.
        redis_cores: that Redis is busy with.
        commits: transactions a second, at most.
        database_cores: that PostgreSQL is busy with.
        node_busy: share of a core, the average over processes.
        uneven: the busiest process beside the average.
        storm: seconds until the clients of a lost process are back.
        next: what gives out first when everything grows.
    """

    nodes: int
    memory_gib: float
    presence_gib: float
    messages: float
    deliveries: float
    reached: float
    redis_in: float
    redis_out: float
    redis_cores: float
    commits: float
    database_cores: float
    node_busy: float
    uneven: float
    storm: float
    next: str


def nodes_reached(members: int, nodes: int) -> float:
    """Return on how many processes a room is expected to have somebody, when members are placed at random."""
    return nodes * (1 - (1 - 1 / nodes) ** members)


def plan(site: Site, costs: Costs, *, seed: int = 1) -> Plan:
    """Return the smallest number of processes that carries a site, and what it does to Redis and PostgreSQL."""
    sizes = _room_sizes(site, seed)
    # A room of twice the members gets twice the messages: what a message meets is larger than the average room.
    fan_out = sum(size * size for size in sizes) / sum(sizes)
    messages = site.connections / site.every
    nodes = max(
        math.ceil(site.connections / NODE_CONNECTIONS),
        math.ceil(_memory(site, costs) / max(NODE_MEMORY - _presence(site, costs), 0.5)),
    )
    while _node_busy(site, costs, nodes, sizes, fan_out) > BUSY:
        nodes = max(nodes + 1, math.ceil(nodes * 1.02))
    reached, uneven = _follow(sizes, nodes, costs, seed)
    hops = messages * reached if nodes > 1 else 0.0
    redis_cores = messages * costs.redis_us * (1 + reached) / 3 / 1e6 if nodes > 1 else 0.0
    database_cores = messages * costs.database_us / 1e6
    busy = _node_busy(site, costs, nodes, sizes, fan_out)
    lost = site.connections / nodes
    storm = lost * costs.handshake_us / 1e6 / (BUSY * max(1, nodes - 1))
    load = {
        "a core of Redis": redis_cores,
        "a core of PostgreSQL": database_cores,
        "the connections of a process": lost / NODE_CONNECTIONS,
        "the core of a process": busy / BUSY,
        "presence in every process": _presence(site, costs) / NODE_MEMORY,
    }
    return Plan(
        nodes=nodes,
        memory_gib=_memory(site, costs),
        presence_gib=_presence(site, costs),
        messages=messages,
        deliveries=messages * fan_out,
        reached=reached,
        redis_in=messages if nodes > 1 else 0.0,
        redis_out=hops,
        redis_cores=redis_cores,
        commits=messages,
        database_cores=database_cores,
        node_busy=busy,
        uneven=uneven,
        storm=max(storm, 8.0),  # the clients' own back-off
        next=max(load, key=lambda name: load[name]),
    )


def hot_room(members: int, costs: Costs) -> dict[str, object]:
    """Return what one message to one large room takes, with as many processes as its members need."""
    nodes = max(1, math.ceil(members / NODE_CONNECTIONS))
    here = members / nodes
    return {
        "members": members,
        "nodes": nodes,
        "milliseconds": round(here * costs.delivery_us / 1_000, 1),
        "alone": math.floor(BUSY * 1e6 / (here * costs.delivery_us)),
        "joined": math.floor(BUSY * 1e6 / (here * costs.hot_delivery_us)),
    }


def _room_sizes(site: Site, seed: int) -> list[int]:
    chance = random.Random(seed)
    mean = math.log(site.room) - site.spread**2 / 2
    return [
        min(site.connections, max(2, round(chance.lognormvariate(mean, site.spread))))
        for _ in range(SAMPLES)
    ]


def _memory(site: Site, costs: Costs) -> float:
    return site.connections * costs.connection_kb / 2**20


def _presence(site: Site, costs: Costs) -> float:
    """Return the GiB that the presence of all takes in each process."""
    return site.connections * site.topics * costs.lease_bytes / 2**30


def _node_busy(site: Site, costs: Costs, nodes: int, sizes: list[int], fan_out: float) -> float:
    """Return the share of a core that a process is busy, on average."""
    messages = site.connections / site.every
    weights = sum(sizes)
    reached = sum(size * nodes_reached(size, nodes) for size in sizes) / weights
    used = messages * (costs.stored_us + fan_out * costs.delivery_us)
    used += messages * reached * costs.hop_us if nodes > 1 else 0.0
    used += site.connections / HEARTBEAT * costs.command_us
    used += site.connections / site.stay * costs.handshake_us
    # Every process hears of everybody who comes or goes.
    presence = 2 * site.connections / site.stay * site.topics * costs.lease_us
    return (used / nodes + presence) / 1e6


def _follow(sizes: list[int], nodes: int, costs: Costs, seed: int) -> tuple[float, float]:
    """Follow messages on their way: how many processes each reaches, and how uneven the load gets."""
    chance = random.Random(seed)
    load = [0.0] * nodes
    reached = 0
    for size in chance.choices(sizes, weights=sizes, k=SAMPLES):
        here: dict[int, int] = {}
        for _ in range(size):
            node = chance.randrange(nodes)
            here[node] = here.get(node, 0) + 1
        reached += len(here)
        for node, members in here.items():
            load[node] += costs.hop_us + members * costs.delivery_us
        load[chance.randrange(nodes)] += costs.stored_us
    return reached / SAMPLES, max(load) / (sum(load) / nodes)


# -- what was measured -------------------------------------------------------------------------------------------------


def read_costs(directory: Path = RESULTS) -> Costs:
    """Return the costs of the newest results.

    Raises:
        FileNotFoundError: a question was not measured.
        LookupError: a result has no row of ours.
    """
    scattered = _row(directory, "fanout", "50 x 100")
    pair = _row(directory, "workers", "50 x 100", workers=2)
    stored = _row(directory, "persist", "64 senders, postgresql")
    connect = _row(directory, "connect")
    stored_us = 1e6 / stored["per_core"] - 4 * scattered["cpu_us"]
    return Costs(
        delivery_us=scattered["cpu_us"],
        hot_delivery_us=_row(directory, "fanout", "1,000 members")["cpu_us"],
        command_us=_row(directory, "unicast")["cpu_us"],
        stored_us=max(stored_us, 0.0),
        handshake_us=1e6 / connect["per_core"],
        connection_kb=connect["kilobytes"],
        hop_us=_row(directory, "workers", "heard from Redis")["cpu_us"],
        redis_us=pair["redis_us"],
        database_us=stored["database_us"],
        lease_bytes=_row(directory, "presence")["lease_bytes"],
        lease_us=_row(directory, "presence")["heard_us"],
    )


def _row(directory: Path, question: str, case: str | None = None, **wanted: object) -> Any:
    rows: list[Mapping[str, Any]] = json.loads((directory / f"{question}.json").read_text())["rows"]
    for system in ("djwsbridge", "djwsbridge-uvicorn"):
        for row in rows:
            fits = row["system"] == system and case in {None, row.get("case")}
            if fits and all(row.get(key) == value for key, value in wanted.items()):
                return row
    raise LookupError(f"{question}.json has no row of ours for {case}.")


# -- the page ----------------------------------------------------------------------------------------------------------

SITES = (
    Site(1_000),
    Site(10_000),
    Site(100_000),
    Site(1_000_000),
    Site(100_000, every=30.0),
    Site(1_000_000, every=30.0),
)
_COST_NAMES = {
    "delivery_us": ("one delivery, scattered", "µs", "`fanout`, 50 x 100"),
    "hot_delivery_us": ("one delivery in a hot room of 1,000", "µs", "`fanout`"),
    "command_us": ("a command with its reply, nothing stored", "µs", "`unicast`"),
    "stored_us": ("a stored message, without its deliveries", "µs", "`persist`, PostgreSQL"),
    "handshake_us": ("a handshake with a token", "µs", "`connect`"),
    "connection_kb": ("memory of a connection", "KB", "`connect`"),
    "hop_us": ("a process takes a message from Redis", "µs", "`workers`"),
    "redis_us": ("Redis hands a message to two processes", "µs", "`workers`"),
    "lease_bytes": ("knowing that a user is online on a topic", "bytes", "`presence`"),
    "lease_us": ("hearing that it has changed", "µs", "`presence`"),
    "database_us": ("PostgreSQL stores a message", "µs", "`persist`"),
}


def render(costs: Costs) -> dict[str, str]:
    """Return the tables of the page by name."""
    cost_rows = [
        {"what": what, "cost": f"{three_digits(value)} {unit}", "source": source}
        for key, value in asdict(costs).items()
        for what, unit, source in [_COST_NAMES[key]]
    ]
    plans = [(site, plan(site, costs)) for site in SITES]
    plan_rows = [
        {
            "connections": f"{site.connections:,}",
            "nodes": made.nodes,
            "memory": f"{made.memory_gib:,.1f} GiB",
            "presence": f"{made.presence_gib:,.2f} GiB",
            "every": f"{site.every:,.0f} s",
            "messages": f"{made.messages:,.0f}",
            "deliveries": f"{made.deliveries:,.0f}",
            "busy": f"{made.node_busy:.0%}",
            "reached": f"{made.reached:,.1f}",
            "redis": f"{made.redis_out:,.0f}",
            "redis_cores": f"{made.redis_cores:.0%}",
            "database": f"{made.database_cores:.0%}",
            "uneven": f"{made.uneven:.2f}",
            "next": made.next,
        }
        for site, made in plans
    ]
    rooms = [hot_room(members, costs) for members in (100, 1_000, 10_000, 100_000, 1_000_000)]
    return {
        "costs": table(
            cost_rows, (("what", "what"), ("CPU or memory", "cost"), ("from", "source"))
        ),
        "plans": table(plan_rows, _PLAN_COLUMNS),
        "rooms": table(
            [{k: _thousands(v) for k, v in one.items()} for one in rooms], _ROOM_COLUMNS
        ),
    }


_PLAN_COLUMNS = (
    ("connections", "connections"),
    ("one writes every", "every"),
    ("processes", "nodes"),
    ("memory of connections", "memory"),
    ("presence in each", "presence"),
    ("each busy", "busy"),
    ("messages/s", "messages"),
    ("deliveries/s", "deliveries"),
    ("a message reaches", "reached"),
    ("Redis hands out/s", "redis"),
    ("a core of Redis", "redis_cores"),
    ("a core of PostgreSQL", "database"),
    ("busiest beside average", "uneven"),
    ("gives out next", "next"),
)
_ROOM_COLUMNS = (
    ("members", "members"),
    ("processes", "nodes"),
    ("one message takes, ms", "milliseconds"),
    ("messages/s, each alone", "alone"),
    ("messages/s, many at once", "joined"),
)


def _thousands(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def write(tables: Mapping[str, str], page: Path = PAGE) -> None:
    """Put the tables into the page, between the comments that name them."""
    text = page.read_text()
    for name, made in tables.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(\n<!-- end -->)"
        text, count = re.subn(pattern, partial(_between, made), text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{page.name} has no place for the table {name!r}.")
    page.write_text(text)


def _between(made: str, found: re.Match[str]) -> str:
    return found[1] + made + found[2]


def main() -> None:
    """Print the tables, or write them into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    tables = render(read_costs(options.results))
    if options.write:
        write(tables)
    for made in tables.values():
        print(made, end="\n\n")


if __name__ == "__main__":
    main()
