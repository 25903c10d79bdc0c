"""Write down what was measured: JSON with machine and versions, and a table for people."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.build import HERE
from benchmarks.harness.machine import machine, versions

__all__ = ["RESULTS", "Column", "Result", "median", "say", "table", "three_digits"]

RESULTS = HERE / "results"
WHOLE = 100  # from here on a figure needs no point

#: A column of the table: its heading, and the key of a row.
Column = tuple[str, str]
_LARGE = 100  # from here on decimals tell nothing


class Result:
    """The answer to one question.

    Args:
        question: its name, also that of the files.
        title: of the table.
        columns: of the table.
        notes: what a reader of the table must know.
    """

    def __init__(
        self, question: str, title: str, columns: Sequence[Column], notes: str = ""
    ) -> None:
        self.question = question
        self.title = title
        self.columns = columns
        self.notes = notes
        self.settings: dict[str, object] = {}
        # Medians, one row for each case and system, in the order of the table.
        self.rows: list[dict[str, Any]] = []
        # Systems that could not take part, and what to install for it.
        self.missing: dict[str, str] = {}

    def add(self, rounds: Sequence[Mapping[str, Any]], **names: object) -> dict[str, Any]:
        """Add a row: the medians of some rounds."""
        row = {**names, **median(rounds), "rounds": list(rounds)}
        self.rows.append(row)
        return row

    def markdown(self) -> str:
        """Return the table with its title and notes."""
        parts = [f"### {self.title}", table(self.rows, self.columns)]
        if self.notes:
            parts.append(self.notes)
        if self.missing:
            lines = [f"* {name}: {what}" for name, what in self.missing.items()]
            parts.append("Not measured:\n\n" + "\n".join(lines))
        return "\n\n".join(parts) + "\n"

    def write(self, directory: Path = RESULTS) -> None:
        """Write `<question>.json` and `<question>.md`, and show the table."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {
            "question": self.question,
            "measured": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "versions": versions(),
            "settings": self.settings,
            "rows": self.rows,
            "missing": self.missing,
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (directory / f"{self.question}.json").write_text(text + "\n")
        (directory / f"{self.question}.md").write_text(self.markdown())
        print(self.markdown())


def median(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of every number that all rounds have."""
    found: dict[str, Any] = {}
    for key, value in rounds[0].items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            values = [one[key] for one in rounds if key in one]
            found[key] = round(statistics.median(values), 4)
        elif isinstance(value, str):
            found[key] = value
    return found


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Return rows as a table in Markdown."""
    lines = [
        "| " + " | ".join(heading for heading, _ in columns) + " |",
        "|" + "---|" * len(columns),
    ]
    lines += ["| " + " | ".join(_cell(row.get(key)) for _, key in columns) + " |" for row in rows]
    return "\n".join(lines)


def three_digits(value: float) -> str:
    """Write a figure as people read it: three digits, or all before the point."""
    return f"{value:,.0f}" if value >= WHOLE else f"{value:.3g}"


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= _LARGE or value == int(value) else f"{value:.3g}"
    return str(value)
