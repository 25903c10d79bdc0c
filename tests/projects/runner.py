"""Take a project through the steps, and say which of them failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.projects.rig import Trial
from tests.projects.steps import Step, log_in, migrate

__all__ = ["run_steps"]

# Without these nothing can follow.
NEEDED = frozenset({migrate, log_in})


async def run_steps(trial: Trial, steps: Sequence[Step]) -> None:
    """Take a project through all steps, and write a line about each.

    Raises:
        AssertionError: some have failed; the text names them.
    """
    lines: list[str] = []
    first: Exception | None = None
    for number, step in enumerate(steps, 1):
        begun, outcome = time.monotonic(), "ok"
        try:
            await step(trial)
        except Exception as error:  # noqa: BLE001 - the report says which, and the next step may tell more
            outcome = f"FAILED: {type(error).__name__}: {error}"
            first = first or error
        lines.append(f"{number:2} {step.__name__}, {time.monotonic() - begun:.1f} s: {outcome}")
        print(f"{trial.project.name}: {lines[-1]}")  # noqa: T201 - shown when the test fails, or with -s
        if outcome != "ok" and step in NEEDED:
            break
    trial.report("txt").write_text("\n".join(lines) + "\n")
    if first is not None:
        failed = "\n".join(line for line in lines if "FAILED" in line)
        raise AssertionError(f"The project {trial.project.name} failed at\n{failed}") from first
