"""Make the people and rooms of a run, and print who they are: `python -m tests.faults.prepare <people> <rooms>`."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys

import django

TOKEN_LIFETIME = dt.timedelta(days=60)  # longer than a wall clock jumps


def prepare(people: int, rooms: int) -> dict[str, object]:
    """Make so many people and rooms, with every other one in each room; return ids, tokens and who is where."""
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
    tokens = []
    for user in users:
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=TOKEN_LIFETIME)
        tokens.append(str(token))
    return {"users": [user.pk for user in users], "tokens": tokens, "places": places}


if __name__ == "__main__":
    django.setup()
    from tests.faults.sabotage import PREPARATIONS

    PREPARATIONS.get(os.environ.get("FAULTS_SABOTAGE", ""), lambda: None)()
    print(json.dumps(prepare(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
