"""Readers that are slow, and talk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from djwsbridge.testing.history import History
from tests.faults.catalogue import fault, lasting
from tests.faults.database import Spare
from tests.faults.deaf import memory_of, open_deaf, say
from tests.faults.speaker import Speaker, call_api
from tests.faults.system import System


@contextlib.asynccontextmanager
async def hall(system: System, size: int) -> AsyncIterator[tuple[int, Sequence[Spare]]]:
    """Make a room that the judge does not look at, with so many of the spare people in it."""
    people = system.made.spares[1 : size + 1]
    made = await call_api(system, people[0], "rooms/", {"title": f"Hall {uuid.uuid4().hex[:8]}"})
    room: int = made["id"]
    await asyncio.gather(*(call_api(system, spare, f"rooms/{room}/join/") for spare in people[1:]))
    yield room, people


@contextlib.asynccontextmanager
async def talk(
    system: System, room: int, people: Sequence[Spare], *, rate: float, body: str
) -> AsyncIterator[list[int]]:
    """Let people say something in turn, so many times a second, until the block ends; the list gets the seqs."""
    seqs: list[int] = []

    async def go_on(speakers: Sequence[Speaker]) -> None:
        loop, begun, tasks = asyncio.get_running_loop(), time.monotonic(), set()
        for number in range(1_000_000):
            speaker = speakers[number % len(speakers)]
            task = loop.create_task(speaker.send(room, f"{number} {body}"))
            tasks.add(task)
            task.add_done_callback(note)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(begun + number / rate - time.monotonic())

    def note(task: asyncio.Task[int | None]) -> None:
        if not task.cancelled() and task.exception() is None and (seq := task.result()):
            seqs.append(seq)

    async with contextlib.AsyncExitStack() as stack:
        urls = [f"ws://127.0.0.1:{port}/ws/bridge/" for port in system.ports]
        speakers = [
            await stack.enter_async_context(Speaker(urls[number % len(urls)], spare))
            for number, spare in enumerate(people)
        ]
        talking = asyncio.ensure_future(go_on(speakers))
        try:
            yield seqs
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)


# Slow readers that talk

DEAF = 300
BEAT = 2.0  # seconds between two signs of life of each; more often than any client, so that 20 s show what a day does
TALK = 20.0  # seconds
RATE = 25.0  # messages a second
BODY = "€" * 4_000  # of a message: 12 KB, of which a count of characters sees a third
GROWTH = 100.0  # MiB that all of them together may cost
ENOUGH = 400.0  # MiB beyond which nothing more is to be learned


@fault(
    "40",
    "300 that read nothing and send signs of life",
    systems=("sqlite-daphne", "sqlite-fast"),
    pause=2.0,
    limits={("delivery", "p99"): 5.0},
    least=1,
    once=True,
)
async def never_read_and_talk(
    system: System, chance: random.Random, history: History
) -> str | None:
    """Open 300 connections that are not read; they say that they live, and some ask for things."""
    (worker,) = system.workers
    before = memory_of(worker.site.pid)
    links: list[socket.socket] = []
    async with hall(system, 8) as (room, people):
        try:
            for number in range(DEAF):
                spare = people[number % len(people)]
                links.append(await asyncio.to_thread(open_deaf, worker.site.port, spare.token))
                links[-1].setblocking(False)
            connected = memory_of(worker.site.pid)
            async with talk(system, room, people, rate=RATE, body=BODY) as seqs:
                highest = await _watch(lambda: memory_of(worker.site.pid), links, room, before)
        finally:
            for link in links:
                link.close()
    if highest - before > GROWTH:
        system.problems.append(
            f"{DEAF} clients that read nothing cost {highest - before:.0f} MiB, not {GROWTH:.0f}."
        )
    return (
        f"{before:.0f} MiB before, {connected:.0f} with all connections,"
        f" {highest:.0f} at most, after {len(seqs)} messages"
    )


async def _watch(
    memory: Callable[[], float], links: list[socket.socket], room: int, before: float
) -> float:
    """Let the connections talk for a while; return the largest amount of memory that was seen."""
    end, highest, number = time.monotonic() + TALK, memory(), 1
    while time.monotonic() < end and highest - before < ENOUGH:
        number += 1
        for index, link in enumerate(links):
            with contextlib.suppress(OSError):  # it was closed, or is not read either
                say(link, id=number, **_command(index, room))
            if index % 15 == 0:
                await lasting(BEAT / (DEAF / 15))
        highest = max(highest, memory())
    return highest


def _command(index: int, room: int) -> dict[str, Any]:
    """Return what a connection says: most of them only that they live."""
    if index % 10 == 0:
        return {"cmd": "message.list", "room": room, "limit": 100}
    if index % 10 == 1:
        return {"cmd": "topic.recover", "topic": f"room.{room}", "epoch": "", "seq": 0}
    return {"cmd": "heartbeat"}
