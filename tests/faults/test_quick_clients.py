"""The network of the clients, as far as 15 seconds show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.quick import survive

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("fault", "system"), [("26", "sqlite"), ("43", "sqlite-fast")])
def test_a_fault_is_survived(fault: str, system: str, tmp_path: Path) -> None:
    survive(fault, system, tmp_path)
