"""What happens beside the load in every run: somebody comes and goes, and one room is nearly always silent."""

from __future__ import annotations

import asyncio
import random

from djwsbridge.testing.history import History
from tests.faults.database import Spare
from tests.faults.speaker import LOST, Speaker, call_api, post_message
from tests.faults.system import System

__all__ = ["hush", "wander"]

PAUSE = 0.7  # seconds between two visits, on average
MESSAGES = 5  # of one visit
SILENCE, WORDS = 5.0, 0.3  # seconds in which nobody writes in the silent room, and in which they do
VISIT = 30.0  # seconds at most


async def wander(system: System, spare: Spare, chance: random.Random, history: History) -> None:
    """Join a room, say something and leave while it is being stored, again and again, until cancelled.

    What goes wrong on the way is the fault's doing.
    """
    while True:
        try:
            async with system.visits:
                await asyncio.wait_for(_visit(system, spare, chance, history), VISIT)
        except LOST:
            pass
        await asyncio.sleep(chance.uniform(0.0, 2 * PAUSE))


async def hush(system: System, room: int) -> None:
    """Let a room be silent most of the time, so that what is lost there shows no gap to anything later."""
    while True:
        system.silent.add(room)
        await asyncio.sleep(SILENCE)
        system.silent.discard(room)
        await asyncio.sleep(WORDS)


async def _visit(system: System, spare: Spare, chance: random.Random, history: History) -> None:
    room = chance.choice([room for room in system.made.rooms if room not in system.silent])
    if not await call_api(system, spare, f"rooms/{room}/join/"):
        return
    await post_message(system, spare, room, "here I am", history)
    async with Speaker(chance.choice(system.urls), spare, history) as speaker:
        sends = [
            asyncio.ensure_future(speaker.send(room, f"passing by, {number}"))
            for number in range(MESSAGES)
        ]
        try:
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            await call_api(system, spare, f"rooms/{room}/leave/")
        finally:
            await asyncio.gather(*sends)
