"""Faults of the clients and of their network."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time

from djwsbridge.client import Client, State
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


TABS = 4
CHANGES = 2  # of the network; then three generations of tabs are 12, and a user has 10 places
BACK = 60.0  # seconds from a change of the network until all tabs are online again
SPARE = -2  # whose tabs they are: no other fault takes this one


@fault(
    "43",
    "two silent network changes of four tabs",
    systems=("sqlite-fast", "sqlite-daphne"),
    env={"FAULTS_CONNECTIONS": "10"},
    least=1,
    once=True,
)
async def change_networks(system: System, chance: random.Random, history: History) -> str | None:
    """Leave the connections of four tabs open and silent, twice, and see that all tabs come back."""
    link = system.proxy.link("tabs", *system.ports)
    url, token = f"ws://127.0.0.1:{link.port}/ws/bridge/", system.made.spares[SPARE].token
    took = []
    async with contextlib.AsyncExitStack() as stack:
        tabs = [await stack.enter_async_context(Client(url, token=token)) for _ in range(TABS)]
        for _ in range(CHANGES):
            before, begun = [tab.connection_id for tab in tabs], time.monotonic()
            link.strand()
            if not await until(lambda before=before: _are_back(tabs, before), within=BACK):
                states = ", ".join(tab.state.value for tab in tabs)
                system.problems.append(f"After {BACK:.0f} s the tabs are {states}.")
                return "not all came back"
            took.append(f"{time.monotonic() - begun:.0f} s")
    return f"{TABS} tabs were back after {' and '.join(took)}"


def _are_back(tabs: list[Client], before: list[str | None]) -> bool:
    """Say whether every tab is online, on another connection than before."""
    pairs = zip(tabs, before, strict=True)
    return all(tab.state is State.ONLINE and tab.connection_id != old for tab, old in pairs)


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
