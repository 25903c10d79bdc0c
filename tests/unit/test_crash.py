"""A process dies where it is told to, and only there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from djwsbridge import crash
from djwsbridge.crash import CrashPoint, is_due

DIE = (
    "from djwsbridge.crash import CrashPoint, crash; crash(CrashPoint.AFTER_COMMIT); print('alive')"
)


def run(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DIE],
        env={**os.environ, "PYTHONPATH": "src", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_happens_unless_it_is_asked_for():
    assert run().stdout == "alive\n"
    assert run(DJWSBRIDGE_CRASH_POINT="before_commit").stdout == "alive\n"


def test_the_process_ends_without_a_last_word():
    assert run(DJWSBRIDGE_CRASH_POINT="after_commit").returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", list(CrashPoint))
def test_the_rate_is_a_probability(point: CrashPoint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DJWSBRIDGE_CRASH_POINT", point.value)
    monkeypatch.setenv("DJWSBRIDGE_CRASH_RATE", "0")
    crash._order.cache_clear()
    assert not is_due(point)
    monkeypatch.setenv("DJWSBRIDGE_CRASH_RATE", "0.5")
    crash._order.cache_clear()
    assert {is_due(point) for _ in range(200)} == {True, False}


@pytest.fixture(autouse=True)
def _forget_the_order() -> Iterator[None]:
    yield
    crash._order.cache_clear()
