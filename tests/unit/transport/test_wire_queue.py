"""The send queue whose bytes wait in the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from djwsbridge.protocol.wire import text_frame
from djwsbridge.transport.wire_queue import WireQueue
from tests.servers import TIMEOUT


class Wire:
    """A wire whose peer reads when the test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write: Callable[[bytes], None] = self.written.append
        self.waiting = 0
        self.changes = 0
        self.queue = WireQueue(self, on_changed=self.count)  # type: ignore[arg-type]

    def count(self) -> None:
        self.changes += 1


async def test_frames_are_written_at_once() -> None:
    wire = Wire()
    wire.queue.put("a")
    assert wire.queue.offer("b")
    assert wire.written == [text_frame("a"), text_frame("b")]
    assert wire.queue.write is wire.write
    assert not wire.changes


async def test_a_slow_reader_gets_answers_and_no_pushes() -> None:
    wire = Wire()
    wire.queue.fill()
    assert wire.queue.write is None
    assert not wire.queue.offer("push")
    wire.queue.put("answer")
    assert wire.written == [text_frame("answer")]
    wire.queue.drain()
    assert wire.queue.offer("push")
    assert wire.changes == 2


async def test_who_reads_something_makes_progress() -> None:
    wire, now = Wire(), asyncio.get_running_loop().time()
    assert wire.queue.stalled(now=now + 100) == 0.0
    wire.waiting = 10
    wire.queue.fill()
    assert 9 < wire.queue.stalled(now=now + 10) < 11
    wire.waiting = 9
    assert wire.queue.stalled(now=now + 20) == 0.0
    assert wire.queue.stalled(now=now + 25) == 5.0


async def test_after_the_end_nothing_is_written() -> None:
    wire = Wire()
    wire.queue.seal()
    wire.queue.put("a")
    assert wire.queue.write is None
    assert not wire.written


async def test_the_end_waits_for_a_slow_reader_but_not_for_ever() -> None:
    wire = Wire()
    await wire.queue.finish(TIMEOUT)
    wire.queue.fill()
    await wire.queue.finish(0.0)
    ending = asyncio.create_task(wire.queue.finish(TIMEOUT))
    await asyncio.sleep(0)
    assert not ending.done()
    wire.queue.drain()
    await asyncio.wait_for(ending, TIMEOUT)
