"""Faults of the clients and of their network."""

from __future__ import annotations

import asyncio
import random
import socket

from djwsbridge.testing.history import History
from tests.faults.catalogue import ENGINES, SMALL_TOO, fault, lasting, until
from tests.faults.deaf import is_over, open_deaf, say
from tests.faults.proxy import BLACK, PASS, Trouble
from tests.faults.system import System


@fault("0", "nothing", systems=("sqlite", *ENGINES), limits={("delivery", "p99"): 2.0})
async def do_nothing(system: System, chance: random.Random, history: History) -> str | None:
    """Do no harm: what the figures of the others are to be compared with."""
    return "nothing"


@fault("26", "clients RST, FIN, cut, one-byte slices", systems=SMALL_TOO)
async def cut_clients(system: System, chance: random.Random, history: History) -> str | None:
    front, kind = chance.choice(system.fronts), chance.choice(("RST", "FIN", "cut", "slices"))
    if kind in ("RST", "FIN"):
        count = front.cut(reset=kind == "RST", share=0.7)
        return f"{kind} for {count}" if count else None
    trouble = Trouble(slice=1) if kind == "slices" else Trouble(cut_after=chance.randint(1, 3_000))
    front.set(up=trouble, down=trouble)
    await lasting(2.0)
    front.heal()
    return kind


@fault("26b", "replies lost, then RST", systems=SMALL_TOO)
async def lose_replies(system: System, chance: random.Random, history: History) -> str | None:
    """Let what clients send arrive, and nothing come back, until their connections are reset."""
    front = chance.choice(system.fronts)
    front.set(down=BLACK)
    await lasting(chance.uniform(0.2, 1.0))
    count = front.cut(reset=True)
    front.heal()
    return f"RST for {count}" if count else None


@fault(
    "27", "clients hear and are not heard, or the reverse", limits={("away", "max"): 60.0}, least=2
)
async def deafen_clients(system: System, chance: random.Random, history: History) -> str | None:
    front, up = chance.choice(system.fronts), chance.random() < 0.5
    front.set(up=BLACK if up else PASS, down=PASS if up else BLACK)
    await lasting(15.0)
    front.heal()
    return "not heard" if up else "do not hear"


@fault("28", "clients with 300 ms ± 300 and 2 kB/s")
async def slow_clients(system: System, chance: random.Random, history: History) -> str | None:
    front = chance.choice(system.fronts)
    trouble = Trouble(latency=0.3, jitter=0.3, rate=2_000)
    front.set(up=trouble, down=trouble)
    await lasting(6.0)
    front.heal()
    return "6 s"


@fault("30", "all clients cut at once", pause=1.0)
async def cut_everybody(system: System, chance: random.Random, history: History) -> str | None:
    return f"{sum(front.cut(reset=True) for front in system.fronts)} connections"


@fault("29", "clients that ask for much and read nothing", pause=2.0, least=1)
async def never_read(system: System, chance: random.Random, history: History) -> str | None:
    """Ask each worker for megabytes over a connection that is not read; the worker must end it."""
    token, room = system.made.tokens[0], system.made.places[0][0]
    ports = [worker.site.port for worker in system.workers if worker.is_running]
    links = await asyncio.gather(
        *(asyncio.to_thread(_ask_for_much, port, token, room) for port in ports)
    )
    try:
        for link in links:
            if not await until(lambda link=link: is_over(link), within=90.0):
                raise AssertionError("Who reads nothing was not closed in 90 s.")
    finally:
        for link in links:
            link.close()
    return f"{len(links)} connections"


ANSWERS = 600  # of tens of KB each: more than the kernel takes


def _ask_for_much(port: int, token: str, room: int) -> socket.socket:
    """Return a connection that has asked for a room again and again, and reads no answer."""
    link = open_deaf(port, token)
    try:
        for number in range(2, ANSWERS):
            say(link, id=number, cmd="message.list", room=room, after=0, limit=100)
    except OSError:  # the worker has stopped reading as well, or has ended it already
        pass
    return link
