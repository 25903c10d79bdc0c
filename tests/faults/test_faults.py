"""Every fault, on every system that it is tried on: `make test-faults`.

Nine of them, one of each kind, run for a shorter time with every run of the tests: `test_quick_….py`.
"""

from __future__ import annotations

import pytest

from tests.faults.faults import FAULTS
from tests.faults.rig import Plan, Result, run
from tests.servers import ROOT

ARTIFACTS = ROOT / "artifacts" / "faults"


def keep(result: Result) -> Result:
    """Add a row to the table of faults."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with (ARTIFACTS / "table.txt").open("a") as table:
        table.write(result.row + "\n")
    return result


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "system"),
    [
        pytest.param(key, system, id=f"{key}-{system}")
        for key, fault in FAULTS.items()
        for system in fault.systems
    ],
)
def test_a_fault_is_survived(fault: str, system: str) -> None:
    result = keep(run(Plan(fault, system), ARTIFACTS / f"{fault}-{system}"))
    assert result.ok, str(result)
