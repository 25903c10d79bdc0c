"""Fill an empty site with people and conversations to try it out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.core.management.base import CommandError as ManagementError

from djwsbridge.chat import services
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

PASSWORD = "djwsbridge-demo"  # noqa: S105 - it is printed, and only set where DEBUG is on
PEOPLE = ("alice", "bob", "carol")

# Title → (who says, what). The first speaker makes the room, the others join.
ROOMS = {
    "General": (
        ("alice", "Welcome, everybody. This room is for all of us."),
        ("bob", "Good morning! I see my messages on the phone and on the laptop."),
        ("carol", "So do I. Reload the page: the history is still there."),
        ("alice", "Open a second browser, log in as bob, and write to yourself here."),
    ),
    "Book club": (
        ("bob", "What do we read next?"),
        ("carol", "“The Left Hand of Darkness”, if nobody minds snow."),
        ("bob", "Nobody minds snow."),
    ),
    "北京の旅": (
        ("carol", "A room may have its title in any script."),
        ("alice", "楽しみ! 🍲"),
    ),
}
PRIVATE = (
    ("alice", "bob", "Nobody but the two of us can read this."),
    ("bob", "alice", "I have tried: carol does not even see that it exists."),
)

# Makes the same ids at every start, so that a second one stores nothing twice.
NAMESPACE = uuid.UUID("9d0c2c0a-4a0e-5a55-9b58-0f8c6b1b3d57")


class Command(BaseCommand):
    """Make demo users, rooms and messages; a second time changes nothing."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command.

        Raises:
            ManagementError: DEBUG is off: a known password has no place on a public site.
        """
        if not settings.DEBUG:
            raise ManagementError("Demo users have a known password: they need DEBUG to be on.")
        people = {name: _person(name) for name in PEOPLE}
        for title, lines in ROOMS.items():
            for name, body in lines:
                _say(people[name], _group(people[name], title), body)
        for name, other, body in PRIVATE:
            room = services.open_direct(actor=people[name], user_id=people[other].pk)
            _say(people[name], room.id, body)
        self.stdout.write("Demo logins (user name / password):")
        for name in PEOPLE:
            self.stdout.write(f"  {name} / {PASSWORD}")


def _person(name: str) -> AbstractBaseUser:
    users = get_user_model()
    person, is_new = users.objects.get_or_create(None, **{users.USERNAME_FIELD: name})
    if is_new:
        person.set_password(PASSWORD)
        person.save()
    return person


def _group(actor: AbstractBaseUser, title: str) -> int:
    """Return the id of a group that the actor is a member of."""
    try:
        return services.create_room(actor=actor, title=title).id
    except CommandError as error:
        if error.code is not ErrorCode.CONFLICT:
            raise
    room = services.find_room(actor=actor, name=title)
    return services.join_room(actor=actor, room_id=room.id).id


def _say(actor: AbstractBaseUser, room_id: int, body: str) -> None:
    services.send_message(
        actor=actor,
        room_id=room_id,
        body=body,
        client_message_id=uuid.uuid5(NAMESPACE, f"{room_id} {actor.get_username()} {body}"),
    )
