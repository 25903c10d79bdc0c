"""The send queue whose bytes wait in the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from djwsbridge.hub import Hub
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.wire import text_frame
from djwsbridge.transport import registry
from djwsbridge.transport.wire_queue import WireQueue
from tests.servers import TIMEOUT

V1 = registry.codec()


class Wire:
    """A wire whose peer reads when the test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write: Callable[[bytes], None] = self.written.append
        self.waiting = 0
        self.changes = 0
        self.queue = WireQueue(self, Hub(), on_changed=self.count)  # type: ignore[arg-type]

    def count(self) -> None:
        self.changes += 1


async def turns_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_one_turn_brings_is_written_at_its_end_in_one_piece() -> None:
    wire = Wire()
    wire.queue.put("a")
    assert wire.queue.offer("b")
    assert not wire.written
    await turns_of_the_loop()
    assert wire.written == [text_frame("a") + text_frame("b")]
    assert wire.queue.write is wire.write
    assert not wire.changes


async def test_what_was_said_before_the_end_is_written_before_it() -> None:
    wire = Wire()
    wire.queue.put("a")
    wire.queue.seal()
    assert wire.written == [text_frame("a")]
    await turns_of_the_loop()
    assert len(wire.written) == 1


async def test_what_was_pushed_before_the_end_is_written_before_it() -> None:
    class Subscriber:
        dialect = V1

        @property
        def write(self) -> Callable[[bytes], None] | None:
            return wire.queue.write

        def push(self, text: str) -> None:
            raise AssertionError("It was written before the end.")

    wire, hub, subscriber = Wire(), Hub(), Subscriber()
    wire.queue = WireQueue(
        wire,  # type: ignore[arg-type]
        hub,
        on_changed=lambda: hub.refresh("user.7", subscriber),
    )
    hub.add("user.7", subscriber)
    push = encode_push("signal", topic="user.7", data={})
    hub.deliver("user.7", push)
    wire.queue.put("farewell")
    wire.queue.seal()
    assert wire.written == [text_frame("farewell") + text_frame(push)]
    await turns_of_the_loop()
    assert len(wire.written) == 1


async def test_nothing_is_written_to_a_peer_that_is_gone() -> None:
    wire = Wire()
    wire.queue.put("a")
    wire.queue.drop()
    await turns_of_the_loop()
    assert not wire.written


async def test_a_slow_reader_gets_answers_and_no_pushes() -> None:
    wire = Wire()
    wire.queue.fill()
    assert wire.queue.write is None
    assert not wire.queue.offer("push")
    wire.queue.put("answer")
    await turns_of_the_loop()
    assert wire.written == [text_frame("answer")]
    wire.queue.drain()
    assert wire.queue.offer("push")
    assert wire.changes == 2


async def test_who_reads_something_makes_progress() -> None:
    wire, now = Wire(), asyncio.get_running_loop().time()
    assert not wire.queue.has_stalled(now=now + 100, timeout=5.0)
    wire.waiting = 10
    wire.queue.fill()
    assert wire.queue.has_stalled(now=now + 10, timeout=9.0)
    assert not wire.queue.has_stalled(now=now + 10, timeout=11.0)
    wire.waiting = 9
    assert not wire.queue.has_stalled(now=now + 20, timeout=5.0)
    assert wire.queue.has_stalled(now=now + 25, timeout=5.0)
    assert not wire.queue.has_stalled(now=now + 25, timeout=5.1)


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


async def test_many_answers_of_one_turn_do_not_wait_for_its_end() -> None:
    wire = Wire()
    for _ in range(10):
        wire.queue.put("x" * 50_000)
    # So the transport can say that they are too many, before more commands of the same turn are carried out.
    assert sum(map(len, wire.written)) > 250_000
    await turns_of_the_loop()
    assert b"".join(wire.written) == text_frame("x" * 50_000) * 10


async def test_a_slow_reader_has_no_room_until_it_is_quick_or_gone() -> None:
    wire = Wire()
    assert wire.queue.has_room
    wire.queue.fill()
    assert not wire.queue.has_room
    wire.queue.drain()
    assert wire.queue.has_room
    wire.queue.fill()
    wire.queue.drop()
    assert wire.queue.has_room  # what it has said before it went is carried out
