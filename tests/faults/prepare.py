"""Make the people and rooms of a run, and print who they are: `python -m tests.faults.prepare <people> <rooms>`."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys

import django


def prepare(people: int, rooms: int) -> dict[str, object]:
    """Make so many people and rooms with all of them in it; return their ids and tokens."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from rest_framework_simplejwt.tokens import AccessToken  # noqa: PLC0415

    from djwsbridge.chat import services  # noqa: PLC0415

    users = [get_user_model().objects.create_user(f"person{n}") for n in range(people)]
    room_ids = [services.create_room(actor=users[0], title=f"Room {n}").id for n in range(rooms)]
    for user in users[1:]:
        for room_id in room_ids:
            services.join_room(actor=user, room_id=room_id)
    tokens = []
    for user in users:
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=dt.timedelta(days=1))
        tokens.append(str(token))
    return {"users": [user.pk for user in users], "tokens": tokens, "rooms": room_ids}


if __name__ == "__main__":
    django.setup()
    from tests.faults.sabotage import PREPARATIONS

    PREPARATIONS.get(os.environ.get("FAULTS_SABOTAGE", ""), lambda: None)()
    print(json.dumps(prepare(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
