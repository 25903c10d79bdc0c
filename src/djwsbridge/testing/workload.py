"""Writers and readers over several rooms, who write down what happens to them.

The workload knows a client only as a `Device`, so that the same load runs against a test rig and a site in production.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.topics import wire_id
from djwsbridge.testing.history import (
    Away,
    History,
    Opened,
    Outcome,
    Receipt,
    Send,
    Shown,
    UserId,
    digest,
)

__all__ = ["Device", "Journal", "Participant", "Workload"]

LOOK_INTERVAL = 0.1  # seconds between two looks at whether everything has settled


class Device(Protocol):
    """One person's client. It comes back by itself, and tells a `Journal` what it shows."""

    async def start(self) -> None:
        """Return when it is online for the first time."""

    async def send(self, room: int, body: str, client_message_id: uuid.UUID) -> int:
        """Send a message, again and again until there is an answer, and return its seq.

        Raises:
            CommandError: it was refused for good.
        """

    async def stop(self) -> None:
        """Leave."""


class Journal:
    """What one device tells of itself.

    Args:
        history: where everything is written down.
        device: its name.
        user: whose it is, by primary key.
    """

    def __init__(self, history: History, device: str, user: object) -> None:
        self.device = device
        # The key as it goes over the wire, which is how messages and rows name their sender.
        self.user: UserId = wire_id(user)
        # Room → the newest seq in the device's list.
        self.newest: dict[int, int] = {}
        self._history = history
        # When the connection was lost; None while it is online, and before it was the first time.
        self._lost: float | None = None

    def opened(self, room: int, *, after: int) -> None:
        """Begin a list of a room behind a seq."""
        self.newest[room] = after
        self._history.add(
            Opened(device=self.device, user=self.user, room=room, after=after, at=time.monotonic())
        )

    def shown(self, room: int, message: Mapping[str, Any]) -> None:
        """Append a message, as it comes over the wire, to the list of a room."""
        seq: int = message["seq"]
        self.newest[room] = max(self.newest.get(room, 0), seq)
        self._history.add(
            Shown(
                device=self.device,
                room=room,
                seq=seq,
                id=str(message["client_message_id"]),
                sender=message["sender"]["id"],
                body=digest(message["body"]),
                at=time.monotonic(),
            )
        )

    def told(self, room: int, user: UserId, *, delivered_seq: int, read_seq: int | None) -> None:
        """Take down how far a member is said to have got."""
        self._history.add(
            Receipt(
                device=self.device,
                room=room,
                user=user,
                delivered_seq=delivered_seq,
                read_seq=read_seq,
                at=time.monotonic(),
            )
        )

    def lost(self) -> None:
        """Note that the connection is gone."""
        self._lost = self._lost or time.monotonic()

    def online(self) -> None:
        """Note that the device is online."""
        if self._lost is not None:
            self._history.add(Away(device=self.device, lost=self._lost, back=time.monotonic()))
            self._lost = None

    def ended(self) -> None:
        """Note that the run is over; whoever is away never came back."""
        if self._lost is not None:
            self._history.add(Away(device=self.device, lost=self._lost))
            self._lost = None


@dataclass(frozen=True)
class Participant:
    """A device in the workload.

    Args:
        journal: what it tells of itself.
        device: the client.
        rooms: what its person is a member of.
        writes: whether it sends, or only reads.
    """

    journal: Journal
    device: Device
    rooms: Sequence[int]
    writes: bool


@dataclass
class Workload:
    """Everybody who takes part in a run.

    Args:
        history: where everything is written down.
        participants: who writes and who reads.
        pause: seconds between two messages of a writer to a room, on average.
        chance: the source of what happens by chance.
        silent: rooms in which nobody writes; it may change while the workload runs.
    """

    history: History
    participants: list[Participant]
    pause: float
    chance: random.Random
    silent: Collection[int] = ()
    _writers: list[asyncio.Task[None]] = field(default_factory=list)
    # Sends that wait for an answer.
    _pending: dict[str, Send] = field(default_factory=dict)
    # Room → the highest seq that was acknowledged.
    _acked: dict[int, int] = field(default_factory=dict)
    # The starts of those who came later.
    _coming: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Bring everybody online, and let the writers write."""
        await asyncio.gather(*(one.device.start() for one in self.participants))
        for one in self.participants:
            for room in one.rooms if one.writes else ():
                self._writers.append(asyncio.ensure_future(self._write(one, room)))

    def join(self, one: Participant) -> None:
        """Let somebody come who only reads, while the others are at it."""
        self.participants.append(one)
        self._coming.append(asyncio.ensure_future(one.device.start()))

    def rewound(self) -> None:
        """Forget what was acknowledged: the site's history was rewound, and some of it is gone."""
        self._acked.clear()

    async def settle(self, timeout: float) -> bool:
        """Let the writers end; return whether everything was answered and shown in time."""
        self._stopping.set()
        deadline = time.monotonic() + timeout
        while not self.is_settled() and time.monotonic() < deadline:  # noqa: ASYNC110 - many conditions, one look
            await asyncio.sleep(LOOK_INTERVAL)
        return self.is_settled()

    async def stop(self) -> None:
        """Let everybody leave; what was never answered is written down as unknown."""
        for writer in self._writers:
            writer.cancel()
        done = await asyncio.gather(*self._writers, return_exceptions=True)
        for send in self._pending.values():
            self.history.add(send)
        self._pending.clear()
        for one in self.participants:
            one.journal.ended()
        await asyncio.gather(*self._coming)
        await asyncio.gather(*(one.device.stop() for one in self.participants))
        for result in done:
            if isinstance(result, Exception):
                raise result

    def is_settled(self) -> bool:
        """Say whether nobody waits for an answer, and every list holds what was acknowledged."""
        if self._pending:
            return False
        return all(
            one.journal.newest.get(room, 0) >= self._acked.get(room, 0)
            for one in self.participants
            for room in one.rooms
        )

    async def _write(self, one: Participant, room: int) -> None:
        count = 0
        while not self._stopping.is_set():
            if room not in self.silent:
                count += 1
                await self._send(one, room, f"{one.journal.device} says {count}")
            await _wait(self._stopping.wait, self.chance.uniform(0.0, 2 * self.pause))

    async def _send(self, one: Participant, room: int, body: str) -> None:
        message_id = uuid.UUID(int=self.chance.getrandbits(128), version=4)
        send = Send(
            device=one.journal.device,
            user=one.journal.user,
            room=room,
            id=str(message_id),
            body=digest(body),
            invoked=time.monotonic(),
        )
        self._pending[send.id] = send
        try:
            seq = await one.device.send(room, body, message_id)
        except CommandError as error:
            self._finish(send, Outcome.FAIL, code=error.code.value)
        else:
            self._acked[room] = max(self._acked.get(room, 0), seq)
            self._finish(send, Outcome.OK, seq=seq)

    def _finish(
        self, send: Send, outcome: Outcome, *, seq: int | None = None, code: str | None = None
    ) -> None:
        del self._pending[send.id]
        self.history.add(
            Send(
                device=send.device,
                user=send.user,
                room=send.room,
                id=send.id,
                body=send.body,
                invoked=send.invoked,
                completed=time.monotonic(),
                outcome=outcome,
                seq=seq,
                code=code,
            )
        )


async def _wait(event: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Wait for an event, but no longer than so many seconds."""
    try:
        await asyncio.wait_for(event(), seconds)
    except asyncio.TimeoutError:
        return
