"""Sends that arrive while a transaction commits share the next one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from djwsbridge import group_commit
from djwsbridge.group_commit import GroupCommit
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from tests.servers import TIMEOUT


class Service:
    """Doubles numbers; odd ones fail. Waits for `go` before each group, when it is told to."""

    def __init__(self, *, waits: bool = False) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Semaphore(0 if waits else 1_000)

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.go.acquire()
        self.groups.append(list(items))
        if 13 in items:
            raise RuntimeError("no luck")
        return [ValueError(item) if item % 2 else item * 2 for item in items]


async def test_one_sender_is_a_group_of_one():
    service = Service()
    commits = GroupCommit(service)
    assert await commits.submit(2) == 4
    assert await commits.submit(4) == 8
    assert service.groups == [[2], [4]]


async def test_what_arrives_meanwhile_goes_together_and_in_order():
    service = Service(waits=True)
    commits = GroupCommit(service)
    first = asyncio.ensure_future(commits.submit(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(commits.submit(n)) for n in (2, 4, 6)]
    service.go.release(2)
    assert await asyncio.gather(first, *others) == [0, 4, 8, 12]
    assert service.groups == [[0], [2, 4, 6]]


async def test_each_item_gets_its_own_error():
    commits = GroupCommit(Service())
    results = await asyncio.gather(*(commits.submit(n) for n in (2, 3, 4)), return_exceptions=True)
    assert results[0] == 4
    assert isinstance(results[1], ValueError)
    assert results[2] == 8


async def test_a_failure_of_the_service_meets_the_whole_group_and_nobody_else():
    commits = GroupCommit(Service())
    results = await asyncio.gather(commits.submit(13), commits.submit(2), return_exceptions=True)
    assert [str(result) for result in results] == ["no luck", "no luck"]
    assert await commits.submit(2) == 4


async def test_a_sender_who_left_does_not_disturb_the_others():
    service = Service(waits=True)
    commits = GroupCommit(service)
    gone = asyncio.ensure_future(commits.submit(2))
    stays = asyncio.ensure_future(commits.submit(4))
    await asyncio.sleep(0)
    gone.cancel()
    service.go.release(2)
    assert await stays == 8


async def test_too_many_waiting_are_told_that_the_server_is_busy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    service = Service(waits=True)
    commits = GroupCommit(service)
    waiting = [asyncio.ensure_future(commits.submit(n)) for n in (2, 4)]
    await asyncio.sleep(0)
    late = []
    while not any(task.done() for task in late):
        late.append(asyncio.ensure_future(commits.submit(6)))
        await asyncio.sleep(0)
    with pytest.raises(CommandError) as caught:
        await next(task for task in late if task.done())
    assert caught.value.code is ErrorCode.BUSY
    service.go.release(10)
    assert await asyncio.gather(*waiting) == [4, 8]
    await asyncio.gather(*late, return_exceptions=True)


class Clocks:
    """The clock, and a share of it that the process is said to have used."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, busy: float) -> None:
        self.process_time = lambda: busy * time.monotonic()


async def test_who_asks_often_is_gathered_and_who_asks_alone_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(group_commit, "time", Clocks(busy=0.9))
    service = Service()
    commits = GroupCommit(service, rest=1e9)  # however short the group: 0.5 s
    loop = asyncio.get_running_loop()
    assert await commits.submit(0) == 0
    begun = loop.time()
    first = commits.submit(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # two turns of the loop later: without a rest it would have left
    assert await asyncio.gather(first, commits.submit(4)) == [4, 8]
    assert loop.time() - begun >= 0.49
    assert service.groups == [[0], [2, 4]]


async def test_a_process_that_has_time_to_spare_does_not_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(group_commit, "time", Clocks(busy=0.7))
    monkeypatch.setattr(group_commit, "MAX_REST", 1e9)
    service = Service()
    commits = GroupCommit(service, rest=1e9)
    assert await commits.submit(0) == 0
    assert await asyncio.wait_for(commits.submit(2), TIMEOUT) == 4


async def test_a_full_group_does_not_wait_for_its_time():
    service = Service(waits=True)
    commits = GroupCommit(service, at_once=2, rest=1e9)
    first = commits.submit(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [commits.submit(n) for n in (2, 4)]
    service.go.release(2)
    assert await asyncio.gather(first, *others) == [0, 4, 8]
    assert service.groups == [[0], [2, 4]]
