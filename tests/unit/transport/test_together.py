"""Those who come together are answered together, and one that is no good spoils nothing for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from django.db import OperationalError

from djwsbridge.runtime import Runtime
from djwsbridge.transport.together import AT_ONCE, Together


class Query:
    """Answers a name with its length; fails as it is told to."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.asked: list[list[str]] = []

    def __call__(self, names: Sequence[str]) -> list[int | Exception]:
        self.asked.append(list(names))
        if self.fails is not None and "bad" in names:
            raise self.fails
        return [len(name) if name else ValueError("no name") for name in names]


async def ask(node: Runtime, query: Query, *names: str) -> list[object]:
    together = Together(query)
    asking = [together.ask(node, name) for name in names]
    return list(await asyncio.gather(*asking, return_exceptions=True))


async def test_who_comes_in_one_turn_of_the_loop_is_answered_by_one_query(node: Runtime) -> None:
    query = Query()
    assert await ask(node, query, "a", "bb", "ccc") == [1, 2, 3]
    assert query.asked == [["a", "bb", "ccc"]]


async def test_no_query_answers_more_than_its_share(node: Runtime) -> None:
    query = Query()
    assert len(await ask(node, query, *["x"] * (AT_ONCE + 1))) == AT_ONCE + 1
    assert [len(names) for names in query.asked] == [AT_ONCE, 1]


async def test_an_answer_may_be_an_error(node: Runtime) -> None:
    first, second = await ask(node, Query(), "a", "")
    assert first == 1
    assert isinstance(second, ValueError)


async def test_one_that_is_no_good_spoils_nothing_for_the_others(node: Runtime) -> None:
    error = KeyError("bad")
    query = Query(error)
    assert await ask(node, query, "a", "bad", "ccc") == [1, error, 3]
    assert query.asked == [["a", "bad", "ccc"], ["a"], ["bad"], ["ccc"]]


async def test_a_database_that_fails_is_not_asked_again_for_each(node: Runtime) -> None:
    error = OperationalError("server closed the connection")
    query = Query(error)
    with pytest.raises(OperationalError):
        raise (await ask(node, query, "a", "bad"))[0]  # type: ignore[misc]
    assert len(query.asked) == 1
