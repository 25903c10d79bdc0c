"""Somebody who joins rooms, says something and leaves while it is being stored, again and again, in every run."""

from __future__ import annotations

import asyncio
import random

from djwsbridge.testing.history import History
from tests.faults.database import Spare
from tests.faults.speaker import LOST, Speaker, call_api
from tests.faults.system import System

__all__ = ["wander"]

PAUSE = 0.7  # seconds between two visits, on average
MESSAGES = 5  # of one visit
VISIT = 30.0  # seconds at most


async def wander(system: System, spare: Spare, chance: random.Random, history: History) -> None:
    """Visit one room after the other until cancelled. What goes wrong on the way is the fault's doing."""
    while True:
        try:
            async with system.visits:
                await asyncio.wait_for(_visit(system, spare, chance, history), VISIT)
        except LOST:
            pass
        await asyncio.sleep(chance.uniform(0.0, 2 * PAUSE))


async def _visit(system: System, spare: Spare, chance: random.Random, history: History) -> None:
    room = chance.choice([room for room in system.made.rooms if room not in system.silent])
    if not await call_api(system, spare, f"rooms/{room}/join/"):
        return
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
