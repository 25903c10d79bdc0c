"""The bounded queue of outgoing text: order, bound, what happens when it is full, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from djwsbridge.transport.send_queue import SendQueue


class Transport:
    """The `send` of an ASGI server: waits while its gate is closed, fails once the peer is gone."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = False
        self.full = 0

    async def send(self, event: MutableMapping[str, Any]) -> None:
        await self.gate.wait()
        if self.gone:
            raise OSError
        assert event["type"] == "websocket.send"
        self.written.append(event["text"])

    def count_full(self) -> None:
        self.full += 1

    def queue(self, limit: int = 1_000) -> SendQueue:
        return SendQueue(self.send, limit=limit, on_full=self.count_full)


@pytest.fixture
async def transport() -> Transport:
    return Transport()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_frames_are_written_in_order(transport: Transport) -> None:
    queue = transport.queue()
    for number in range(100):
        queue.put(str(number))
    await queue.finish(1.0)
    assert transport.written == [str(number) for number in range(100)]


async def test_frames_that_come_while_others_are_written_come_after_them(
    transport: Transport,
) -> None:
    queue = transport.queue()
    for number in range(10):
        queue.put(str(number))
        await asyncio.sleep(0)
    await queue.finish(1.0)
    assert transport.written == [str(number) for number in range(10)]


async def test_a_producer_never_waits(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue()
    queue.put("a")
    await turns()
    queue.put("b")
    assert transport.written == []
    transport.gate.set()
    await queue.finish(1.0)
    assert transport.written == ["a", "b"]


async def test_an_idle_queue_has_no_task(transport: Transport) -> None:
    before = asyncio.all_tasks()
    queue = transport.queue()
    assert asyncio.all_tasks() == before
    queue.put("a")
    await turns()
    assert asyncio.all_tasks() == before
    assert transport.written == ["a"]


async def test_exactly_its_limit_may_wait(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.put("x" * 4)
    await turns()  # on its way, and still counted
    queue.put("y" * 6)
    assert transport.full == 0
    transport.gate.set()
    await queue.finish(1.0)
    assert transport.written == ["xxxx", "yyyyyy"]


async def test_one_more_drops_what_waits_and_says_so_once(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.put("x" * 4)
    await turns()
    queue.put("y" * 4)
    queue.put("z" * 4)
    queue.put("z")
    assert transport.full == 1
    transport.gate.set()
    await turns()
    assert transport.written == ["xxxx"]
    queue.put("later")
    await turns()
    assert transport.written == ["xxxx"]
    assert transport.full == 1


async def test_a_frame_larger_than_the_limit_is_too_much_for_an_empty_queue_too(
    transport: Transport,
) -> None:
    queue = transport.queue(limit=10)
    queue.put("x" * 11)
    assert transport.full == 1


async def test_what_was_written_makes_room(transport: Transport) -> None:
    queue = transport.queue(limit=10)
    for _ in range(50):
        queue.put("x" * 10)
        await turns()
    assert transport.full == 0
    assert len(transport.written) == 50


async def test_a_finished_queue_takes_nothing_more(transport: Transport) -> None:
    queue = transport.queue()
    queue.put("a")
    await queue.finish(1.0)
    queue.put("b")
    await turns()
    assert transport.written == ["a"]


async def test_the_end_does_not_wait_for_one_who_does_not_read(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue()
    queue.put("a")
    await turns()
    await queue.finish(0.01)
    transport.gate.set()
    await turns()
    assert transport.written == []


async def test_to_finish_what_never_began(transport: Transport) -> None:
    await transport.queue().finish(1.0)


async def test_a_dropped_queue_writes_nothing_more(transport: Transport) -> None:
    queue = transport.queue()
    queue.put("a")
    queue.drop()
    await turns()
    assert transport.written == []


async def test_a_peer_that_is_gone_ends_the_writing(transport: Transport) -> None:
    queue = transport.queue()
    transport.gone = True
    queue.put("a")
    queue.put("b")
    await turns()
    transport.gone = False
    queue.put("c")
    await turns()
    assert transport.written == []
    assert transport.full == 0
