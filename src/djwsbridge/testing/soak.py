"""A load of temporary people on a site that runs, and the judgement of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import AutoField, EmailField, Field, IntegerField, UUIDField

from djwsbridge.accounts import name_of
from djwsbridge.chat import services
from djwsbridge.conf import settings
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.topics import user_topic, wire_id
from djwsbridge.testing.checker import State, Verdict, judge
from djwsbridge.testing.device import ClientDevice
from djwsbridge.testing.history import History, Member, Row, Send, Shown, digest
from djwsbridge.testing.workload import Journal, Participant, Workload
from djwsbridge.transport.auth.ticket import issue_ticket

__all__ = ["Cast", "Load", "describe", "fastest_rate", "make_cast", "remove_cast", "soak"]

OPEN_TIMEOUT = 10.0  # seconds in which everybody must be online
PROGRESS_INTERVAL = 5.0  # seconds
PAGE = 500  # messages read at once
OTHER_FRAMES = 1.2  # of a client in a second besides what it sends: receipts, signs of life
SHARE = 0.5  # of DJWSBRIDGE_SEND_RATE that is used: chance makes bursts

DOUBLED = frozenset({"stored_once", "shown_once"})
MISSING = frozenset({"dense_seq", "shown_without_hole", "shown_to_the_end"})


@dataclass(frozen=True)
class Load:
    """What is done.

    Args:
        url: of the socket.
        seconds: how long messages are sent.
        rate: messages of one person in a second.
        settle: seconds in which everything must be answered and shown after the last message.
    """

    url: str
    seconds: float
    rate: float
    settle: float


@dataclass(frozen=True)
class Cast:
    """Who takes part, and the ids of the rooms that they are all members of."""

    people: Sequence[AbstractBaseUser]
    rooms: Sequence[int]


def fastest_rate() -> float:
    """Return how many messages a second one person may send without meeting a limit."""
    sends, send_period = settings.SEND_RATE
    frames, frame_period = settings.FRAME_RATE
    return max(0.1, min(SHARE * sends / send_period, frames / frame_period - OTHER_FRAMES))


def make_cast(people: int, rooms: int) -> Cast:
    """Make people who cannot log in, and rooms with all of them in it."""
    run = secrets.token_hex(4)
    made: list[int] = []
    cast = Cast([], made)
    try:
        users = [_make_person(f"soak-{run}-{number}") for number in range(people)]
        cast = Cast(users, made)
        for number in range(rooms):
            room = services.create_room(actor=users[0], title=f"Soak {run} {number}")
            made.append(room.id)
            for user in users[1:]:
                services.join_room(actor=user, room_id=room.id)
    except BaseException:
        remove_cast(cast)
        raise
    return cast


def _make_person(name: str) -> AbstractBaseUser:
    """Store a user with a value of its own in the name, and in every other field that may hold no value twice."""
    users = get_user_model()
    person: AbstractBaseUser = users()
    for field in users._meta.concrete_fields:
        if field.name == users.USERNAME_FIELD or _must_differ(field):
            setattr(person, field.attname, _value_for(field, name))
    person.set_unusable_password()
    person.save(force_insert=True)
    return person


def _must_differ(field: Field[Any, Any]) -> bool:
    is_given = field.null or field.has_default() or isinstance(field, AutoField)
    return field.unique and not field.is_relation and not is_given


def _value_for(field: Field[Any, Any], name: str) -> object:
    """Return a value that no other row has, as nearly certain."""
    if isinstance(field, UUIDField):
        return uuid.uuid4()
    if isinstance(field, IntegerField):
        return secrets.randbelow(2**31 - 1)  # positive, and of four bytes
    if isinstance(field, EmailField):
        return f"{name}@example.invalid"
    return name if field.max_length is None else name[-field.max_length :]


def remove_cast(cast: Cast) -> None:
    """Remove people, rooms, messages, and what the log says of them."""
    topics = [f"room.{room}" for room in cast.rooms] + [user_topic(one.pk) for one in cast.people]
    apps.get_model("djwsbridge_chat", "Room").objects.filter(pk__in=cast.rooms).delete()
    for person in cast.people:
        person.delete()
    Topic.objects.filter(name__in=topics).delete()


def soak(load: Load, cast: Cast, say: Callable[[str], object]) -> Verdict:
    """Send for a time, wait until all is quiet, and judge.

    Args:
        load: what is done.
        cast: who does it.
        say: called with a line of progress now and then.

    Raises:
        TimeoutError: the site cannot be reached.
        StoppedError: the site does not let them in.
    """
    history = History()
    asyncio.run(_run(load, cast, history, say))
    _read_rows(history, cast)
    return judge(history, min_acks=1, min_faults=0)


async def _run(load: Load, cast: Cast, history: History, say: Callable[[str], object]) -> None:
    participants = [_participant(load, cast, person, history) for person in cast.people]
    pause = len(cast.rooms) / load.rate
    workload = Workload(history, participants, pause, random.Random())  # noqa: S311
    try:
        await workload.start()
        progress = asyncio.ensure_future(_tell_progress(history, say))
        try:
            await asyncio.sleep(load.seconds)
            say("Waiting until everything has arrived.")
            await workload.settle(load.settle)
        finally:
            progress.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await progress
    finally:
        await workload.stop()


def _participant(load: Load, cast: Cast, person: AbstractBaseUser, history: History) -> Participant:
    journal = Journal(history, name_of(person), person.pk)
    device = ClientDevice(
        load.url,
        None,
        cast.rooms,
        journal,
        ticket=lambda: issue_ticket(person),
        open_timeout=OPEN_TIMEOUT,
    )
    return Participant(journal, device, cast.rooms, writes=True)


async def _tell_progress(history: History, say: Callable[[str], object]) -> None:
    begun = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL)
        acked = sum(1 for _ in history.of(Send))
        shown = sum(1 for _ in history.of(Shown))
        say(f"{time.monotonic() - begun:4.0f} s: {acked} acknowledged, {shown} delivered")


def _read_rows(history: History, cast: Cast) -> None:
    """Write down what is stored in the end."""
    for room in cast.rooms:
        last, more = 0, True
        while more:
            page = services.list_messages(
                actor=cast.people[0], room_id=room, after=last, limit=PAGE
            )
            for message in page.messages:
                last = message.seq
                history.add(
                    Row(
                        room=room,
                        seq=message.seq,
                        id=str(message.client_message_id),
                        sender=message.sender.id,
                        body=digest(message.body),
                    )
                )
            more = page.more
        others = Event.objects.using(Log().using()).filter(topic__name=f"room.{room}")
        others = others.exclude(type="message.sent")
        for seq in others.values_list("seq", flat=True):
            history.add(Row(room=room, seq=seq))
        for person in cast.people:
            history.add(Member(user=wire_id(person.pk), room=room))


def describe(verdict: Verdict) -> str:
    """Return what came of it, in lines for a terminal."""
    figures = verdict.figures
    counts = {violation.check: violation.count for violation in verdict.violations}
    doubled = sum(count for check, count in counts.items() if check in DOUBLED)
    missing = sum(count for check, count in counts.items() if check in MISSING)
    counted = f"sent {figures.sent}, stored {figures.stored}, delivered {figures.shown}"
    lines = [f"{counted}, duplicates {doubled}, gaps {missing}"]
    for name, times in (
        ("acknowledged", figures.ack),
        ("delivered", figures.delivery),
        ("back online", figures.away),
    ):
        values = ", ".join(f"{key} {seconds * 1000:.0f} ms" for key, seconds in times.items())
        lines.append(f"{name} after: {values}")
    if verdict.state is not State.VALID:
        lines.append(str(verdict))
    return "\n".join(lines)
