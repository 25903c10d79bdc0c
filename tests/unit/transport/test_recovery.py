"""What a connection is told when it comes back fits into one frame of every server, and costs the server little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from djwsbridge import durable
from djwsbridge.durable import Cursors, Recovery
from djwsbridge.protocol import pages
from djwsbridge.protocol.pages import LARGEST_PAGE, PAGE_BYTES
from djwsbridge.runtime import Runtime
from djwsbridge.transport import registry
from djwsbridge.transport.admission import admission_of
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.recovery import LARGE_PAGES, _fit_states
from tests.servers import TIMEOUT
from tests.unit.transport.conftest import NewClient
from tests.unit.transport.fake_server import FakeClient

TIP = 1_000_000


class EndlessLog:
    """A log of which every topic is far ahead of every cursor."""

    def __init__(self) -> None:
        # How many bytes were asked for, one by one; and what to raise.
        self.sizes: list[int] = []
        self.error: Exception | None = None
        # Called in the thread that reads.
        self.before_reading: Callable[[], None] = lambda: None

    def recover(self, asked: Sequence[Cursors], *, size: int) -> list[dict[str, Recovery]]:
        self.before_reading()
        if self.error is not None:
            raise self.error
        self.sizes.append(size)
        events = msgspec.Raw(msgspec.json.encode(["x" * (size - 4)]))
        return [
            {topic: self.page(cursor, events) for topic, cursor in one.items()} for one in asked
        ]

    def page(self, cursor: tuple[str, int] | None, events: msgspec.Raw) -> Recovery:
        if cursor is None or cursor[1] >= TIP:
            return Recovery("e", TIP, recovered=True)
        last = cursor[1] + 1
        return Recovery("e", TIP, recovered=True, events=events, last=last, more=last < TIP)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> EndlessLog:
    """Install a log, and let every client be a quick one, however busy this machine is."""
    made = EndlessLog()
    monkeypatch.setattr(durable, "_installed", [made])
    monkeypatch.setattr(pages, "QUICK", 10 * TIMEOUT)
    monkeypatch.setattr(pages, "SLOW", 10 * TIMEOUT)
    return made


async def recover(client: FakeClient, after: int) -> Mapping[str, Any]:
    asked = {"topic": "user.7", "epoch": "e", "seq": after}
    return await client.ask("topic.recover", id=after + 2, **asked)


async def test_a_client_that_asks_quickly_gets_larger_pages(
    log: EndlessLog, new_client: NewClient
) -> None:
    client = new_client()
    await client.join()
    for after in range(6):
        page = (await recover(client, after))["ok"]
        assert (page["recovered"], page["more"], page["seq"]) == (True, True, TIP)
    doubled = [PAGE_BYTES * 2**number for number in range(3)]
    assert log.sizes == [PAGE_BYTES, *doubled, *[LARGEST_PAGE] * 3]  # the first is of `connect`


async def test_the_rate_of_frames_does_not_limit_recovery(
    log: EndlessLog, new_client: NewClient, settings: Any
) -> None:
    settings.DJWSBRIDGE_FRAME_RATE = (5, 60.0)
    client = new_client()
    await client.join()
    assert all(["ok" in await recover(client, after) for after in range(20)])
    beats = [await client.ask("heartbeat", id=100 + number) for number in range(5)]
    assert ["ok" in beat for beat in beats] == [True] * 4 + [False]
    assert beats[4]["error"]["code"] == "rate_limited"


async def test_x8_a_user_who_recovers_all_the_time_is_told_to_wait(
    log: EndlessLog, new_client: NewClient, settings: Any
) -> None:
    settings.DJWSBRIDGE_RECOVERY_BYTES = (3 * PAGE_BYTES, 300.0)
    client, other_device = new_client(), new_client()
    for one in (client, other_device):
        await one.join()
    assert "ok" in await recover(client, 0)
    assert "ok" in await recover(client, 1)
    refused = (await recover(other_device, 2))["error"]
    assert refused["code"] == "rate_limited"
    assert refused["retryable"]
    assert 90_000 < refused["retry_after_ms"] <= 100_001
    somebody_else = new_client(8)
    await somebody_else.join()
    asked = {"topic": "user.8", "epoch": "e", "seq": 1}
    assert "ok" in await somebody_else.ask("topic.recover", id=2, **asked)


async def test_x8_a_page_with_nothing_in_it_costs_as_much_as_a_small_one(
    log: EndlessLog, new_client: NewClient, settings: Any
) -> None:
    settings.DJWSBRIDGE_RECOVERY_BYTES = (3 * PAGE_BYTES, 300.0)
    client = new_client()
    await client.join()
    answers = [await recover(client, TIP) for _ in range(4)]
    assert ["ok" in answer for answer in answers] == [True, True, True, False]


async def test_a_page_waits_a_moment_for_the_users_bytes_to_come_back(
    log: EndlessLog, new_client: NewClient, node: Runtime, settings: Any
) -> None:
    settings.DJWSBRIDGE_RECOVERY_BYTES = (PAGE_BYTES, 0.2)
    client = new_client()
    await client.join()
    begun = node.loop.time()
    assert all(["ok" in await recover(client, after) for after in range(4)])
    assert node.loop.time() - begun > 0.5


async def test_p18_nothing_is_recovered_of_a_topic_that_is_lost_meanwhile(
    log: EndlessLog, new_client: NewClient, node: Runtime
) -> None:
    client = new_client()
    await client.join()
    (member,) = node.members
    assert isinstance(member, Connection)

    def leave() -> None:
        leaving = asyncio.run_coroutine_threadsafe(member.unsubscribe("user.7"), node.loop)
        leaving.result(TIMEOUT)

    log.before_reading = leave
    assert (await recover(client, 0))["error"]["code"] == "not_found"


async def test_a_node_reads_few_large_pages_at_once(
    log: EndlessLog, new_client: NewClient, node: Runtime
) -> None:
    client = new_client()
    await client.join()
    for after in range(3):
        await recover(client, after)
    admission_of(node).large_pages = LARGE_PAGES
    await recover(client, 3)
    admission_of(node).large_pages = 0
    await recover(client, 4)
    assert log.sizes[-2:] == [PAGE_BYTES, 2 * PAGE_BYTES]
    assert admission_of(node).large_pages == 0


async def test_what_apps_say_of_a_topic_comes_with_its_last_page(
    log: EndlessLog, new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe(asked: Sequence[tuple[Any, Sequence[str]]]) -> list[dict[str, Any]]:
        return [{topic: {"said": True} for topic in topics} for _, topics in asked]

    monkeypatch.setattr(registry, "_states", {"user": describe})
    client = new_client()
    await client.join()
    assert "said" not in (await recover(client, TIP - 3))["ok"]
    assert "said" not in (await recover(client, TIP - 2))["ok"]
    assert (await recover(client, TIP - 1))["ok"]["said"]
    assert (await recover(client, TIP))["ok"]["said"]


async def test_a_page_that_cannot_be_read_costs_no_more_than_a_small_one(
    log: EndlessLog, new_client: NewClient, node: Runtime
) -> None:
    client = new_client()
    await client.join()
    await recover(client, 0)
    budget = admission_of(node).recoveries_of("7")
    before = budget.take(1, 10**12, now=node.loop.time())
    budget.give_back(before)
    log.error = ValueError("the log is broken")
    assert (await recover(client, 1))["error"]["code"] == "internal"
    assert admission_of(node).large_pages == 0
    assert budget.take(1, 10**12, now=node.loop.time()) >= before - PAGE_BYTES


def test_what_apps_say_beyond_the_bytes_of_an_answer_is_left_out_and_said_so() -> None:
    receipt = {"user": 7, "delivered_seq": 120, "read_seq": 118}
    states = {f"room.{number}": {"receipts": [receipt] * 90} for number in range(1, 21)}
    fitting = _fit_states(states, size=0)
    assert len(msgspec.json.encode(fitting)) < PAGE_BYTES + 1_000
    told = [topic for topic, state in fitting.items() if "omitted" not in state]
    assert 5 < len(told) < 20
    for topic in told:
        assert msgspec.json.decode(msgspec.json.encode(fitting[topic])) == states[topic]
    assert _fit_states(states, size=PAGE_BYTES)["room.1"] == {"omitted": True}


def test_what_apps_say_of_a_topic_that_was_asked_for_is_told_whatever_its_size() -> None:
    states = {"room.1": {"receipts": ["x" * PAGE_BYTES]}}
    assert _fit_states(states, size=PAGE_BYTES) == states
