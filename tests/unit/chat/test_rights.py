"""Rights that end by what a project does to rows itself, and rights that end between a look and an act."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from djwsbridge.chat import rights, services, store
from djwsbridge.chat.models import Membership, Message, Room
from djwsbridge.chat.store.memberships import writing_permit
from djwsbridge.chat.values import RoomView
from djwsbridge.log.models import Event, Topic
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from tests.unit.chat.conftest import Capture, Pushed

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Staff(User):
    """A proxy, as projects have them: Django names it, not its model, as the sender of a signal."""

    class Meta:
        proxy = True
        app_label = "auth"


# Other tests make a table for each model of the app.
del apps.all_models["auth"]["staff"]
apps.clear_cache()


@pytest.fixture
def staff(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Staff]]:
    """Return the proxy as a model of the project."""
    with monkeypatch.context() as patch:
        patch.setitem(apps.all_models["auth"], "staff", Staff)
        apps.clear_cache()
        rights.connect_signals()
        yield Staff
    apps.clear_cache()


@pytest.fixture
def room(alice: User, bob: User) -> RoomView:
    """Return a group of two that alice owns; that bob has joined it is its first event."""
    made = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=made.id)
    return made


def told(pushed: Pushed) -> list[tuple[str, str]]:
    """Return what was published: (topic, type)."""
    return [(topic, frame["push"]) for topic, frame in pushed if "push" in frame]


def refusal(function: Callable[..., object], **fields: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(**fields)
    return caught.value.code


def send(actor: User, room: RoomView) -> int:
    sent = services.send_message(
        actor=actor, room_id=room.id, body="hello", client_message_id=uuid.uuid4()
    )
    return sent.seq


class TestDeletedAccount:
    @pytest.mark.parametrize("way", ["instance", "queryset", "proxy"])
    def test_each_group_is_told_and_has_an_owner(
        self,
        way: str,
        alice: User,
        bob: User,
        room: RoomView,
        capture_pushes: Capture,
        staff: type[Staff],
    ) -> None:
        direct = services.open_direct(actor=alice, user_id=bob.pk)
        send(alice, room)
        with capture_pushes() as pushed:
            if way == "queryset":
                User.objects.filter(pk=alice.pk).delete()
            else:
                (User if way == "instance" else staff).objects.get(username="alice").delete()
        assert told(pushed) == [(f"room.{room.id}", "member.left")]
        [left] = [frame for _, frame in pushed if frame.get("push") == "member.left"]
        assert (left["seq"], left["data"]["user"]["name"]) == (3, "alice")
        roles = list(Membership.objects.values_list("room_id", "user_id", "role"))
        assert sorted(roles) == [(room.id, bob.pk, "owner"), (direct.id, bob.pk, "member")]
        assert Message.objects.get().sender is None

    def test_who_is_in_no_room_costs_one_query_more(
        self, carol: User, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(
            3
        ):  # two of them are the savepoint in the test's own transaction
            services.delete_user(user=carol)

    def test_a_rollback_tells_nothing(
        self, bob: User, room: RoomView, capture_pushes: Capture
    ) -> None:
        with capture_pushes() as pushed, transaction.atomic():
            bob.delete()
            transaction.set_rollback(True)
        assert pushed == []
        assert (
            Event.objects.count() == 3
        )  # alice and bob have joined, and bob's own device was told


def test_a_membership_that_is_deleted_ends_as_by_leaving(
    alice: User, bob: User, room: RoomView, capture_pushes: Capture
) -> None:
    with capture_pushes() as pushed:
        Membership.objects.get(user=alice).delete()
    assert told(pushed) == [
        (f"user.{alice.pk}", "room.left"),
        (f"room.{room.id}", "member.left"),
    ]
    [unsubscribed] = [frame for _, frame in pushed if frame.get("type") == "user.unsubscribe"]
    assert unsubscribed == {
        "type": "user.unsubscribe",
        "user": str(alice.pk),
        "topic": f"room.{room.id}",
    }
    assert Membership.objects.get().role == "owner"


def test_leaving_is_told_once(bob: User, room: RoomView, capture_pushes: Capture) -> None:
    with capture_pushes() as pushed:
        services.leave_room(actor=bob, room_id=room.id)
    assert [type_ for _, type_ in told(pushed)] == ["room.left", "member.left"]


def test_of_a_room_that_is_deleted_nothing_is_left_but_its_number(
    alice: User, bob: User, room: RoomView, capture_pushes: Capture
) -> None:
    send(bob, room)
    with capture_pushes() as pushed:
        Room.objects.filter(pk=room.id).delete()
    assert told(pushed) == [(f"user.{user.pk}", "room.left") for user in (alice, bob)]
    gone = [frame["user"] for _, frame in pushed if frame.get("type") == "user.unsubscribe"]
    assert gone == [str(alice.pk), str(bob.pk)]
    assert not Event.objects.filter(topic__name=f"room.{room.id}").exists()
    assert Topic.objects.get(name=f"room.{room.id}").seq == 2
    assert refusal(send, actor=bob, room=room) is ErrorCode.NOT_FOUND


class TestInactiveUser:
    def test_stores_nothing(self, bob: User, room: RoomView) -> None:
        User.objects.filter(pk=bob.pk).update(is_active=False)
        assert refusal(send, actor=bob, room=room) is ErrorCode.NOT_FOUND
        assert Topic.objects.get(name=f"room.{room.id}").seq == 1

    def test_holds_their_rooms_and_nothing_else(
        self, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locked: list[list[int]] = []
        monkeypatch.setattr(store, "lock_rooms", lambda ids: locked.append(list(ids)))
        bob.save()
        assert locked == []
        bob.is_active = False
        bob.save()
        assert locked == [[room.id]]


def test_the_right_to_write_is_one_condition_that_the_statement_looks_at(
    alice: User, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is wrong; each message is judged when it is stored, and nothing of a refused one is left."""
    monkeypatch.setattr(store, "find_writers", set)
    stranger = User.objects.create_user("stranger")
    sends = [
        services.Outgoing(
            actor=actor, room_id=room.id, body="hello", client_message_id=uuid.uuid4()
        )
        for actor in (alice, stranger, bob)
    ]
    first, refused, last = services.send_messages(sends)
    assert isinstance(refused, CommandError)
    assert refused.code is ErrorCode.NOT_FOUND
    assert [getattr(first, "seq", None), getattr(last, "seq", None)] == [2, 3]
    assert Event.objects.filter(topic__name=f"room.{room.id}").count() == 3
    assert writing_permit() is writing_permit()


def test_a_page_has_nothing_that_came_after_the_look_at_the_membership(
    alice: User, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(alice, room)
    find = store.find_access

    def find_and_leave(actor: User, room_id: int) -> Any:
        found = find(actor, room_id)
        monkeypatch.setattr(store, "find_access", find)
        services.leave_room(actor=bob, room_id=room.id)
        send(alice, room)
        return found

    for options in ({}, {"after": 0}, {"before": 100}):
        services.join_room(actor=bob, room_id=room.id)
        tip = Topic.objects.get(name=f"room.{room.id}").seq
        monkeypatch.setattr(store, "find_access", find_and_leave)
        page = services.list_messages(actor=bob, room_id=room.id, **options)
        assert max(message.seq for message in page.messages) <= page.last_seq == tip


def test_no_receipt_is_told_of_who_has_left_meanwhile(
    alice: User, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = services.create_room(actor=bob, title="Other")
    tips = {f"room.{one.id}": send(bob, one) for one in (room, other)}
    find = store.find_pointers

    def find_and_leave(*args: Any, **options: Any) -> Any:
        found = find(*args, **options)
        monkeypatch.setattr(store, "find_pointers", find)
        services.leave_room(actor=bob, room_id=room.id)
        return found

    monkeypatch.setattr(store, "find_pointers", find_and_leave)
    pushes = services.acknowledge(actor=bob, seqs=tips)
    assert [push.topic for push in pushes] == [f"room.{other.id}"]
    services.join_room(actor=bob, room_id=room.id)
    monkeypatch.setattr(store, "find_pointers", find_and_leave)
    seq = send(alice, room)
    code = refusal(services.mark_read, actor=bob, room_id=room.id, seq=seq)
    assert code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("change", [{"is_active": False}, {"username": "robert"}])
def test_a_private_message_is_for_who_is_still_there(
    alice: User, bob: User, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipient changes while the message is on its way."""
    open_direct = services.direct.open_direct

    def open_and_change(**fields: Any) -> RoomView:
        made = open_direct(**fields)
        User.objects.filter(pk=bob.pk).update(**change)
        return made

    monkeypatch.setattr(services.direct, "open_direct", open_and_change)
    code = refusal(services.send_private, actor=alice, username="bob", body="psst")
    assert code is ErrorCode.BAD_RECIPIENT
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_who_was_deleted_a_moment_ago_is_told_so(alice: User, bob: User, room: RoomView) -> None:
    gone = User.objects.get(pk=bob.pk)
    bob.delete()
    code = refusal(services.join_room, actor=gone, room_id=room.id)
    assert code is ErrorCode.REVOKED
    code = refusal(send, actor=gone, room=room)
    assert code is ErrorCode.NOT_FOUND


@pytest.mark.django_db(transaction=True)
def test_a_recipient_who_is_deleted_meanwhile_is_none(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last look at the name still finds them, and then the commit does not."""
    User.objects.filter(pk=bob.pk)._raw_delete("default")
    looks = iter([bob, bob, bob, None])
    monkeypatch.setattr(store, "find_user", lambda _: bob)
    monkeypatch.setattr(store, "find_username", lambda *_, **__: next(looks))
    with pytest.raises(
        IntegrityError
    ):  # something else is broken, as long as there is such a person
        services.send_private(actor=alice, username="bob", body="psst")
    looks = iter([bob, bob, None])
    code = refusal(services.send_private, actor=alice, username="bob", body="psst")
    assert code is ErrorCode.BAD_RECIPIENT
