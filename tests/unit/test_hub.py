"""This node's registry of subscriptions."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.hub import Hub
from djwsbridge.protocol.codec import Codec, encode_push
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.server import Dialect

V1 = Codec([Heartbeat])
PLAIN = PlainDialect()
SIGNAL = encode_push("signal", topic="user.7", data={"n": 1})


class Reader:
    """A subscriber that keeps what it gets."""

    def __init__(self, dialect: Dialect = V1) -> None:
        self.dialect = dialect
        self.got: list[str] = []

    def push(self, text: str) -> None:
        self.got.append(text)


class CountingDialect(PlainDialect):
    """Counts how often a push is written."""

    def __init__(self) -> None:
        self.written = 0

    def encode_push(self, text: str) -> str | None:
        self.written += 1
        return super().encode_push(text)


class BrokenDialect(PlainDialect):
    def encode_push(self, text: str) -> str | None:
        raise ValueError("cannot")

    def encode_error(self, error: CommandError) -> str:
        return ""


def test_a_push_reaches_every_subscriber_of_its_topic_and_nobody_else() -> None:
    hub, one, two, other = Hub(), Reader(), Reader(), Reader()
    hub.add("user.7", one)
    hub.add("user.7", two)
    hub.add("user.8", other)
    hub.deliver("user.7", SIGNAL)
    assert (one.got, two.got, other.got) == ([SIGNAL], [SIGNAL], [])


def test_a_push_without_subscribers_is_nothing() -> None:
    Hub().deliver("user.7", SIGNAL)


def test_twice_subscribed_is_once() -> None:
    hub, reader = Hub(), Reader()
    hub.add("user.7", reader)
    hub.add("user.7", reader)
    hub.deliver("user.7", SIGNAL)
    assert reader.got == [SIGNAL]
    hub.remove("user.7", reader)
    assert "user.7" not in hub


def test_what_is_removed_gets_nothing_more() -> None:
    hub, one, two = Hub(), Reader(), Reader()
    hub.add("user.7", one)
    hub.add("user.7", two)
    hub.remove("user.7", one)
    hub.deliver("user.7", SIGNAL)
    assert (one.got, two.got) == ([], [SIGNAL])


def test_to_remove_what_is_not_there_is_harmless() -> None:
    hub, reader = Hub(), Reader()
    hub.remove("user.7", reader)
    hub.add("user.7", reader)
    hub.remove("user.7", Reader())
    hub.remove("user.7", Reader(PLAIN))
    assert list(hub.subscribers("user.7")) == [reader]


def test_each_dialect_gets_its_own_text() -> None:
    hub, modern, seed = Hub(), Reader(V1), Reader(PLAIN)
    hub.add("user.7", modern)
    hub.add("user.7", seed)
    hub.deliver("user.7", SIGNAL)
    assert (modern.got, seed.got) == ([SIGNAL], ['{"n":1}'])


def test_a_push_that_a_dialect_does_not_know_is_not_sent_there() -> None:
    hub, modern, seed = Hub(), Reader(V1), Reader(PLAIN)
    hub.add("room.1", modern)
    hub.add("room.1", seed)
    text = encode_push("message.sent", topic="room.1", seq=1, data={})
    hub.deliver("room.1", text)
    assert (modern.got, seed.got) == ([text], [])


def test_a_push_is_written_once_per_dialect_however_many_read_it() -> None:
    hub, dialect = Hub(), CountingDialect()
    readers = [Reader(dialect) for _ in range(50)]
    for reader in readers:
        hub.add("user.7", reader)
    hub.deliver("user.7", SIGNAL)
    assert dialect.written == 1
    assert len({id(reader.got[0]) for reader in readers}) == 1


def test_a_dialect_that_fails_does_not_keep_the_others_from_reading(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, broken, modern = Hub(), Reader(BrokenDialect()), Reader(V1)
    hub.add("user.7", broken)
    hub.add("user.7", modern)
    with caplog.at_level(logging.ERROR, "djwsbridge.hub"):
        hub.deliver("user.7", SIGNAL)
    assert modern.got == [SIGNAL]
    assert "user.7" in caplog.text


def test_the_hub_may_change_while_it_delivers() -> None:
    hub, late = Hub(), Reader()

    class Leaver(Reader):
        def push(self, text: str) -> None:
            super().push(text)
            hub.remove("user.7", self)
            hub.add("user.7", late)

    leavers = [Leaver() for _ in range(3)]
    for leaver in leavers:
        hub.add("user.7", leaver)
    hub.deliver("user.7", SIGNAL)
    assert [leaver.got for leaver in leavers] == [[SIGNAL]] * 3
    assert list(hub.subscribers("user.7")) == [late]


def test_subscribers_are_in_order_of_subscription_within_a_dialect() -> None:
    hub = Hub()
    readers = [Reader() for _ in range(5)]
    for reader in readers:
        hub.add("user.7", reader)
    assert list(hub.subscribers("user.7")) == readers


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 2), st.integers(0, 3)))
)
def test_the_hub_is_what_was_added_and_not_removed(steps: list[tuple[str, int, int]]) -> None:
    hub = Hub()
    readers = [Reader(V1), Reader(V1), Reader(PLAIN), Reader(PLAIN)]
    expected: dict[str, set[Reader]] = {}
    for verb, topic_number, number in steps:
        topic, reader = f"room.{topic_number}", readers[number]
        if verb == "add":
            hub.add(topic, reader)
            expected.setdefault(topic, set()).add(reader)
        else:
            hub.remove(topic, reader)
            expected.get(topic, set()).discard(reader)
    held = {topic: people for topic, people in expected.items() if people}
    assert set(hub.topics()) == set(held)
    for topic, people in held.items():
        assert topic in hub
        assert set(hub.subscribers(topic)) == people
