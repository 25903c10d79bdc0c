"""Valid histories, made by a simulated system that does everything right."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from djwsbridge.testing.history import (
    Closed,
    Fault,
    History,
    Member,
    Opened,
    Outcome,
    Pointer,
    Receipt,
    Row,
    Send,
    Shown,
    digest,
)

__all__ = ["LEAVER", "OUTSIDER", "OUTSIDER_ROOM", "valid_histories"]

ROOMS = (1, 2)
USERS = (1, 2, 3)
LEAVER = 3  # a member of room 2 for the first half only
OUTSIDER_ROOM, OUTSIDER = 1, 3  # user 3 is no member of room 1


@dataclass
class Simulation:
    """A system with two rooms and a device for each of three people.

    Args:
        choose: returns an integer from 0 to a bound; the only source of chance.
    """

    choose: Callable[[int], int]
    now: float = 0.0
    history: History = field(default_factory=History)
    rows: dict[int, list[Row]] = field(default_factory=lambda: {room: [] for room in ROOMS})
    # (user, room) → how many rows of that room the user's device has taken.
    taken: dict[tuple[int, int], int] = field(default_factory=dict)
    left: Member | None = None
    count: int = 0

    def run(self, steps: int) -> History:
        """Return what happened in so many steps, after everybody has got everything."""
        for user in USERS:
            for room in self.rooms_of(user):
                self.taken[user, room] = 0
                device = device_of(user)
                opened = Opened(device=device, user=user, room=room, after=0, at=self.tick())
                self.history.add(opened)
        for step in range(steps):
            if step == steps // 2:
                self.leave()
            self.step()
        while self.taken and any(self.show(user, room) for user, room in list(self.taken)):
            pass
        self.finish()
        return self.history

    def tick(self) -> float:
        """Let time pass; returns the new time."""
        self.now += 0.001 * (1 + self.choose(9))
        return self.now

    def rooms_of(self, user: int) -> list[int]:
        """Return the rooms that a user is a member of at present."""
        rooms = [room for room in ROOMS if (user, room) != (OUTSIDER, OUTSIDER_ROOM)]
        return [room for room in rooms if self.left is None or (user, room) != (LEAVER, 2)]

    def step(self) -> None:
        """Let somebody send, or let a device take what it has not shown yet."""
        user = USERS[self.choose(len(USERS) - 1)]
        rooms = self.rooms_of(user)
        if not rooms:
            return
        room = rooms[self.choose(len(rooms) - 1)]
        (self.send, self.show)[min(1, self.choose(3))](user, room)

    def send(self, user: int, room: int) -> bool:
        """Let a user send: most is stored and acknowledged, some is refused, some others never join in."""
        self.count += 1
        mid, body = f"message-{self.count}", digest(f"body {self.count}")
        sent = {"device": device_of(user), "user": user, "room": room, "id": mid, "body": body}
        invoked, kind = self.tick(), self.choose(9)
        if kind == 0:
            record = Send(**sent, invoked=invoked, completed=self.tick(), outcome=Outcome.FAIL)
        else:
            if kind == 1:  # something else happens in the room first
                self.rows[room].append(Row(room=room, seq=len(self.rows[room]) + 1))
            seq = len(self.rows[room]) + 1
            self.rows[room].append(Row(room=room, seq=seq, id=mid, sender=user, body=body))
            record = Send(
                **sent, invoked=invoked, completed=self.tick(), outcome=Outcome.OK, seq=seq
            )
        self.history.add(record)
        return True

    def show(self, user: int, room: int) -> bool:
        """Let a device show the next thing of a room, and acknowledge it; returns whether there was one."""
        taken = self.taken.get((user, room))
        if taken is None or taken >= len(self.rows[room]):
            return False
        row = self.rows[room][taken]
        self.taken[user, room] = taken + 1
        at = self.tick()
        if row.id is not None:
            self.history.add(
                Shown(
                    device=device_of(user),
                    room=room,
                    seq=row.seq,
                    id=row.id,
                    sender=row.sender,
                    body=row.body,
                    at=at,
                )
            )
        for other in USERS:
            if (other, room) in self.taken and other != user:
                self.history.add(
                    Receipt(
                        device=device_of(other),
                        room=room,
                        user=user,
                        delivered_seq=row.seq,
                        read_seq=row.seq - row.seq % 2,
                        at=at,
                    )
                )
        return True

    def leave(self) -> None:
        """Take the leaver's membership away."""
        at = self.tick()
        self.left = Member(user=LEAVER, room=2, until=at, until_seq=len(self.rows[2]))
        del self.taken[LEAVER, 2]
        self.history.add(Closed(device=device_of(LEAVER), room=2, at=at))

    def finish(self) -> None:
        """Write down who was a member, what was done to the system, and what is stored."""
        for user in USERS:
            for room in self.rooms_of(user):
                self.history.add(Member(user=user, room=room))
        if self.left:
            self.history.add(self.left)
        for row in (row for rows in self.rows.values() for row in rows):
            self.history.add(row)
        for (user, room), taken in self.taken.items():
            read = taken - taken % 2
            pointer = Pointer(room=room, user=user, delivered_seq=taken, read_seq=read)
            self.history.add(pointer)
        for number in range(3):
            fault = Fault(name="pause", detail=str(number), at=self.tick(), until=self.tick())
            self.history.add(fault)


def device_of(user: int) -> str:
    """Return the name of a user's only device."""
    return f"device-{user}"


def make_history(seed: int) -> History:
    """Return what a seed makes happen: everything went well, and enough happened to spoil it."""
    chance = random.Random(seed)
    return Simulation(lambda bound: chance.randint(0, bound)).run(150)


# The seed is what hypothesis chooses: choices of its own would shrink to histories in which nothing happens.
valid_histories = st.builds(make_history, st.integers(min_value=0, max_value=2**32))
