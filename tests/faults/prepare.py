"""Make the people and rooms of a run, and print who they are.

`python -m tests.faults.prepare <people> <rooms> <people without a room>`
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

TOKEN_LIFETIME = dt.timedelta(days=60)  # longer than a wall clock jumps


def prepare(people: int, rooms: int, spares: int) -> dict[str, object]:
    """Make so many people and rooms, with every other one in each room; return ids, tokens and who is where.

    Args:
        people: how many are in rooms.
        rooms: how many.
        spares: how many more are in none.
    """
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from rest_framework_simplejwt.tokens import AccessToken  # noqa: PLC0415

    from djwsbridge.chat import services  # noqa: PLC0415

    users = [get_user_model().objects.create_user(f"person{n}") for n in range(people)]
    places: list[list[int]] = [[] for _ in users]
    for number in range(rooms):
        members = range(number % 2, people, 2)
        room = services.create_room(actor=users[members[0]], title=f"Room {number}").id
        for member in members:
            services.join_room(actor=users[member], room_id=room)
            places[member].append(room)

    def token_of(user: AbstractBaseUser) -> str:
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=TOKEN_LIFETIME)
        return str(token)

    others = [get_user_model().objects.create_user(f"spare{n}") for n in range(spares)]
    return {
        "users": [user.pk for user in users],
        "tokens": [token_of(user) for user in users],
        "places": places,
        "spares": [(user.pk, token_of(user)) for user in others],
    }


if __name__ == "__main__":
    django.setup()
    from tests.faults.sabotage import PREPARATIONS

    PREPARATIONS.get(os.environ.get("FAULTS_SABOTAGE", ""), lambda: None)()
    print(json.dumps(prepare(*map(int, sys.argv[1:]))))  # noqa: T201
