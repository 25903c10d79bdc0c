"""What a user may send, and what a developer may change about it; without sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from djwsbridge import runtime
from djwsbridge.consumers import DONE, UserConsumer, send_to_user
from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.people import FRESH, People
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import PlainMessage, SendToUser
from djwsbridge.transport.admission import SEARCHES, admission_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

Pushes = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def pushes(monkeypatch: pytest.MonkeyPatch) -> Pushes:
    """Collect what is handed to the engine: (topic, data)."""
    collected: Pushes = []

    def hand_over_all(pushed: Sequence[tuple[str, str]]) -> None:
        collected.extend((topic, json.loads(text)["data"]) for topic, text in pushed)

    monkeypatch.setattr(runtime, "hand_over_all", hand_over_all)
    return collected


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


class Node:
    """What a consumer needs of a node."""

    def __init__(self) -> None:
        self.people: People[User] = People()
        self.loop = SimpleNamespace(time=time.monotonic)
        self.engine = MemoryEngine(MemoryBus())


def consumer_of(user: User, kind: type[UserConsumer] = UserConsumer) -> UserConsumer:
    node = Node()
    connection: Any = SimpleNamespace(
        user=user,
        user_key=str(user.pk),
        admission=admission_of(node),  # type: ignore[arg-type]
        user_topic=f"user.{user.pk}",
        scope={"path": "/ws/bridge/"},
        runtime=node,
    )
    return kind(connection)


def message(**frame: Any) -> PlainMessage:
    """Return a frame of the plain dialect as its decoder leaves it."""
    body = frame.get("content", frame.get("message"))
    return PlainMessage(
        frame=frame, type=frame.get("type"), body=body, recipient=frame.get("recipient")
    )


async def test_a_message_goes_to_both(alice: User, bob: User, pushes: Pushes) -> None:
    frame = {"type": "text", "message": "hello", "recipient": bob.pk}
    await consumer_of(alice).receive(message(**frame))
    data = {**frame, "sender": alice.pk}
    assert sorted(pushes) == [(f"user.{alice.pk}", data), (f"user.{bob.pk}", data)]


async def test_the_sender_is_the_connected_user_whoever_made_the_frame(
    alice: User, bob: User, pushes: Pushes
) -> None:
    await consumer_of(alice).receive(message(content="x", recipient=bob.pk, sender=bob.pk))
    assert [data["sender"] for _, data in pushes] == [alice.pk, alice.pk]


async def test_a_note_to_self_arrives_once(alice: User, pushes: Pushes) -> None:
    await consumer_of(alice).receive(message(content="note", recipient=alice.pk))
    assert [topic for topic, _ in pushes] == [f"user.{alice.pk}"]


@pytest.mark.parametrize(
    ("allowed", "type", "code"),
    [
        (None, "anything", None),
        (None, None, None),
        (["text"], "text", None),
        (["text"], "image", "unknown_type"),
        (["text"], None, "unknown_type"),
    ],
)
async def test_types_may_be_limited(
    alice: User,
    pushes: Pushes,
    settings: Any,
    allowed: list[str] | None,
    type: str | None,
    code: str | None,
) -> None:
    settings.DJWSBRIDGE_ALLOWED_TYPES = allowed
    consumer = consumer_of(alice)
    if code is None:
        await consumer.receive(message(type=type, content="x"))
        assert len(pushes) == 1
    else:
        with pytest.raises(CommandError, match=code):
            await consumer.receive(message(type=type, content="x"))
        assert pushes == []


def inactive(bob: User) -> object:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    return bob.pk


RECIPIENTS: dict[str, Callable[[User], object]] = {
    "unknown": lambda _: 2**40,
    "huge": lambda _: 2**53 - 1,
    "uuid": lambda _: "00000000-0000-4000-8000-000000000000",
    "inactive": inactive,
}


@pytest.mark.parametrize("make", RECIPIENTS.values(), ids=RECIPIENTS.keys())
async def test_all_bad_recipients_look_alike(
    alice: User, bob: User, pushes: Pushes, make: Callable[[User], object]
) -> None:
    recipient = await sync_to_async(make)(bob)
    with pytest.raises(CommandError) as refused:
        await consumer_of(alice).receive(message(content="x", recipient=recipient))
    assert str(refused.value).startswith("bad_recipient")
    assert refused.value.details == {}
    assert pushes == []


async def test_a_derived_class_decides_who_may_write(
    alice: User, bob: User, pushes: Pushes
) -> None:
    class Hermit(UserConsumer):
        def may_write(self, recipient: Any) -> bool:
            return bool(recipient == self.user)

    with pytest.raises(CommandError, match="bad_recipient"):
        await consumer_of(alice, Hermit).receive(message(content="x", recipient=bob.pk))
    await consumer_of(alice, Hermit).receive(message(content="x", recipient=alice.pk))
    assert [topic for topic, _ in pushes] == [f"user.{alice.pk}"]


async def test_a_message_that_cannot_be_stored_is_not_pushed(
    alice: User, bob: User, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(UserConsumer):
        def store(self, message: PlainMessage, recipient: Any) -> object:
            raise RuntimeError("disk full")

    monkeypatch.setattr("djwsbridge.store.is_on", lambda: True)
    with pytest.raises(RuntimeError):
        await consumer_of(alice, Broken).receive(message(content="x", recipient=bob.pk))
    assert pushes == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [({"recipient": 1}, "bad_field"), ({"content": "x"}, "bad_recipient")],
    ids=["no-body", "no-recipient"],
)
async def test_what_is_stored_has_a_body_and_a_recipient(
    alice: User, pushes: Pushes, monkeypatch: pytest.MonkeyPatch, frame: Any, code: str
) -> None:
    monkeypatch.setattr("djwsbridge.store.is_on", lambda: True)
    frame = {key: alice.pk if key == "recipient" else value for key, value in frame.items()}
    with pytest.raises(CommandError, match=code):
        await consumer_of(alice).receive(message(**frame))
    assert pushes == []


@pytest.mark.parametrize("stores", [False, True], ids=["push", "store"])
async def test_a_message_that_is_too_large_to_be_pushed_is_refused_and_not_stored(
    alice: User,
    bob: User,
    pushes: Pushes,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stores: bool,
) -> None:
    stored: list[Any] = []

    class Keeper(UserConsumer):
        def store(self, message: PlainMessage, recipient: Any) -> object:
            stored.append(message.frame["numbers"])
            return message

    monkeypatch.setattr("djwsbridge.store.is_on", lambda: stores)
    settings.DJWSBRIDGE_PAYLOAD_BYTES = 1_000
    consumer = consumer_of(alice, Keeper)
    # Each number takes 4 bytes in the client's frame and 18 in the push.
    numbers = [float("1e15")] * 60
    for recipient in [bob.pk] if stores else [None, bob.pk]:
        with pytest.raises(CommandError) as caught:
            await consumer.receive(message(content="x", recipient=recipient, numbers=numbers))
        assert (caught.value.code, caught.value.details) == ("too_large", {"limit": 1_000})
    assert (stored, pushes) == ([], [])
    await consumer.receive(message(content="x", recipient=bob.pk, numbers=numbers[:40]))
    assert len(stored) == stores
    connection: Any = SimpleNamespace(consumer=consumer)
    command = SendToUser(id=1, recipient=bob.pk, content="x" * 1_001)
    with pytest.raises(CommandError, match="too_large"):
        await send_to_user(connection, command)  # to one who is known by now
    assert len(pushes) == 2
    assert len(stored) == stores


@pytest.mark.parametrize("as_text", [False, True], ids=["int", "string"])
async def test_v1_sends_the_same_way(
    alice: User,
    bob: User,
    pushes: Pushes,
    as_text: bool,  # noqa: FBT001
) -> None:
    connection: Any = SimpleNamespace(consumer=consumer_of(alice))
    recipient: Any = str(bob.pk) if as_text else bob.pk
    command = SendToUser(id=1, recipient=recipient, content="hello")
    await send_to_user(connection, command)
    data = {"type": "text", "content": "hello", "recipient": recipient, "sender": alice.pk}
    assert sorted(topic for topic, _ in pushes) == sorted([f"user.{alice.pk}", f"user.{bob.pk}"])
    assert all(pushed == data for _, pushed in pushes)


@pytest.mark.parametrize(
    ("recipient", "content", "code"),
    [("bob", "x", "bad_recipient"), (1, " ", "empty_body"), (1, "x" * 8_001, "too_large")],
)
async def test_v1_checks_what_the_plain_dialect_checks(
    alice: User, pushes: Pushes, recipient: Any, content: str, code: str
) -> None:
    connection: Any = SimpleNamespace(consumer=consumer_of(alice))
    with pytest.raises(CommandError, match=code):
        await send_to_user(connection, SendToUser(id=1, recipient=recipient, content=content))
    assert pushes == []


def test_a_consumer_knows_its_scope_and_does_nothing_by_itself(alice: User) -> None:
    consumer = consumer_of(alice)
    assert consumer.scope["path"] == "/ws/bridge/"
    assert consumer.plain_dialect() is UserConsumer.plain_dialect()


async def test_who_was_written_to_a_moment_ago_costs_no_query(
    alice: User, bob: User, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = consumer_of(alice)
    await consumer.receive(message(content="first", recipient=bob.pk))

    def refuse(_: object) -> None:
        raise AssertionError("nobody is looked up again")

    monkeypatch.setattr("djwsbridge.store.find_user", refuse)
    assert consumer.receive(message(content="second", recipient=bob.pk)) is DONE
    assert [data["content"] for _, data in pushes] == ["first"] * 2 + ["second"] * 2
    # Until the user changes, and at the latest after half a minute.
    people: People[User] = consumer.connection.runtime.people
    now = time.monotonic()
    assert people.get(str(bob.pk), now=now + FRESH) is None
    people.forget(str(bob.pk), now=now)
    with pytest.raises(AssertionError):
        await consumer.receive(message(content="third", recipient=bob.pk))


async def test_a_class_that_decides_who_may_write_is_asked_each_time(
    alice: User, bob: User, pushes: Pushes
) -> None:
    asked = []

    class Careful(UserConsumer):
        def may_write(self, recipient: Any) -> bool:
            asked.append(recipient.pk)
            return len(asked) < 2

    consumer = consumer_of(alice, Careful)
    await consumer.receive(message(content="first", recipient=bob.pk))
    with pytest.raises(CommandError, match="bad_recipient"):
        await consumer.receive(message(content="second", recipient=bob.pk))
    assert asked == [bob.pk, bob.pk]
    assert len(pushes) == 2


async def refusal_of(consumer: UserConsumer, **frame: Any) -> CommandError:
    with pytest.raises(CommandError) as refused:
        await consumer.receive(message(content="x", **frame))
    return refused.value


async def test_who_has_looked_for_too_many_in_vain_is_told_the_same_of_everybody(
    alice: User, bob: User, pushes: Pushes
) -> None:
    consumer = consumer_of(alice)
    await consumer.receive(message(content="x", recipient=bob.pk))
    pushes.clear()
    for number in range(SEARCHES.count):
        assert (await refusal_of(consumer, recipient=2**40 + number)).code == "bad_recipient"
    for recipient in (2**40, bob.pk, alice.pk):
        refused = await refusal_of(consumer, recipient=recipient)
        assert refused.code == "rate_limited"
        assert 0 < refused.details["retry_after_ms"] <= 60_001
    assert pushes == []
    await consumer.receive(message(content="for my own devices"))
    assert len(pushes) == 1


async def test_who_writes_to_people_that_exist_is_not_counted(
    alice: User, bob: User, pushes: Pushes
) -> None:
    consumer = consumer_of(alice)
    for _ in range(SEARCHES.count * 2):
        await consumer.receive(message(content="x", recipient=bob.pk))
    assert len(pushes) == SEARCHES.count * 4


async def test_misses_are_counted_over_all_nodes(
    alice: User, bob: User, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def count(_: object, key: str, *, seconds: float) -> int:
        asked.append((key, seconds))
        return SEARCHES.count + 1  # other nodes have counted the rest

    monkeypatch.setattr(MemoryEngine, "count", count)
    consumer = consumer_of(alice)
    for recipient in (2**40, bob.pk):
        assert (await refusal_of(consumer, recipient=recipient)).code == "rate_limited"
    assert asked == [(f"searches:{alice.pk}", SEARCHES.seconds)]
    assert pushes == []


@pytest.mark.parametrize("fault", ["inactive", "blocked"])
async def test_a_remembered_user_who_gets_nothing_is_looked_up_like_one_who_does_not_exist(
    alice: User, bob: User, pushes: Pushes, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    looked_up = []
    monkeypatch.setattr("djwsbridge.store.find_user", looked_up.append)
    consumer = consumer_of(alice)
    if fault == "inactive":
        bob.is_active = False
    else:
        bob.is_blocked = True  # type: ignore[attr-defined]
    consumer.connection.runtime.people.put(str(bob.pk), bob, asked_at=time.monotonic())
    for recipient in (bob.pk, 2**40):
        assert (await refusal_of(consumer, recipient=recipient)).code == "bad_recipient"
    assert looked_up == [bob.pk, 2**40]
