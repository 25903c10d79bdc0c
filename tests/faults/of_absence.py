"""Clients that come back after a very long time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence

import psycopg

from djwsbridge.client import RESET, Client, CommandError
from djwsbridge.testing.checker import measure
from djwsbridge.testing.history import History
from tests.faults.catalogue import fault, lasting
from tests.faults.database import Spare
from tests.faults.deaf import memory_of
from tests.faults.of_readers import hall, talk
from tests.faults.speaker import LOST, Speaker
from tests.faults.system import System

BEHIND = 40_000  # events
IN_TIME = 30.0  # seconds until all is there
STANDSTILL = 2.0  # seconds in which nothing comes
LONGEST = 35.0  # seconds of the attempt
RECENT = 20  # messages of one second

# A payload is written as the log writes it: nodes read its number with a pattern that knows no blanks.
FILL = """
WITH topic AS (UPDATE djwsbridge_log_topic SET seq = seq + {count} WHERE name = 'room.{room}' RETURNING id, seq),
numbers AS (SELECT id, n AS seq, gen_random_uuid() AS mid FROM topic, generate_series(seq - {count} + 1, seq) AS n),
messages AS (
    INSERT INTO djwsbridge_chat_message (room_id, seq, sender_id, body, client_message_id, created)
    SELECT {room}, seq, {user}, 'an old message, ' || seq, mid, now() FROM numbers
)
INSERT INTO djwsbridge_log_event (topic_id, seq, type, payload, created)
SELECT id, seq, 'message.sent', concat(
    '{{"push":"message.sent","topic":"room.{room}","seq":', seq, ',"data":{{"room":{room},"seq":', seq,
    ',"sender":{{"id":{user},"name":"spare1"}},"body":"an old message, ', seq,
    '","created":"2026-01-01T00:00:00.000000Z","client_message_id":"', mid, '"}}}}'
), now() FROM numbers
"""


@fault(
    "41",
    "two clients 40,000 events behind",
    pause=1.0,
    limits={("delivery", "p99"): 2.0},
    least=1,
    once=True,
    calm=True,
)
async def come_back_late(system: System, chance: random.Random, history: History) -> str | None:
    """Let a client of the library and one of a few lines catch up, while 20 messages a second go on in that room."""
    async with hall(system, 22) as (room, people):
        epoch, old = await asyncio.to_thread(_fill, system, room, people[0])
        async with talk(system, room, people[2:], rate=20.0, body="and a new one") as seqs:
            before = max(memory_of(worker.site.pid) for worker in system.workers)
            clients = {
                "the library's client": _catch_up(system, people[0], room, epoch, seqs),
                "a small client": _catch_up_by_hand(system, people[1], room, epoch),
            }
            mark = len(history)
            found = await asyncio.gather(*clients.values())
            after = max(memory_of(worker.site.pid) for worker in system.workers)
    for name, seen in zip(clients, found, strict=True):
        system.problems += [f"{name} {sentence}" for sentence in seen.problems([*old, *seqs])]
    told = ", ".join(f"{name}: {seen}" for name, seen in zip(clients, found, strict=True))
    quiet, busy = (
        measure(History(records)).delivery["p99"]
        for records in (history.records[:mark], history.records[mark:])
    )
    return (
        f"{told}; a worker has {after - before:+.0f} MiB;"
        f" the others' p99 was {quiet * 1000:.0f} ms and is {busy * 1000:.0f} ms"
    )


def _fill(system: System, room: int, spare: Spare) -> tuple[str, range]:
    """Store many messages as if they had been sent; return the epoch of the room's log, and their seqs."""
    with psycopg.connect(system.database.url) as link:
        # One of the parts of the statement cannot hold parameters: all are numbers of our own.
        link.execute(FILL.format(count=BEHIND, room=room, user=spare.user).encode())
    name = f"room.{room}"
    ((epoch, seq),) = system.database.query(
        f"SELECT epoch, seq FROM djwsbridge_log_topic WHERE name = '{name}'"
    )
    newest = int(str(seq))
    return str(epoch), range(newest - BEHIND + 1, newest + 1)


class Progress:
    """What a client that catches up has seen, and when."""

    def __init__(self) -> None:
        self.begun = self._last = time.monotonic()
        # The seqs of messages, in the order in which they came.
        self.seqs: list[int] = []
        self.seen: set[int] = set()
        # The longest time in which nothing came; and when the end was reached, None before.
        self.standstill = 0.0
        self.done: float | None = None

    def take(self, seqs: Sequence[int]) -> None:
        """Note that messages have come."""
        now = time.monotonic()
        self.standstill = max(self.standstill, now - self._last)
        self._last = now
        self.seqs += seqs
        self.seen.update(seqs)

    def finish(self) -> None:
        """Note that all is there."""
        self.done = self.done or time.monotonic() - self.begun

    @property
    def is_late(self) -> bool:
        """Say whether it is no use to go on."""
        return time.monotonic() - self.begun > LONGEST

    def problems(self, seqs: Sequence[int]) -> list[str]:
        """Return sentences about what should not be.

        Args:
            seqs: of all messages of the room.
        """
        found = []
        if self.done is None:
            self.standstill = max(self.standstill, self.begun + LONGEST - self._last)
        if self.done is None or self.done > IN_TIME:
            found.append(f"has {len(self.seen)} of {BEHIND} messages after {IN_TIME:.0f} s.")
        elif missing := {seq for seq in seqs if seq <= self.seqs[-1]} - self.seen:
            found.append(f"misses {len(missing)} messages.")
        if self.standstill > STANDSTILL:
            found.append(f"stood still for {self.standstill:.1f} s.")
        if len(self.seen) < len(self.seqs):
            found.append(f"was told {len(self.seqs) - len(self.seen)} messages twice.")
        return found

    def __str__(self) -> str:
        time_ = "not all" if self.done is None else f"all after {self.done:.1f} s"
        return f"{time_}, {len(self.seen)} messages, stood still ≤ {self.standstill:.1f} s"


async def _catch_up(
    system: System, spare: Spare, room: int, epoch: str, seqs: Sequence[int]
) -> Progress:
    """Come back with a cursor at the beginning, as the library's client does."""
    topic, progress = f"room.{room}", Progress()
    client = Client(system.urls[0], token=spare.token, cursors={topic: (epoch, 0)})
    async with client:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_read_all(client, room, progress, seqs), LONGEST)
    return progress


async def _read_all(client: Client, room: int, progress: Progress, seqs: Sequence[int]) -> None:
    """Take pushes until one that was sent a second ago is here; load what the server does not push."""
    async for push in client.pushes():
        if push.topic != f"room.{room}":
            continue
        if push.type == RESET:
            await _load_pages(client, room, progress)
        elif push.type == "message.sent" and push.seq is not None:
            progress.take([push.seq])
        if progress.seqs and seqs and progress.seqs[-1] > max(seqs[-RECENT:]) - RECENT:
            progress.finish()
            return


async def _load_pages(client: Client, room: int, progress: Progress) -> None:
    """Load a room from its beginning, as an application does that is told that something cannot be recovered."""
    after, more = 0, True
    while more:
        try:
            page = await client.request("message.list", room=room, after=after, limit=500)
        except CommandError as error:
            if not error.retryable:
                raise
            await lasting(0.5)
            continue
        progress.take([one["seq"] for one in page["messages"]])
        after, more = page["messages"][-1]["seq"], page["more"]


async def _catch_up_by_hand(system: System, spare: Spare, room: int, epoch: str) -> Progress:
    """Come back with a cursor at the beginning, and ask page by page, as the protocol says."""
    topic, progress = f"room.{room}", Progress()
    with contextlib.suppress(*LOST):
        async with Speaker(system.urls[-1], spare) as speaker:
            report = {"more": True}
            seq = 0
            while report.get("more") and not progress.is_late:
                answer = await speaker.ask("topic.recover", topic=topic, epoch=epoch, seq=seq)
                if "error" in answer:
                    await lasting(answer["error"].get("retry_after_ms", 500) / 1000)
                    continue
                report = answer["ok"]
                if not report["recovered"]:
                    seq = await _load(speaker, room, progress)
                    break
                events = [
                    json.loads(event) if isinstance(event, str) else event
                    for event in report["events"]
                ]
                progress.take([event["seq"] for event in events if event["push"] == "message.sent"])
                seq = events[-1]["seq"]
            if not report.get("more"):
                progress.finish()
    return progress


async def _load(speaker: Speaker, room: int, progress: Progress) -> int:
    """Read the whole room by `message.list`; return its newest seq."""
    after, more = 0, True
    while more and not progress.is_late:
        answer = await speaker.ask("message.list", room=room, after=after, limit=500)
        if "error" in answer:
            await lasting(answer["error"].get("retry_after_ms", 500) / 1000)
            continue
        page = answer["ok"]
        progress.take([one["seq"] for one in page["messages"]])
        after, more = page["messages"][-1]["seq"], page["more"]
    return after
