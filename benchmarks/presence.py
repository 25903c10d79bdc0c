"""Presence: what a process pays for knowing who is online on the others, in memory and processor time."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import msgspec

from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Options
from benchmarks.harness.world import Worlds
from djwsbridge.presence import Delta, Person, Presence, Snapshot

__all__ = ["run"]

USERS = 20_000
TOPICS = 5  # of each user
BATCH = 100  # changes that one process tells at once
COLUMNS = (
    ("users elsewhere", "users"),
    ("topics of each", "topics"),
    ("bytes a lease", "lease_bytes"),
    ("CPU µs a change, heard", "heard_us"),
    ("CPU µs a change, told", "told_us"),
)
NOTES = (
    "Every process holds the presence of all: a lease is a user on a topic. Measured inside one process, with "
    "the frames that processes send each other, written and read as they are."
)


def once(users: int) -> dict[str, Any]:
    """Hear of users on another node; return what it took."""
    entries = [
        (f"room.{(user * TOPICS + topic) % (users // 4 + 1)}", Person(user, f"user{user}"))
        for user in range(users)
        for topic in range(TOPICS)
    ]
    batches = [entries[start : start + BATCH] for start in range(0, len(entries), BATCH)]
    begun = time.process_time()
    texts = [
        msgspec.json.encode(Delta("elsewhere", number + 1, came=batch))
        for number, batch in enumerate(batches)
    ]
    told = time.process_time() - begun
    begun = time.process_time()
    hear(Presence("here"), texts)
    heard = time.process_time() - begun
    tracemalloc.start()
    other = Presence("other")
    hear(other, texts)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "lease_bytes": round(size / len(entries)),
        "heard_us": round(heard / len(entries) * 1e6, 2),
        "told_us": round(told / len(entries) * 1e6, 2),
    }


def hear(presence: Presence, texts: list[bytes]) -> None:
    """Let a node hear of another one from its beginning."""
    presence.hear_snapshot(Snapshot("elsewhere", 0, []), now=0.0)
    for text in texts:
        presence.hear_delta(msgspec.json.decode(text, type=Delta), now=0.0)


def run(options: Options, worlds: Worlds) -> Result:
    """Answer the question."""
    result = Result("presence", "Who is online elsewhere", COLUMNS, NOTES)
    users = 200 if options.smoke else USERS
    found = [once(users) for _ in range(options.rounds)]
    result.add(found, system="djwsbridge", users=users, topics=TOPICS)
    say(f"  {result.rows[0]}")
    result.write(options.output)
    return result
