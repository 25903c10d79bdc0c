"""How many bytes of what was missed a client gets at once, and a user in a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.protocol.pages import LARGEST_PAGE, PAGE_BYTES, ByteBudget, PageSize
from djwsbridge.protocol.server import RateLimit

MEBIBYTE = 1_048_576
LIMIT = RateLimit(32 * MEBIBYTE, 60.0)
SENT = ("room.1", 100)  # the last event of the last page


def after_a_page(size: int) -> PageSize:
    """Return the pages of a connection to which one of this size was sent at the time 0."""
    pages = PageSize()
    pages.note(*SENT, size, now=0.0)
    return pages


# -- the size of a page ----------------------------------------------------------------------------------------------


def test_the_first_page_is_small() -> None:
    assert PageSize().next("room.1", 0, now=1.0) == PAGE_BYTES


@pytest.mark.parametrize(
    ("waited", "size"),
    [
        (0.0, 4 * PAGE_BYTES),
        (0.5, 4 * PAGE_BYTES),
        (0.6, 2 * PAGE_BYTES),
        (1.0, 2 * PAGE_BYTES),
        (1.1, PAGE_BYTES),
        (60.0, PAGE_BYTES),
    ],
)
def test_a_page_doubles_when_the_last_was_read_quickly_and_halves_when_slowly(
    waited: float, size: int
) -> None:
    assert after_a_page(2 * PAGE_BYTES).next(*SENT, now=waited) == size


def test_a_page_halves_when_the_client_has_not_taken_all_of_the_last() -> None:
    assert after_a_page(4 * PAGE_BYTES).next("room.1", 99, now=0.1) == 2 * PAGE_BYTES


def test_another_topic_is_on_the_same_line() -> None:
    assert after_a_page(PAGE_BYTES).next("room.2", 5, now=0.1) == 2 * PAGE_BYTES


def test_a_page_never_gets_too_large_or_too_small() -> None:
    assert after_a_page(LARGEST_PAGE).next(*SENT, now=0.1) == LARGEST_PAGE
    assert after_a_page(PAGE_BYTES).next(*SENT, now=9.0) == PAGE_BYTES
    assert after_a_page(100).next(*SENT, now=0.1) == PAGE_BYTES


def test_a_new_recovery_begins_with_a_small_page() -> None:
    pages = after_a_page(LARGEST_PAGE)
    pages.note_last()
    assert pages.next(*SENT, now=0.1) == PAGE_BYTES


# -- what a user may recover -----------------------------------------------------------------------------------------


def test_all_bytes_can_be_spent_at_once_and_come_back_evenly() -> None:
    budget = ByteBudget(LIMIT)
    assert budget.take(1, LIMIT.count, now=0.0) == LIMIT.count
    assert budget.wait(MEBIBYTE, now=0.0) == pytest.approx(60 / 32)
    assert budget.wait(MEBIBYTE, now=1.0) == pytest.approx(60 / 32 - 1)
    assert budget.wait(MEBIBYTE, now=2.0) == 0.0
    assert budget.take(1, LIMIT.count, now=30.0) == pytest.approx(16 * MEBIBYTE, abs=1)


def test_no_more_comes_back_than_there_was() -> None:
    budget = ByteBudget(LIMIT)
    assert budget.take(1, 2 * LIMIT.count, now=10_000.0) == LIMIT.count


def test_what_was_not_needed_can_be_spent_again() -> None:
    budget = ByteBudget(LIMIT)
    budget.take(1, LIMIT.count, now=0.0)
    budget.give_back(MEBIBYTE)
    assert budget.take(1, LIMIT.count, now=0.0) == MEBIBYTE


def test_a_budget_below_one_page_still_gives_pages() -> None:
    budget = ByteBudget(RateLimit(1_000, 1.0))
    assert budget.wait(PAGE_BYTES, now=0.0) == 0.0
    assert budget.take(PAGE_BYTES, LARGEST_PAGE, now=0.0) == PAGE_BYTES
    assert budget.wait(PAGE_BYTES, now=0.0) == pytest.approx(PAGE_BYTES / 1_000)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, LARGEST_PAGE)), max_size=60))
def test_x8_a_user_gets_no_more_than_the_budget_and_what_has_come_back(
    asked: list[tuple[float, int]],
) -> None:
    budget = ByteBudget(LIMIT)
    now, got = 0.0, 0
    for later, most in asked:
        now += later
        while budget.wait(PAGE_BYTES, now=now) == 0.0 and got < 1_000 * MEBIBYTE:
            got += budget.take(PAGE_BYTES, most, now=now)
        assert got <= LIMIT.count * (1 + now / LIMIT.seconds) + 1


def test_a_client_that_waits_as_it_is_told_never_waits_for_long() -> None:
    """Two seconds without an event are the most that P7 allows."""
    budget, pages = ByteBudget(LIMIT), PageSize()
    now, longest = 0.0, 0.0
    for seq in range(1_000):
        wait = budget.wait(PAGE_BYTES, now=now)
        longest = max(longest, wait)
        now += wait + 0.01
        size = budget.take(PAGE_BYTES, pages.next("room.1", seq, now=now), now=now)
        pages.note("room.1", seq, size, now=now)
    assert now > 60.0
    assert longest < 0.1
