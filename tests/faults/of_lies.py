"""Somebody who can publish in Redis lies to the workers.

What is shown must be in the log, and what is in the log must be shown. The judge compares the lists of all clients with
the database, as after every fault; two connections that the liar keeps see what no client would show.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from channels_redis.core import RedisChannelLayer

from djwsbridge.control import (
    CONTROL_TOPIC,
    SubscribeUser,
    UnsubscribeUser,
    UserChanged,
    write_control,
)
from djwsbridge.protocol.codec import encode_push
from djwsbridge.testing.history import Fault, History
from tests.faults.catalogue import ENGINES, fault, lasting, until
from tests.faults.of_redis import tell_redis
from tests.faults.speaker import Speaker, call_api
from tests.faults.system import System

PREFIX = (
    "djwsbridge"  # of the channels of the engine `redis`, and of the groups of the channel layer
)
HEARD = 0.2  # seconds in which a lie has reached every client that it can reach
VICTIM = -2  # one of the people who only read
LONG = 100_000  # characters


@dataclass(frozen=True)
class Lie:
    """A text that is published.

    Args:
        topic: on which the engine carries it.
        text: the frame that it claims to be.
    """

    topic: str
    text: str


@dataclass(frozen=True)
class Scene:
    """What a liar knows: the rooms, how far each is, and who is there.

    Args:
        room: the room that is lied about, and `other` one with the same members.
        tip: the newest seq of it, and `other_tip` that of the other one.
        victim: a member.
        outsider: no member.
    """

    room: int
    other: int
    tip: int
    other_tip: int
    victim: int
    outsider: int

    def message(self, seq: int | None, *, room: int = 0) -> str:
        """Return the push of a message that was never sent, of `room` or the room that is lied about."""
        data = {
            "room": room or self.room,
            "seq": seq or self.tip,
            "sender": {"id": self.victim, "name": "somebody"},
            "body": "a lie",
            "created": "2026-01-01T00:00:00.000000Z",
            "client_message_id": str(uuid.uuid4()),
        }
        return encode_push("message.sent", topic=f"room.{room or self.room}", seq=seq, data=data)


Tell = Callable[[Scene], Iterator[Lie]]


def tell_next(scene: Scene) -> Iterator[Lie]:
    """Take the next number."""
    yield Lie(f"room.{scene.room}", scene.message(scene.tip + 1))


def tell_later(scene: Scene) -> Iterator[Lie]:
    """Take later numbers, which wait until those before them are there."""
    for seq in (scene.tip + 3, scene.tip + 10):
        yield Lie(f"room.{scene.room}", scene.message(seq))


def tell_again(scene: Scene) -> Iterator[Lie]:
    """Give numbers that are taken another text."""
    for seq in (scene.tip, scene.tip - 1, scene.tip + 1, scene.tip + 1):
        yield Lie(f"room.{scene.room}", scene.message(seq))


def tell_of_another_room(scene: Scene) -> Iterator[Lie]:
    """Put the message of another room inside."""
    text = scene.message(scene.other_tip + 1, room=scene.other)
    yield Lie(f"room.{scene.room}", text)
    left = encode_push(
        "room.left", topic=f"user.{scene.victim}", seq=1_000, data={"room": scene.room}
    )
    yield Lie(f"room.{scene.room}", left)


def tell_nonsense(scene: Scene) -> Iterator[Lie]:
    """Publish what is no frame, some of it with a number where frames have theirs."""
    topic, seq = f"room.{scene.room}", scene.tip + 1
    head = f'{{"push":"message.sent","topic":"{topic}","seq":{seq},"data":'
    rest = ("no JSON", "", "[]", "null", '{"push":1}', "\\ud800", "x" * LONG, "[" * LONG)
    for text in (head, f"{head}{{}}", f'"seq":{seq},"data":', *rest):
        yield Lie(topic, text)


def tell_without_number(scene: Scene) -> Iterator[Lie]:
    """Leave the number of a message out."""
    yield Lie(f"room.{scene.room}", scene.message(None))


def tell_too_much(scene: Scene) -> Iterator[Lie]:
    """Take numbers that no column holds."""
    for seq in (10**25, 2**63, 2**53, -1, 0):
        yield Lie(f"room.{scene.room}", scene.message(seq))


def tell_nodes(scene: Scene) -> Iterator[Lie]:
    """Tell the nodes, as a node, that a member has lost access and another user has it."""
    topic = f"room.{scene.room}"
    controls = (
        UnsubscribeUser(str(scene.victim), topic),
        SubscribeUser(str(scene.outsider), topic),
        UserChanged(str(scene.victim)),
    )
    for control in controls:
        yield Lie(CONTROL_TOPIC, write_control(control))
    yield Lie(CONTROL_TOPIC, "no control")


LIES: tuple[Tell, ...] = (
    tell_next,
    tell_nodes,
    tell_later,
    tell_nonsense,
    tell_of_another_room,
    tell_again,
    tell_without_number,
    tell_too_much,
)


@dataclass
class Liar:
    """The connections of somebody who can publish in Redis.

    Args:
        layer: reaches the groups of the channel layer.
        witness: a member who shows nothing and keeps all.
        outsider: a connection of a user who is in no room.
    """

    layer: RedisChannelLayer
    witness: Speaker
    outsider: Speaker
    # What has been seen already.
    seen: set[str] = field(default_factory=set)

    async def publish(self, system: System, lie: Lie) -> None:
        """Publish as the engine of this system does."""
        if system.layout.engine == "redis":
            await tell_redis(system, "PUBLISH", f"{PREFIX}:{lie.topic}", lie.text)
        else:
            message = {"type": "djwsbridge.push", "topic": lie.topic, "text": lie.text}
            await self.layer.group_send(f"{PREFIX}.{lie.topic}", message)

    def look(self, system: System, tell: Tell) -> None:
        """Note what the two connections were told and should not have been."""
        topics = self.witness.welcome["topics"]
        strange = [push for push in self.witness.pushes if push.get("topic") not in (None, *topics)]
        leaked = [push for push in self.outsider.pushes if "room." in str(push.get("topic"))]
        for what, found in (
            (f"no frame was written to a client: {self.witness.rubbish[:1]}", self.witness.rubbish),
            (f"a client was told of a topic that is not its own: {strange[:1]}", strange),
            (f"somebody who is no member was told: {leaked[:1]}", leaked),
        ):
            kind = what.partition(":")[0]
            if found and kind not in self.seen:
                self.seen.add(kind)
                system.problems.append(f"After {tell.__name__} {what}")


async def _begin(system: System) -> Liar:
    """Open the two connections."""
    outsider, witness = system.made.spares[2:4]
    for room in system.made.rooms[:1]:
        await call_api(system, witness, f"rooms/{room}/join/")
    urls = [f"ws://127.0.0.1:{port}/ws/bridge/" for port in system.ports]
    layer = RedisChannelLayer(hosts=[system.env["REDIS_URL"]])
    system.helpers.push_async_callback(layer.close_pools)
    enter = system.helpers.enter_async_context
    return Liar(
        layer, await enter(Speaker(urls[0], witness)), await enter(Speaker(urls[-1], outsider))
    )


@fault("42", "a liar on Redis", systems=ENGINES, pause=0.2, least=len(LIES))
async def lie(system: System, chance: random.Random, history: History) -> str | None:
    liar = system.liar = system.liar or await _begin(system)
    room, _, other, *_ = system.made.rooms  # these two have the same members
    tips = dict(
        await asyncio.to_thread(system.database.query, "SELECT name, seq FROM djwsbridge_log_topic")
    )
    scene = Scene(
        room=room,
        other=other,
        tip=_number(tips[f"room.{room}"]),
        other_tip=_number(tips[f"room.{other}"]),
        victim=system.made.people[VICTIM],
        outsider=system.made.spares[2].user,
    )
    tell = LIES[sum(1 for _ in history.of(Fault)) % len(LIES)]
    for one in tell(scene):
        await liar.publish(system, one)
    await lasting(HEARD)
    liar.look(system, tell)
    if not system.layout.engine and tell is tell_too_much:
        await _tell_truth(system, liar)
    return tell.__name__


async def _tell_truth(system: System, liar: Liar) -> None:
    """Send an event as sites did before there was a log: it has no number, and must arrive."""
    text = uuid.uuid4().hex
    event: dict[str, Any] = {"type": "send_message", "data": {"text": text}}
    await liar.layer.group_send(f"user_{system.made.spares[3].user}", event)
    if not await until(lambda: text in json.dumps(liar.witness.pushes), within=5.0):
        system.problems.append("An event that was sent to a group did not arrive.")


def _number(value: object) -> int:
    return int(str(value))
