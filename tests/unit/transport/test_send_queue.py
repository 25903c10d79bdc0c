"""The bounded queue of outgoing text: order, bound, what happens when it is full, and the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from djwsbridge.transport.send_queue import SendQueue
from tests.servers import TIMEOUT


class Transport:
    """The `send` of an ASGI server: waits while its gate is closed, fails once the peer is gone."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.gone = False
        # How often the queue has become slow, or has ceased to be.
        self.changes = 0
        self.failures: list[Exception] = []
        # Of the proofs that the client was asked for, none of them given yet.
        self.numbers: list[str] = []

    async def send(self, event: MutableMapping[str, Any]) -> None:
        await self.gate.wait()
        if self.gone:
            raise OSError
        assert event["type"] == "websocket.send"
        self.written.append(event["text"])

    def count_change(self) -> None:
        self.changes += 1

    def queue(self, limit: int = 1_000, *, ask: Callable[[str], None] | None = None) -> SendQueue:
        return SendQueue(
            self.send,
            limit=limit,
            on_changed=self.count_change,
            on_failed=self.failures.append,
            ask=ask,
        )


class ServersTransport(Transport):
    """One whose `send` says that it is the server's own, so that it may be called without a task."""

    async def send(self, event: MutableMapping[str, Any]) -> None:
        await super().send(event)

    send.__module__ = "uvicorn.protocols"


@pytest.fixture(params=[Transport, ServersTransport])
async def transport(request: pytest.FixtureRequest) -> Transport:
    made: Transport = request.param()
    return made


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


async def test_a_servers_own_send_is_called_at_once() -> None:
    transport = ServersTransport()
    transport.queue().put("a")
    assert transport.written == ["a"]


async def test_what_comes_while_a_server_sends_comes_after_it() -> None:
    class Echoing(ServersTransport):
        async def send(self, event: MutableMapping[str, Any]) -> None:
            if event["text"] == "a":
                queue.put("b")
                queue.put("c")
            await super().send(event)

        send.__module__ = "uvicorn.protocols"

    transport = Echoing()
    queue = transport.queue()
    queue.put("a")
    assert transport.written == ["a", "b", "c"]


async def test_a_middleware_around_send_has_a_task_of_its_own() -> None:
    transport = ServersTransport()
    tasks: list[asyncio.Task[Any] | None] = []

    async def middleware(event: MutableMapping[str, Any]) -> None:
        tasks.append(asyncio.current_task())
        await transport.send(event)

    queue = SendQueue(
        middleware,
        limit=1_000,
        on_changed=transport.count_change,
        on_failed=transport.failures.append,
    )
    queue.put("a")
    await queue.finish(1.0)
    assert transport.written == ["a"]
    assert tasks[0] not in {None, asyncio.current_task()}


async def test_a_send_that_fails_after_a_wait_ends_the_writing() -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Failing(ServersTransport):
        async def send(self, event: MutableMapping[str, Any]) -> None:
            await gone

        send.__module__ = "uvicorn.protocols"

    transport = Failing()
    queue = transport.queue()
    queue.put("a")
    gone.set_exception(OSError("gone"))
    await queue.finish(1.0)
    assert [str(failure) for failure in transport.failures] == ["gone"]
    assert queue._task is not None
    assert queue._task.exception() is None


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
    assert queue.offer("x" * 4)
    await turns()  # on its way, and still counted
    assert queue.offer("y" * 6)
    assert not queue.is_slow
    transport.gate.set()
    await queue.finish(1.0)
    assert transport.written == ["xxxx", "yyyyyy"]


async def test_a_slow_reader_gets_no_pushes_until_everything_is_written(
    transport: Transport,
) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    assert queue.offer("x" * 4)
    await turns()
    assert not queue.offer("y" * 7)
    assert queue.is_slow
    assert not queue.offer("z")
    assert transport.changes == 1
    transport.gate.set()
    await turns()
    assert transport.written == ["xxxx"]
    assert transport.changes == 2
    assert queue.offer("later")
    await turns()
    assert transport.written == ["xxxx", "later"]
    assert transport.changes == 2


async def test_answers_are_taken_from_a_slow_reader_too_and_wait_for_room(
    transport: Transport,
) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.offer("x" * 10)
    queue.offer("y")
    await queue.wait_for_room()  # there is: nothing above the limit yet
    queue.put("answer")
    waiting = asyncio.create_task(queue.wait_for_room())
    await turns()
    assert not waiting.done()
    transport.gate.set()
    await asyncio.wait_for(waiting, TIMEOUT)
    await turns()
    assert transport.written == ["x" * 10, "answer"]


async def test_nobody_waits_for_room_in_a_queue_that_is_dropped(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.put("x" * 11)
    waiting = asyncio.create_task(queue.wait_for_room())
    await turns()
    queue.drop()
    await asyncio.wait_for(waiting, TIMEOUT)
    transport.gate.set()


async def test_a_push_larger_than_the_limit_makes_an_empty_queue_slow(
    transport: Transport,
) -> None:
    queue = transport.queue(limit=10)
    assert not queue.offer("x" * 11)
    queue.put("answer")
    await turns()
    assert transport.changes == 2


async def test_who_reads_something_makes_progress(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    now = asyncio.get_running_loop().time()
    assert not queue.has_stalled(now=now + 100, timeout=99.0)
    queue.offer("x" * 5)
    queue.put("y" * 5)
    queue.offer("z")
    await turns()
    assert queue.has_stalled(now=now + 101, timeout=100.0)
    assert not queue.has_stalled(now=now + 100, timeout=101.0)
    queue._progress -= 50  # as if time had passed
    transport.gate.set()
    await turns()
    assert transport.written == ["xxxxx", "yyyyy"]
    assert not queue.has_stalled(now=now + 100, timeout=99.0)


async def test_what_was_written_makes_room(transport: Transport) -> None:
    queue = transport.queue(limit=10)
    for _ in range(50):
        assert queue.offer("x" * 10)
        await turns()
    assert len(transport.written) == 50


# -- where `send` never waits ------------------------------------------------------------------------------------------

LIMIT = 16 * 1_000  # a proof is asked for after each thousand bytes


def heartbeat(number: str) -> str:
    return json.dumps({"id": 1, "cmd": "heartbeat", "proof": number})


def fill(queue: SendQueue) -> int:
    """Offer pushes until one is refused; returns how many bytes were taken."""
    taken = 0
    while queue.offer("x" * 500):
        taken += 500
    return taken


async def test_without_a_proof_nothing_counts_as_read(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    assert fill(queue) == LIMIT
    await turns()
    assert len(transport.written) == 32  # the server takes everything at once
    assert len(transport.numbers) == 16
    for text in (
        '{"id":1,"cmd":"heartbeat"}',
        heartbeat("0" * 16),
        '{"id":1,"cmd":"ack","seqs":{}}',
    ):
        assert not queue.confirm(text)
    assert queue.is_slow
    assert not queue.offer("x")
    assert transport.changes == 1


async def test_a_proof_shows_that_everything_before_it_was_read(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    fill(queue)
    await turns()
    assert queue.confirm(heartbeat(transport.numbers[6]))
    assert queue.is_slow  # less than half of it
    assert queue.confirm(heartbeat(transport.numbers[7]))
    assert not queue.is_slow
    assert transport.changes == 2
    assert fill(queue) == LIMIT // 2  # what was sent later is counted still


async def test_a_proof_counts_once(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    fill(queue)
    await turns()
    assert queue.confirm(heartbeat(transport.numbers[8]))
    assert not queue.confirm(heartbeat(transport.numbers[8]))
    assert not queue.confirm(heartbeat(transport.numbers[3]))  # that one was before it
    assert fill(queue) == 9_000


async def test_a_number_in_a_long_frame_is_not_searched_for(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    fill(queue)
    await turns()
    assert not queue.confirm(heartbeat(transport.numbers[15]) + " " * 1_000)


async def test_answers_count_and_wait_for_a_proof(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    while queue.has_room:
        queue.put("x" * 500)
    await turns()
    assert queue.is_slow
    assert len(transport.written) == 33
    assert queue.confirm(heartbeat(transport.numbers[0]))
    assert queue.has_room


async def test_a_client_that_never_gave_a_proof_stalls_sooner(transport: Transport) -> None:
    queue = transport.queue(LIMIT, ask=transport.numbers.append)
    fill(queue)
    await turns()
    now = asyncio.get_running_loop().time()
    assert not queue.has_stalled(now=now + 4.5, timeout=30.0)
    assert queue.has_stalled(now=now + 5.5, timeout=30.0)
    assert queue.has_stalled(now=now + 3.5, timeout=3.0)
    queue.confirm(heartbeat(transport.numbers[0]))
    now = asyncio.get_running_loop().time()
    assert not queue.has_stalled(now=now + 29.5, timeout=30.0)
    assert queue.has_stalled(now=now + 30.5, timeout=30.0)


async def test_bytes_are_counted_and_not_characters(transport: Transport) -> None:
    queue = transport.queue(100, ask=transport.numbers.append)
    assert not queue.offer("€" * 34)
    assert queue.is_slow


async def test_a_frame_of_the_client_says_nothing_where_the_server_waits(
    transport: Transport,
) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.offer("x" * 10)
    queue.offer("y")
    assert not queue.confirm('{"id":1,"cmd":"heartbeat"}')
    assert queue.is_slow
    transport.gate.set()


async def test_a_cleared_queue_takes_a_last_word(transport: Transport) -> None:
    transport.gate.clear()
    queue = transport.queue(limit=10)
    queue.offer("x" * 5)
    await turns()
    queue.put("y" * 20)
    queue.clear()
    queue.put("bye")
    transport.gate.set()
    await queue.finish(1.0)
    assert transport.written == ["xxxxx", "bye"]


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
    transport.gate.clear()
    queue = transport.queue()
    queue.put("a")
    queue.put("b")
    await turns()
    queue.drop()
    transport.gate.set()
    await turns()
    assert transport.written == ["a"]  # which the server had by then


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
    assert transport.changes == 0
    assert [type(failure) for failure in transport.failures] == [OSError]
