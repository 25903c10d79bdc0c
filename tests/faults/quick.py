"""How the faults run that are tried with every run of the tests: for about 15 seconds each."""

from __future__ import annotations

from pathlib import Path

from tests.faults.rig import Plan, run

__all__ = ["survive"]


def survive(
    fault: str, system: str, directory: Path, *, min_faults: int = 1, harm: float = 8.0
) -> None:
    """Do a fault to a system under load, and see that nothing was lost, doubled or reordered.

    How long it took is for `make test-faults`: here other tests use the same cores.

    Args:
        fault: its key in `FAULTS`.
        system: its key in `SYSTEMS`.
        directory: for history, result and logs.
        min_faults: how often it must have happened.
        harm: seconds of faults under load.
    """
    plan = Plan(
        fault,
        system,
        warm=1.0,
        harm=harm,
        settle=25.0,
        min_acks=100,
        min_faults=min_faults,
        heartbeat=2.0,
    )
    result = run(plan, directory)
    assert result.is_right, str(result)
