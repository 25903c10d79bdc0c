"""Store messages in one process, without sockets, in three ways: `python -m benchmarks.sites.inserts SECONDS`.

All use the same database. The plain insert of the ORM stores one row without a number, a log or a check; the other two
do what the chat does: after its checks a row of the log and a row of the message, numbered by room.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import django

BODY = "x" * 172
Send = Callable[[int], Awaitable[object]]


async def measure(send: Send, senders: int, seconds: float) -> dict[str, float]:
    """Return messages per second, and the times of one in milliseconds."""
    times: list[float] = []
    begun = time.perf_counter()

    async def one(number: int) -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await send(number)
            times.append((time.perf_counter() - now) * 1_000)

    await asyncio.gather(*(one(number) for number in range(senders)))
    took = time.perf_counter() - begun
    times.sort()
    return {
        "per_second": round(len(times) / took),
        "p50": round(statistics.median(times), 3),
        "p99": round(times[int(len(times) * 0.99)], 3),
    }


def measure_orm(seconds: float) -> dict[str, float]:
    """Insert row after row as a script would, without an event loop."""
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    ContentType.objects.count()  # the connection is open
    times: list[float] = []
    begun = time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        Session.objects.create(
            session_key=uuid.uuid4().hex, session_data=BODY, expire_date=timezone.now()
        )
        times.append((time.perf_counter() - now) * 1_000)
    took = time.perf_counter() - begun
    times.sort()
    return {
        "per_second": round(len(times) / took),
        "p50": round(statistics.median(times), 3),
        "p99": round(times[int(len(times) * 0.99)], 3),
    }


async def ways() -> dict[str, Send]:
    """Return the two ways of the chat to send one message."""
    from channels.db import database_sync_to_async

    from djwsbridge.chat import services
    from djwsbridge.chat.models import Membership
    from djwsbridge.group_commit import GroupCommit

    rows = Membership.objects.select_related("user").order_by("pk")
    members = await asyncio.to_thread(list, rows)
    commits: Any = GroupCommit(services.send_messages)

    def outgoing(number: int) -> services.Outgoing:
        member = members[number]
        return services.Outgoing(
            actor=member.user,
            room_id=member.room_id,
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

    return {"naive": naive, "grouped": grouped}


async def run(seconds: float) -> list[dict[str, object]]:
    """Measure all ways."""
    rows: list[dict[str, object]] = []
    rows.append({"way": "orm", "senders": 1, **await asyncio.to_thread(measure_orm, seconds)})
    for way, send in (await ways()).items():
        many, alone = await measure(send, 64, seconds), await measure(send, 1, seconds)
        rows += [{"way": way, "senders": 64, **many}, {"way": way, "senders": 1, **alone}]
    return rows


if __name__ == "__main__":
    django.setup()
    print(json.dumps(asyncio.run(run(float(sys.argv[1])))))
