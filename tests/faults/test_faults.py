"""The faults to survive: the quick ones with every run of the tests, all of them by `make test-faults`.

The quick ones last about 20 seconds and say how much they need to be sure; the others have the numbers of the promises.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.rig import Plan, Result, run
from tests.servers import ROOT

Table = Callable[[Result], None]

ARTIFACTS = ROOT / "artifacts" / "faults"
QUICK = [
    ("26", "sqlite"),
    ("26b", "sqlite"),
    ("1", "postgresql"),
    ("13", "redis-engine"),
    ("18", "postgresql"),
]


def keep(result: Result) -> Result:
    """Add a row to the table of faults."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with (ARTIFACTS / "table.txt").open("a") as table:
        table.write(result.row + "\n")
    return result


@pytest.mark.parametrize(("fault", "system"), QUICK)
def test_a_quick_fault_is_survived(fault: str, system: str, tmp_path: Path) -> None:
    plan = Plan(
        fault,
        system,
        warm=1.0,
        harm=8.0,
        settle=25.0,
        min_acks=300,
        min_faults=2,
        heartbeat=2.0,
    )
    result = run(plan, tmp_path)
    assert result.ok, str(result)


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
