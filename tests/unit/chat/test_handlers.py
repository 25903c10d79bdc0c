from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import User

from djwsbridge import runtime as runtimes
from djwsbridge.chat import handlers, services
from djwsbridge.chat.commands import (
    Acknowledge,
    ListMembers,
    ListMessages,
    MarkRead,
    SendMessage,
    SetTyping,
)
from djwsbridge.runtime import Runtime
from djwsbridge.transport import registry


@dataclass
class Asking:
    """What a handler sees of a connection."""

    user: User
    runtime: Runtime


@pytest.mark.django_db(transaction=True)
async def test_each_command_reaches_its_service() -> None:
    alice = await sync_to_async(User.objects.create_user)("alice")
    room = await sync_to_async(services.create_room)(actor=alice, title="General")
    asking = Asking(alice, runtimes.current())
    sent = await handlers.send_message(
        asking,  # type: ignore[arg-type]
        SendMessage(id=1, room=room.id, body="hello", client_message_id=uuid.uuid4()),
    )
    assert (sent.seq, sent.body) == (1, "hello")
    page = await handlers.list_messages(asking, ListMessages(id=2, room=room.id))  # type: ignore[arg-type]
    assert page.messages == [sent]
    read = await handlers.mark_read(asking, MarkRead(id=3, room=room.id, seq=1))  # type: ignore[arg-type]
    assert read.read_seq == 1
    acked = Acknowledge(id=4, seqs={f"room.{room.id}": 1})
    assert await handlers.acknowledge(asking, acked) == {}  # type: ignore[arg-type]


def test_the_app_has_registered_them() -> None:
    for command, handler in (
        (SendMessage(id=1, room=1, body="", client_message_id=uuid.uuid4()), handlers.send_message),
        (ListMessages(id=1, room=1), handlers.list_messages),
        (MarkRead(id=1, room=1, seq=1), handlers.mark_read),
        (Acknowledge(id=1, seqs={}), handlers.acknowledge),
        (SetTyping(id=1, room=1), handlers.set_typing),
        (ListMembers(id=1, room=1), handlers.list_members),
    ):
        assert registry.handler_of(command) is handler
    assert registry.counts_as_send(
        SendMessage(id=1, room=1, body="", client_message_id=uuid.uuid4())
    )


@pytest.mark.django_db
def test_the_app_has_registered_topics_rule_and_route(alice: User, bob: User) -> None:
    room = services.create_room(actor=alice, title="General")
    topic = services.room_topic(room.id)
    assert registry.topics_of([alice, bob]) == [[topic], []]
    rule = registry.find_topic_rule(topic)
    assert rule is not None
    assert rule(alice, topic)
    assert not rule(bob, topic)
    states = registry.topic_states([(alice, [topic, "user.1"]), (bob, ["user.2"])])
    assert [state.keys() for state in states] == [{topic}, set()]
    routes = [route for route in registry.routes() if route.resolve("ws/chat/a room/")]
    assert len(routes) == 1


@pytest.mark.django_db
def test_what_is_registered_twice_is_there_once(alice: User) -> None:
    room = services.create_room(actor=alice, title="General")
    apps.get_app_config("djwsbridge_chat").ready()  # as Django does when INSTALLED_APPS changes
    assert registry.topics_of([alice]) == [[services.room_topic(room.id)]]
    routes = [route for route in registry.routes() if route.resolve("ws/chat/a room/")]
    assert len(routes) == 1
