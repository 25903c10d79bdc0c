"""This node's registry of subscriptions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.hub import Hub
from djwsbridge.protocol.codec import Codec, encode_push
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import Heartbeat
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.server import Dialect
from djwsbridge.protocol.wire import text_frame

V1 = Codec([Heartbeat])
PLAIN = PlainDialect()
SIGNAL = encode_push("signal", topic="user.7", data={"n": 1})


class Reader:
    """A subscriber that keeps what it gets."""

    write: Any = None

    def __init__(self, dialect: Dialect = V1) -> None:
        self.dialect = dialect
        self.got: list[str] = []

    def push(self, text: str) -> None:
        self.got.append(text)


class FrameReader(Reader):
    """A subscriber that takes ready frames, as long as it wants to."""

    def __init__(self, dialect: Dialect = V1) -> None:
        super().__init__(dialect)
        # What was written to it, one item per write.
        self.written: list[bytes] = []
        self.write: Any = self.written.append


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


# -- ready frames -----------------------------------------------------------------------------------------------------


def pushes(count: int) -> list[str]:
    return [encode_push("signal", topic="user.7", data={"n": number}) for number in range(count)]


async def test_what_is_pushed_in_one_turn_leaves_in_one_write() -> None:
    hub, readers = Hub(), [FrameReader() for _ in range(3)]
    for reader in readers:
        hub.add("user.7", reader)
    texts = pushes(5)
    for text in texts:
        hub.deliver("user.7", text)
    assert [reader.written for reader in readers] == [[], [], []]
    await asyncio.sleep(0)
    assert all(
        reader.written == [b"".join(map(text_frame, texts))] and not reader.got
        for reader in readers
    )
    assert len({id(reader.written[0]) for reader in readers}) == 1


async def test_turns_and_topics_are_written_apart() -> None:
    hub, reader, (first, second) = Hub(), FrameReader(), pushes(2)
    hub.add("user.7", reader)
    hub.add("user.8", reader)
    hub.deliver("user.7", first)
    hub.deliver("user.8", second)
    await asyncio.sleep(0)
    hub.deliver("user.7", second)
    await asyncio.sleep(0)
    assert reader.written == [text_frame(text) for text in (first, second, second)]


async def test_who_comes_gets_nothing_of_before_and_who_goes_nothing_of_after() -> None:
    hub, first, second = Hub(), FrameReader(), FrameReader()
    one, two, three = pushes(3)
    hub.add("user.7", first)
    hub.deliver("user.7", one)
    hub.add("user.7", second)
    hub.deliver("user.7", two)
    hub.remove("user.7", first)
    hub.deliver("user.7", three)
    await asyncio.sleep(0)
    assert first.written == [text_frame(one), text_frame(two)]
    assert second.written == [text_frame(two), text_frame(three)]


async def test_what_one_reader_is_told_alone_leaves_with_what_is_pushed_to_it_and_before_it() -> (
    None
):
    hub, one, other = Hub(), FrameReader(), FrameReader()
    hub.add("user.7", one)
    hub.add("user.7", other)
    loop = asyncio.get_running_loop()
    loop.call_soon(
        hub.deliver, "user.7", SIGNAL
    )  # as an engine does with what was published before the answer
    hub.write_soon(one.write, b"answer ")
    hub.write_soon(one.write, b"and another ")
    for _ in range(3):
        await asyncio.sleep(0)
    assert one.written == [b"answer and another " + text_frame(SIGNAL)]
    assert other.written == [text_frame(SIGNAL)]


async def test_what_one_reader_is_told_alone_is_not_overtaken_when_somebody_comes() -> None:
    hub, one = Hub(), FrameReader()
    hub.add("user.7", one)
    hub.write_soon(one.write, b"answer ")
    hub.deliver("user.7", SIGNAL)
    hub.add("user.7", FrameReader())
    assert not one.written
    for _ in range(3):
        await asyncio.sleep(0)
    assert one.written == [b"answer " + text_frame(SIGNAL)]


async def test_very_much_is_not_kept_until_the_end_of_the_turn() -> None:
    hub, reader = Hub(), FrameReader()
    hub.add("user.7", reader)
    text = encode_push("signal", topic="user.7", data={"text": "x" * 200_000})
    hub.deliver("user.7", text)
    assert not reader.written
    hub.deliver("user.7", text)
    assert reader.written == [text_frame(text) * 2]


async def test_a_reader_that_becomes_slow_within_a_write_is_offered_texts_from_then_on() -> None:
    hub, quick = Hub(), FrameReader()

    class Slow(FrameReader):
        def fill(self, frames: bytes) -> None:
            self.written.append(frames)
            self.write = None
            hub.refresh("user.7", self)

    slow = Slow()
    slow.write = slow.fill
    hub.add("user.7", slow)
    hub.add("user.7", quick)
    one, two, three = pushes(3)
    hub.deliver("user.7", one)
    await asyncio.sleep(0)
    hub.deliver("user.7", two)
    await asyncio.sleep(0)
    assert (slow.written, slow.got) == ([text_frame(one)], [two])
    slow.write = slow.written.append
    hub.refresh("user.7", slow)
    hub.deliver("user.7", three)
    await asyncio.sleep(0)
    assert (slow.written, slow.got) == ([text_frame(one), text_frame(three)], [two])
    assert quick.written == [text_frame(text) for text in (one, two, three)]
    hub.refresh("user.8", slow)  # not there: nothing happens
    assert "user.8" not in hub


async def test_a_reader_that_becomes_slow_gets_what_waits_on_its_other_topics() -> None:
    hub, topics = Hub(), ("user.7", "room.5")

    class Slow(FrameReader):
        def fill(self, frames: bytes) -> None:
            self.written.append(frames)
            if self.write is not None:
                self.write = None
                for topic in topics:
                    hub.refresh(topic, self)

    slow, quick = Slow(), FrameReader()
    slow.write = slow.fill
    for topic in topics:
        hub.add(topic, slow)
        hub.add(topic, quick)
    one, two = pushes(2)
    hub.deliver("user.7", one)
    hub.deliver("room.5", two)
    await asyncio.sleep(0)
    assert slow.written == [text_frame(one), text_frame(two)]
    assert sorted(quick.written) == sorted(slow.written)  # topics have no order among them
    assert not slow.got


async def test_each_dialect_has_its_own_frames() -> None:
    hub, modern, seed, texts = Hub(), FrameReader(V1), FrameReader(PLAIN), Reader(V1)
    for reader in (modern, seed, texts):
        hub.add("user.7", reader)
    hub.deliver("user.7", SIGNAL)
    await asyncio.sleep(0)
    assert modern.written == [text_frame(SIGNAL)]
    assert seed.written == [text_frame('{"n":1}')]
    assert texts.got == [SIGNAL]
    assert set(hub.subscribers("user.7")) == {modern, seed, texts}
