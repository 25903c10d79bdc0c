"""The benchmarks work. How fast anything is, is no business of a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, TIMEOUT, child_environment

pytestmark = pytest.mark.slow

# Seconds: a minute's work of one core, on a machine that has others to do, too.
PATIENCE = TIMEOUT * 10


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=child_environment({}),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.timeout(PATIENCE + TIMEOUT)
def test_questions_are_answered(tmp_path: Path) -> None:
    # The others are asked by `make bench-smoke`.
    questions = ("fanout", "unicast", "persist", "connect")
    arguments = ("--smoke", "--rounds", "1", "--seconds", "0.2", "--output", str(tmp_path))
    done = run_benchmarks(*questions, *arguments, "--systems", "djwsbridge")
    assert done.returncode == 0, done.stderr
    for question in questions:
        result = json.loads((tmp_path / f"{question}.json").read_text())
        assert result["missing"] == {}
        assert result["rows"]
        for row in result["rows"]:
            assert row.get("missing", 0) == row.get("lost", 0) == row.get("errors", 0) == 0
        assert result["versions"]["djwsbridge"]
        assert (tmp_path / f"{question}.md").read_text() in done.stdout


def test_an_unknown_question_is_refused() -> None:
    done = run_benchmarks("speed")
    assert done.returncode == 2
    assert "fanout" in done.stderr
