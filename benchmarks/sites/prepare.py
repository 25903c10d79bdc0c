"""Make users, their tokens, and groups or rooms with equal shares of them.

    python -m benchmarks.sites.prepare USERS ROOMS DIRECTORY [MESSAGES [MEMBERS]]

Writes `tokens` (a user's key and token on each line) and `rooms` (the key of a room on each) into the directory. In a
site without the chat rooms are groups of Django's; with it, the first room gets so many messages. MEMBERS is the size
of a room when it is not the share of all users; who is left over is in none.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import django

BATCH = 5_000


def prepare(users: int, rooms: int, directory: Path, messages: int = 0, members: int = 0) -> None:
    """Fill an empty database."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from rest_framework_simplejwt.tokens import AccessToken

    call_command("migrate", verbosity=0)
    model = get_user_model()
    model.objects.bulk_create(
        (model(username=f"user{number}", password="!") for number in range(users)),
        batch_size=BATCH,
    )
    people = list(model.objects.order_by("pk"))
    lifetime = dt.timedelta(days=1)
    lines = []
    for user in people:
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=lifetime)
        lines.append(f"{user.pk} {token}\n")
    (directory / "tokens").write_text("".join(lines))
    make = make_chat_rooms if os.environ.get("BENCH_SITE") == "chat" else make_groups
    size = members or users // rooms
    keys = make(people[: size * rooms], rooms, size)
    (directory / "rooms").write_text("".join(f"{key}\n" for key in keys))
    if messages:
        make_messages(people[0], keys[0], messages)


def make_groups(people: list[Any], rooms: int, size: int) -> list[int]:
    """Make groups; return their keys."""
    from django.contrib.auth.models import Group

    Group.objects.bulk_create(Group(name=f"group{number}") for number in range(rooms))
    keys = list(Group.objects.order_by("pk").values_list("pk", flat=True))
    through = type(people[0]).groups.through
    through.objects.bulk_create(
        (
            through(user_id=user.pk, group_id=keys[number // size])
            for number, user in enumerate(people)
        ),
        batch_size=BATCH,
    )
    return keys


def make_chat_rooms(people: list[Any], rooms: int, size: int) -> list[int]:
    """Make rooms of the chat; return their keys."""
    from djwsbridge.chat.models import Membership, Room

    Room.objects.bulk_create(
        Room(
            kind="group", title=f"Room {number}", title_key=f"room {number}", slug=f"room-{number}"
        )
        for number in range(rooms)
    )
    keys = list(Room.objects.order_by("pk").values_list("pk", flat=True))
    Membership.objects.bulk_create(
        (
            Membership(user_id=user.pk, room_id=keys[number // size])
            for number, user in enumerate(people)
        ),
        batch_size=BATCH,
    )
    return keys


def make_messages(sender: Any, room: int, count: int) -> None:
    """Give a room a history."""
    from djwsbridge.chat import services

    for start in range(0, count, BATCH // 10):
        services.send_messages(
            [
                services.Outgoing(
                    actor=sender,
                    room_id=room,
                    body=f"Message {number} " + "x" * 150,
                    client_message_id=uuid.uuid4(),
                )
                for number in range(start, min(start + BATCH // 10, count))
            ]
        )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.sites.settings")
    django.setup()
    prepare(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:6]))
