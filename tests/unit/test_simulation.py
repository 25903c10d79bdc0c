"""The simulation of benchmarks/: what its figures must do, whatever the costs are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.simulate import (
    BUSY,
    PAGE,
    Costs,
    Site,
    nodes_reached,
    plan,
    read_costs,
    render,
    write,
)
from benchmarks.summary import TARGETS, Results, judge

COSTS = Costs(
    delivery_us=7.0,
    hot_delivery_us=0.4,
    command_us=12.0,
    stored_us=60.0,
    handshake_us=130.0,
    connection_kb=9.0,
    hop_us=6.0,
    redis_us=12.0,
    database_us=40.0,
    lease_bytes=200.0,
    lease_us=2.5,
)


def test_a_small_room_reaches_as_many_processes_as_members_and_a_large_one_all() -> None:
    assert nodes_reached(1, 50) == pytest.approx(1)
    assert 1.9 < nodes_reached(2, 50) < 2
    assert nodes_reached(10_000, 50) == pytest.approx(50)


def test_one_process_needs_no_redis() -> None:
    made = plan(Site(1_000), COSTS)
    assert made.nodes == 1
    assert made.redis_in == made.redis_out == made.redis_cores == 0.0


@pytest.mark.parametrize("connections", [10_000, 100_000, 1_000_000])
def test_no_process_is_busier_than_planned_or_holds_too_many(connections: int) -> None:
    made = plan(Site(connections, every=30.0), COSTS)
    assert made.node_busy <= BUSY
    assert connections / made.nodes <= 50_000
    assert 1.0 <= made.reached <= made.nodes
    assert made.redis_out == pytest.approx(made.messages * made.reached if made.nodes > 1 else 0.0)


def test_dearer_deliveries_need_more_processes() -> None:
    site = Site(1_000_000, every=30.0)
    dear = replace(COSTS, delivery_us=COSTS.delivery_us * 3)
    assert plan(site, dear).nodes > plan(site, COSTS).nodes


def test_the_same_seed_gives_the_same_plan() -> None:
    assert asdict(plan(Site(100_000), COSTS)) == asdict(plan(Site(100_000), COSTS))


def test_the_tables_have_their_places_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    page.write_text(PAGE.read_text())
    tables = render(COSTS)
    write(tables, page)
    write(tables, page)
    text = page.read_text()
    for made in tables.values():
        assert text.count(made) == 1


def test_costs_come_from_the_results_of_the_questions(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, object]]] = {
        "fanout": [
            {"case": "50 x 100", "cpu_us": 7.0},
            {"case": "1,000 members", "cpu_us": 0.4},
        ],
        "workers": [
            {"case": "heard from Redis", "cpu_us": 25.0},
            {"case": "50 x 100", "workers": 2, "cpu_us": 7.5, "redis_us": 12.0},
        ],
        "persist": [{"case": "64 senders, postgresql", "per_core": 10_000, "database_us": 40.0}],
        "connect": [{"per_core": 5_000, "kilobytes": 9.0}],
        "unicast": [{"cpu_us": 12.0}],
        "presence": [{"lease_bytes": 200, "heard_us": 2.5}],
    }
    for question, found in rows.items():
        content = {"rows": [{"system": "djwsbridge", **row} for row in found]}
        (tmp_path / f"{question}.json").write_text(json.dumps(content))
    costs = read_costs(tmp_path)
    assert costs.handshake_us == pytest.approx(200.0)
    assert costs.hop_us == pytest.approx(25.0)
    assert costs.stored_us == pytest.approx(100.0 - 4 * 7.0)


def test_a_target_is_judged_by_the_results(tmp_path: Path) -> None:
    rows = [
        {"system": "djwsbridge", "case": "50 x 100", "per_core": 130_000},
        {"system": "socket.io", "case": "50 x 100", "per_core": 70_000},
    ]
    (tmp_path / "fanout.json").write_text(json.dumps({"rows": rows}))
    judged = judge(Results(tmp_path))
    assert len(judged) == len(TARGETS)
    reached = [row for row in judged if row["reached"] != "not measured"]
    assert [(row["found"], row["reached"]) for row in reached] == [("1.86", "yes")]
