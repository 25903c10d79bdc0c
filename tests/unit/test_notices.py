"""One line a minute for each reason, and on one line whatever a client has sent."""

from __future__ import annotations

import logging

import pytest

from djwsbridge.notices import INTERVAL, SHOWN, Notices, show

logger = logging.getLogger("djwsbridge.test_notices")


@pytest.fixture
def now() -> list[float]:
    return [1_000.0]


@pytest.fixture
def notices(now: list[float]) -> Notices:
    return Notices(logger, clock=lambda: now[0])


def test_each_reason_is_told_once_a_minute(
    notices: Notices, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        notices.write("origin", "Refused.")
    notices.write("host", "Refused, too.")
    assert caplog.messages == ["Refused.", "Refused, too."]
    caplog.clear()
    now[0] += INTERVAL
    for _ in range(2):
        notices.write("origin", "Refused again.")
    assert caplog.messages == ["Refused again. (2 more like this since the last line.)"]


def test_what_nobody_reads_costs_nothing_and_is_not_counted(
    notices: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger.name):
        notices.write("origin", "Refused.", level=logging.INFO)
        notices.write("origin", "Refused.")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("text", ["a\r\nINFO forged", "a\x1b[31m", "a\u2028b", "a\x85b", "%s %d"])
def test_what_a_client_has_sent_stays_on_one_line(
    notices: Notices, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    notices.write("origin", f"Refused: {show(text)}.")
    (message,) = caplog.messages
    assert message.isascii()
    assert message.isprintable()
    assert message == f"Refused: {text!a}."


def test_what_is_long_is_cut() -> None:
    assert len(show("x" * 10_000)) < SHOWN + 20
