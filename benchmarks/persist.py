"""How many messages a second are stored and acknowledged: group commit beside one transaction per message.

    python benchmarks/persist.py [--seconds 3] [--rounds 3] [--postgres URL]

Both store the same: a row of the log, a row of the chat's message table, dense numbers per room, after the same checks.
The naive way is what a Channels consumer does: one transaction per message through `database_sync_to_async`. Senders
wait for their acknowledgement before they send again. Rounds are interleaved; the table shows medians and their ratio.
Results go to `benchmarks/results/persist.json` with machine and versions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
SENDERS = 64
BODY = "x" * 200

Send = Callable[[int], Awaitable[object]]


def prepare(url: str) -> tuple[list[object], dict[str, list[int]]]:
    """Set up Django on a database; return its users, and rooms by scenario."""
    os.environ.update(DJANGO_SETTINGS_MODULE="config.settings", DATABASE_URL=url, DEBUG="1")
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from djwsbridge.chat.models import Membership, Room

    call_command("migrate", verbosity=0)
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=f"bench-{uuid.uuid4().hex}") for _ in range(SENDERS)
    )
    rooms = {"one room": 1, "1,000 rooms": 1_000}
    made = {}
    for name, count in rooms.items():
        rows = Room.objects.bulk_create(
            Room(kind="group", title=uuid.uuid4().hex, slug=uuid.uuid4().hex) for _ in range(count)
        )
        Membership.objects.bulk_create(
            [Membership(room=room, user=user) for room in rows for user in users], batch_size=5_000
        )
        made[name] = [room.pk for room in rows]
    return list(users), made


async def measure(send: Send, senders: int, seconds: float) -> tuple[float, float]:
    """Return messages per second, and the median time of one in milliseconds."""
    deadline = time.perf_counter() + seconds
    times: list[float] = []

    async def one(number: int) -> None:
        while (begun := time.perf_counter()) < deadline:
            await send(number)
            times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(senders)))
    took = time.perf_counter() - begun
    return len(times) / took, statistics.median(times) * 1_000


def ways(users: list[object], rooms: list[int]) -> dict[str, Send]:
    """Return the two ways to send one message."""
    from channels.db import database_sync_to_async

    from djwsbridge.chat import services
    from djwsbridge.transport.group_commit import GroupCommit

    commits = GroupCommit(services.send_messages)
    turn = iter(range(10**12))

    def outgoing(number: int) -> services.Outgoing:
        return services.Outgoing(
            actor=users[number],
            room_id=rooms[next(turn) % len(rooms)],
            body=BODY,
            client_message_id=uuid.uuid4(),
        )

    async def grouped(number: int) -> object:
        return await commits.submit(outgoing(number))

    async def naive(number: int) -> object:
        item = outgoing(number)
        return await database_sync_to_async(services.send_message)(
            actor=item.actor,
            room_id=item.room_id,
            body=item.body,
            client_message_id=item.client_message_id,
        )

    return {"naive": naive, "group commit": grouped}


async def run(url: str, seconds: float, rounds: int) -> list[dict[str, object]]:
    """Measure every scenario on one database."""
    from django.db import connection

    users, scenarios = await asyncio.to_thread(prepare, url)
    rows: list[dict[str, object]] = []
    for name, rooms in scenarios.items():
        for senders in (SENDERS, 1):
            found: dict[str, list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for way, send in ways(users, rooms).items():
                    found.setdefault(way, []).append(await measure(send, senders, seconds))
            row: dict[str, object] = {
                "database": connection.vendor,
                "scenario": name,
                "senders": senders,
            }
            for way, results in found.items():
                row[f"{way}, messages/s"] = round(statistics.median(rate for rate, _ in results))
                row[f"{way}, ms"] = round(statistics.median(ms for _, ms in results), 2)
            row["ratio"] = round(row["group commit, messages/s"] / row["naive, messages/s"], 1)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """Run on SQLite, or on the PostgreSQL that is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL", help="measure on this PostgreSQL instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        url = options.postgres or f"sqlite:///{directory}/bench.sqlite3"
        rows = asyncio.run(run(url, options.seconds, options.rounds))
    versions = {"python": platform.python_version(), "django": django.get_version()}
    machine = {"cores": os.cpu_count(), "system": platform.platform()}
    path = ROOT / "benchmarks" / "results" / f"persist-{rows[0]['database']}.json"
    path.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
