"""What administrators and members do under load."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request

from djwsbridge.testing.history import Deleted, Fault, History, Member
from tests.faults.catalogue import fault, lasting, manage
from tests.faults.database import Spare
from tests.faults.speaker import Speaker, call_api
from tests.faults.staff import Staff, staff
from tests.faults.system import System


@fault("35", "membership removed", pause=3.0)
async def remove_member(system: System, chance: random.Random, history: History) -> str | None:
    """Let one of the last people leave a room by the API, and note when and at what seq."""
    taken = {(member.user, member.room) for member in history.of(Member)}
    made = system.made
    candidates = [
        (person, room)
        for person in LEAVERS
        for room in made.places[person]
        if (made.people[person], room) not in taken
    ]
    if not candidates:
        return None
    person, room = chance.choice(candidates)
    status = await asyncio.to_thread(_leave, system, person, room)
    until = time.monotonic()
    if status not in (200, 204):
        return None
    seqs = await asyncio.to_thread(
        system.database.query,
        f"SELECT max(seq) FROM djwsbridge_chat_message WHERE room_id = {int(room)}",
    )
    newest = seqs[0][0] or 0
    history.add(
        Member(user=made.people[person], room=room, until=until, until_seq=int(str(newest)))
    )
    return f"person {person} out of room {room}"


LEAVERS = (-1, -2, -3)  # the last people only read


def _leave(system: System, person: int, room: int) -> int:
    port = system.fronts[0].port
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/chat/api/rooms/{room}/leave/",
        data=json.dumps({}).encode(),
        headers={
            "Authorization": f"Bearer {system.made.tokens[person]}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=10.0) as response:
            status: int = response.status
            return status
    except OSError:
        return 0


@fault("36", "epoch renewed, clients cut", pause=4.0, least=1)
async def renew_epoch(system: System, chance: random.Random, history: History) -> str | None:
    """Declare the history of a room another one, as after a restore; everybody loads it anew."""
    room = chance.choice(system.made.rooms)
    await manage(system, "djwsbridge_new_epoch", f"room.{room}")
    count = sum(front.cut(reset=True) for front in system.fronts)
    return f"room {room}, {count} connections"


@fault("36b", "log purged while clients are away", pause=4.0, least=1)
async def purge_log(system: System, chance: random.Random, history: History) -> str | None:
    """Delete every event while half of the clients are away: they load a snapshot instead."""
    front = chance.choice(system.fronts)
    front.refuse()
    front.cut(reset=True)
    await lasting(2.0)
    async with (
        system.visits
    ):  # who comes or goes between the two has a number that only the log knew
        await asyncio.to_thread(system.database.keep_events, system.made.rooms)
        said = await manage(system, "djwsbridge_prune", "--days", "0")
    front.heal()
    return said.strip()


PIPELINED = 25  # messages that are under way when the right to send them ends
RACE = 0.03  # seconds at most between the first of them and that moment
STAFF_ACTS = ("remove", "delete")


@fault("39", "left and removed while sending", pause=0.2, least=8)
async def race(system: System, chance: random.Random, history: History) -> str | None:
    """Take the right to send away, over one worker or by staff, from somebody who is sending much over another one.

    What is stored must have a number below the leaving, whatever the order in which the processes get their locks.
    """
    ports = system.ports
    if len(ports) < 2:
        return None
    here, there = chance.sample(ports, 2)
    room = chance.choice(system.made.rooms[:2])
    done = sum(1 for _ in history.of(Fault))
    act = ("leave", "remove", "leave and join", "delete")[done % 4]
    fresh = 2 + done // 2  # staff's acts are for good
    if not done:
        await _hire(system)
    if act in STAFF_ACTS and (system.staff is None or fresh >= len(system.made.spares)):
        act = "leave"
    spare = system.made.spares[fresh if act in STAFF_ACTS else 1]
    if not await call_api(system, spare, f"rooms/{room}/join/", port=there):
        return None
    async with Speaker(f"ws://127.0.0.1:{here}/ws/bridge/", spare, history) as speaker:
        sends = [
            asyncio.ensure_future(speaker.send(room, f"race {number}"))
            for number in range(PIPELINED)
        ]
        await asyncio.sleep(chance.uniform(0.0, RACE))
        if system.staff is not None and act in STAFF_ACTS:
            await _act(system.staff, act, spare, room, history)
        else:
            await call_api(system, spare, f"rooms/{room}/leave/", port=there)
            if act == "leave and join":
                await call_api(system, spare, f"rooms/{room}/join/", port=there)
        await asyncio.gather(*sends)
    return f"{act}, room {room}"


async def _hire(system: System) -> None:
    """Let the process of staff start; the races begin without it."""

    async def start() -> None:
        system.staff = await system.helpers.enter_async_context(staff(system))

    hiring = asyncio.ensure_future(start())
    system.helpers.push_async_callback(lambda: hiring)


async def _act(someone: Staff, act: str, spare: Spare, room: int, history: History) -> None:
    """Let staff take a right away, and note the seq at which it was gone: no event of the room says so."""
    if act == "delete":
        history.add(Deleted(user=spare.user))
    seq = await someone.do(act, spare.user, room)
    history.add(Member(user=spare.user, room=room, until=time.monotonic(), until_seq=seq))
