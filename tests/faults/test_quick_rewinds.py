"""A history that is rewound under living workers, as far as 20 seconds show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.quick import survive


@pytest.mark.parametrize(("fault", "system"), [("38e", "sqlite"), ("38", "postgresql")])
def test_a_fault_is_survived(fault: str, system: str, tmp_path: Path) -> None:
    survive(fault, system, tmp_path, harm=6.0)  # a second more than telling may take
