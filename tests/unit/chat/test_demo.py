from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from djwsbridge.chat import services
from djwsbridge.chat.management.commands.djwsbridge_demo import PASSWORD
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError as Refused

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _debug(settings: Any) -> None:
    settings.DEBUG = True


def run() -> str:
    out = StringIO()
    call_command("djwsbridge_demo", stdout=out)
    return out.getvalue()


def test_makes_people_who_can_log_in_and_have_something_to_read() -> None:
    printed = run()
    for name in ("alice", "bob", "carol"):
        assert f"{name} / {PASSWORD}" in printed
        assert authenticate(username=name, password=PASSWORD) is not None
    alice = User.objects.get(username="alice")
    rooms = services.list_rooms(actor=alice).rooms
    assert sum(room.kind == "group" for room in rooms) == 3
    assert sum(room.kind == "direct" for room in rooms) == 1
    assert all(room.last_seq > 0 for room in rooms if room.is_member)


def test_a_second_time_changes_nothing() -> None:
    def everything() -> list[Any]:
        return [
            list(model.objects.order_by("pk").values()) for model in (Room, Membership, Message)
        ]

    run()
    User.objects.get(username="bob").set_password("his own")
    before = everything()
    run()
    assert everything() == before
    assert User.objects.count() == 3


def test_a_room_of_that_name_is_joined() -> None:
    dave = User.objects.create_user("dave")
    services.create_room(actor=dave, title="General")
    run()
    room = services.find_room(actor=User.objects.get(username="alice"), name="General")
    assert room.is_member


def test_has_no_place_on_a_public_site(settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="DEBUG"):
        run()
    assert User.objects.count() == 0


def test_other_mistakes_are_not_hidden(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(**_: Any) -> None:
        raise Refused(ErrorCode.BUSY)

    monkeypatch.setattr(services, "create_room", fail)
    with pytest.raises(Refused):
        run()
