"""Builds that break a promise are judged invalid, each by the check for that promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from djwsbridge.testing.checker import State
from tests.faults.rig import Plan, run

SHORT = {"warm": 1.0, "harm": 6.0, "settle": 5.0, "min_acks": 100, "min_faults": 1}
RACE = {**SHORT, "harm": 15.0}


@pytest.mark.faults
@pytest.mark.parametrize(
    ("plan", "checks"),
    [
        (Plan("26", "sqlite", sabotage="reply_before_commit", **SHORT), {"acked_is_stored"}),
        # The library's client learns from the recovery what was stored; the small one sends again.
        (
            Plan("26b", "sqlite", client="small", sabotage="no_unique_constraint", **SHORT),
            {"stored_once"},
        ),
        (Plan("35", "sqlite", sabotage="no_loss_of_access", **SHORT), {"shown_to_members"}),
        (
            Plan("39", "postgresql", sabotage="membership_before_the_lock", **RACE),
            {"sent_by_members"},
        ),
        (Plan("26", "sqlite", client="careless", **SHORT), {"shown_once", "shown_ascending"}),
    ],
    ids=[
        "reply_before_commit",
        "no_unique_constraint",
        "no_loss_of_access",
        "membership_before_the_lock",
        "careless_client",
    ],
)
def test_a_broken_promise_is_noticed(plan: Plan, checks: set[str], tmp_path: Path) -> None:
    verdict = run(plan, tmp_path).verdict
    assert verdict.state is State.INVALID
    assert checks <= {violation.check for violation in verdict.violations}


@pytest.mark.faults
@pytest.mark.parametrize(("key", "system"), [("38", "postgresql"), ("38e", "sqlite")])
def test_a_sequencer_without_an_epoch_is_noticed(key: str, system: str, tmp_path: Path) -> None:
    result = run(Plan(key, system, sabotage="sequencer_without_epoch", **SHORT), tmp_path)
    untold = [problem for problem in result.problems if "was not told" in problem]
    assert len(untold) > 1, str(result)
    assert not [problem for problem in result.problems if "another time" in problem]
    checks = {violation.check for violation in result.verdict.violations}
    assert checks & {"shown_without_hole", "shown_to_the_end"}
