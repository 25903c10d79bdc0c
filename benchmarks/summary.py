"""All results on one page, with what they were to reach: `python -m benchmarks.summary` writes results/README.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.results import RESULTS, table, three_digits

__all__ = ["TARGETS", "Results", "Target", "judge", "write"]

OURS = "djwsbridge"
ORDER = (
    *("fanout", "latency", "unicast", "persist", "connect", "workers"),
    *("recovery", "history", "idle", "presence"),
)


class Results:
    """The results of a folder.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path = RESULTS) -> None:
        self.by_question: dict[str, dict[str, Any]] = {}
        for path in sorted(directory.glob("*.json")):
            self.by_question[path.stem] = json.loads(path.read_text())

    def value(self, question: str, key: str, *, system: str = OURS, **wanted: Any) -> float:
        """Return one figure.

        Raises:
            LookupError: it was not measured.
        """
        for row in self.by_question.get(question, {"rows": []})["rows"]:
            fits = row["system"] == system
            if fits and all(_matches(row, name, value) for name, value in wanted.items()):
                return float(row[key])
        raise LookupError(f"{question}: {system} {wanted}")


def _matches(row: Mapping[str, Any], name: str, value: object) -> bool:
    found = row.get(name)
    return value in found if isinstance(value, str) and isinstance(found, str) else found == value


@dataclass(frozen=True)
class Target:
    """Something to reach.

    Attributes:
        what: for people.
        bound: the figure.
        at_least: whether more is better; else less is.
        measure: what takes the figure from the results; raises `LookupError` when it is not there.
    """

    what: str
    bound: float
    at_least: bool
    measure: Callable[[Results], float]


def _ratio(
    question: str, key: str, peer: str, *, ours: str = OURS, case: str | None = None
) -> Callable[[Results], float]:
    wanted = {} if case is None else {"case": case}

    def measure(results: Results) -> float:
        mine = results.value(question, key, system=ours, **wanted)
        return mine / results.value(question, key, system=peer, **wanted)

    return measure


def _figure(question: str, key: str, **wanted: Any) -> Callable[[Results], float]:
    return lambda results: results.value(question, key, **wanted)


def _at_least(what: str, bound: float, measure: Callable[[Results], float]) -> Target:
    return Target(what, bound, at_least=True, measure=measure)


def _at_most(what: str, bound: float, measure: Callable[[Results], float]) -> Target:
    return Target(what, bound, at_least=False, measure=measure)


TARGETS: tuple[Target, ...] = (
    _at_least(
        "50 rooms of 100: times the ordinary stack",
        40,
        _ratio("fanout", "per_core", "ordinary", case="50 x 100"),
    ),
    _at_least("… times Socket.IO", 1.5, _ratio("fanout", "per_core", "socket.io", case="50 x 100")),
    _at_least(
        "… times Centrifuge", 1.3, _ratio("fanout", "per_core", "centrifuge", case="50 x 100")
    ),
    _at_least("… times nchan", 1.0, _ratio("fanout", "per_core", "nchan", case="50 x 100")),
    _at_least(
        "… share of the floor in C", 0.6, _ratio("fanout", "per_core", "floor", case="50 x 100")
    ),
    _at_least(
        "… on stock uvicorn: times the ordinary stack",
        25,
        _ratio("fanout", "per_core", "ordinary", case="50 x 100", ours="djwsbridge-uvicorn"),
    ),
    _at_least(
        "… on Daphne: times the ordinary stack",
        5,
        _ratio("fanout", "per_core", "ordinary", case="50 x 100", ours="djwsbridge-daphne"),
    ),
    _at_least(
        "one room of 1,000: times the ordinary stack",
        300,
        _ratio("fanout", "per_core", "ordinary", case="1,000 members"),
    ),
    _at_least(
        "… times Socket.IO", 10, _ratio("fanout", "per_core", "socket.io", case="1,000 members")
    ),
    _at_least(
        "… times Centrifuge", 3, _ratio("fanout", "per_core", "centrifuge", case="1,000 members")
    ),
    _at_least(
        "one room of 5,000: times the ordinary stack",
        700,
        _ratio("fanout", "per_core", "ordinary", case="5,000 members"),
    ),
    _at_least(
        "… times Centrifuge", 3, _ratio("fanout", "per_core", "centrifuge", case="5,000 members")
    ),
    _at_most(
        "1,000 members, 10,000 deliveries/s: p99 beside nchan's",
        1.25,
        _ratio("latency", "p99", "nchan", case="10,000/s"),
    ),
    _at_least(
        "unicast with reply: times the ordinary stack",
        80,
        _ratio("unicast", "per_core", "ordinary"),
    ),
    _at_least("… times Socket.IO", 1.2, _ratio("unicast", "per_core", "socket.io")),
    _at_least(
        "stored, then delivered, SQLite: times the ordinary stack",
        30,
        _ratio("persist", "per_second", "ordinary", case="64 senders, sqlite"),
    ),
    _at_most(
        "… one sender alone: p50 beside the ORM's insert",
        1.3,
        _ratio("persist", "p50", "orm", case="1 sender, sqlite"),
    ),
    _at_least(
        "stored, then delivered, PostgreSQL: times the ordinary stack",
        30,
        _ratio("persist", "per_second", "ordinary", case="64 senders, postgresql"),
    ),
    _at_most(
        "… one sender alone: p50 beside the ORM's insert",
        1.3,
        _ratio("persist", "p50", "orm", case="1 sender, postgresql"),
    ),
    _at_least(
        "handshakes with a JWT: times Socket.IO", 2, _ratio("connect", "per_second", "socket.io")
    ),
    _at_least("… times the ordinary stack", 10, _ratio("connect", "per_second", "ordinary")),
    _at_most("memory of an idle connection, KB", 14, _figure("connect", "kilobytes")),
    _at_most("… beside Socket.IO's", 1.0, _ratio("connect", "kilobytes", "socket.io")),
    _at_most(
        "two workers with Redis, room of 1,000: CPU of a delivery beside one",
        1.2,
        _figure("workers", "ratio", case="1,000 members", workers=2),
    ),
    _at_most("… 50 rooms of 100", 1.2, _figure("workers", "ratio", case="50 x 100", workers=2)),
    _at_most(
        "10,000 clients after a restart: the last one is current, s",
        15,
        _figure("recovery", "last"),
    ),
    _at_most("… a send was refused for, s", 5, _figure("recovery", "refused")),
    _at_most(
        "a page of 100,000 messages over REST, SQLite: p99 ms",
        20,
        _figure("history", "p99", case="sqlite", page="any other"),
    ),
    _at_most("… PostgreSQL", 20, _figure("history", "p99", case="postgresql", page="any other")),
)


def judge(results: Results) -> list[dict[str, object]]:
    """Return a row for each target: what was to be reached, what was measured, and whether it is enough."""
    rows: list[dict[str, object]] = []
    for target in TARGETS:
        sign = "≥" if target.at_least else "≤"
        row: dict[str, object] = {"what": target.what, "bound": f"{sign} {target.bound:g}"}
        try:
            found = target.measure(results)
        except (LookupError, ZeroDivisionError):
            rows.append({**row, "found": "", "reached": "not measured"})
            continue
        enough = found >= target.bound if target.at_least else found <= target.bound
        rows.append({**row, "found": three_digits(found), "reached": "yes" if enough else "no"})
    return rows


def write(directory: Path = RESULTS) -> None:
    """Write all results, and what they were to reach, to one page."""
    results = Results(directory)
    parts = ["# Results", _about(results), "## What was to be reached"]
    parts.append(table(judge(results), _COLUMNS))
    parts.append("## What was measured")
    for question in ORDER:
        path = directory / f"{question}.md"
        if path.exists():
            parts.append(path.read_text().rstrip())
    profiles = sorted(directory.glob("profile-*.md"))
    if profiles:
        parts.append("## Where the time goes")
        parts += [path.read_text().rstrip() for path in profiles]
    (directory / "README.md").write_text("\n\n".join(parts) + "\n")


_COLUMNS = (("what", "what"), ("target", "bound"), ("measured", "found"), ("reached", "reached"))


def _about(results: Results) -> str:
    """Return what everything was measured on, by the first result that is there."""
    for question in ORDER:
        if question in results.by_question:
            found = results.by_question[question]
            machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
            versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items())
            return f"Measured {found['measured']} by `make bench`. {machine}.\n\n{versions}."
    return "Nothing was measured yet."


if __name__ == "__main__":
    write()
