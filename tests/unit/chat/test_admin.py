from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.test import Client

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Message, Room

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ROOMS = "/admin/djwsbridge_chat/room/"
MESSAGES = "/admin/djwsbridge_chat/message/"


@pytest.fixture
def client(client: Client, alice: User, bob: User) -> Client:
    general = services.create_room(actor=alice, title="General")
    private = services.open_direct(actor=alice, user_id=bob.pk)
    for room_id, body in ((general.id, "in the open"), (private.id, "in private")):
        services.send_message(
            actor=alice, room_id=room_id, body=body, client_message_id=uuid.uuid4()
        )
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_groups_can_be_looked_at(client: Client) -> None:
    assert "General" in client.get(ROOMS).content.decode()
    room = Room.objects.get(title="General")
    page = client.get(f"{ROOMS}{room.pk}/change/").content.decode()
    membership = Membership.objects.get(room=room)
    assert str(membership) in page
    assert "Owner" in page
    assert 'name="_save"' not in page
    message = Message.objects.get(room=room)
    assert f"{MESSAGES}{message.pk}/change/" in client.get(MESSAGES).content.decode()
    page = client.get(f"{MESSAGES}{message.pk}/change/").content.decode()
    assert "in the open" in page
    assert str(message) in page


def test_private_conversations_cannot(client: Client) -> None:
    room = Room.objects.get(title="")
    assert str(room) == room.slug
    assert room.slug not in client.get(ROOMS).content.decode()
    assert client.get(f"{ROOMS}{room.pk}/change/").status_code == 302
    message = Message.objects.get(room=room)
    assert client.get(f"{MESSAGES}{message.pk}/change/").status_code == 302


def test_nothing_can_be_changed(client: Client) -> None:
    room = Room.objects.get(title="General")
    message = Message.objects.get(room=room)
    for path in (
        f"{ROOMS}add/",
        f"{MESSAGES}add/",
        f"{ROOMS}{room.pk}/change/",
        f"{ROOMS}{room.pk}/delete/",
        f"{MESSAGES}{message.pk}/change/",
        f"{MESSAGES}{message.pk}/delete/",
    ):
        assert client.post(path, {"post": "yes", "title": "x"}).status_code == 403, path


def test_an_account_can_be_deleted_and_its_messages_stay(client: Client, alice: User) -> None:
    answer = client.post(f"/admin/auth/user/{alice.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert not User.objects.filter(pk=alice.pk).exists()
    assert Message.objects.filter(sender=None).count() == 2
    assert not Membership.objects.filter(user_id=alice.pk).exists()
