from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from djwsbridge.chat import services

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_member_gets_messages_and_members(
    alice: User, bob: User, django_assert_num_queries: Any
) -> None:
    room = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=room.id)
    for number in range(60):
        services.send_message(
            actor=bob, room_id=room.id, body=str(number), client_message_id=uuid.uuid4()
        )
    with django_assert_num_queries(10):
        page = services.load_page(actor=alice, room=room)
    assert page.user.name == "alice"
    assert [message.seq for message in page.messages] == list(range(12, 62))
    assert page.last_seq == 61
    assert [member.name for member in page.members] == ["alice", "bob"]
    assert [view.unread for view in page.rooms] == [60]


def test_anybody_else_gets_neither(alice: User, bob: User) -> None:
    made = services.create_room(actor=alice, title="General")
    room = services.find_room(actor=bob, name=made.slug)
    page = services.load_page(actor=bob, room=room)
    assert (page.messages, page.members, page.last_seq) == ([], [], 0)
    assert page.room == room


def test_the_list_has_no_room_open(alice: User) -> None:
    assert services.load_page(actor=alice, room=None).room is None
