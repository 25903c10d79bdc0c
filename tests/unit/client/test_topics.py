"""Whatever the network does, the reader gets every event of a topic, in order and once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djwsbridge.client.actions import State
from djwsbridge.client.topics import HELD
from tests.unit.client.script import Driver

TOPIC = "room.42"
PAGE = 3  # events of one answer
NOT_FOUND = {"code": "not_found", "message": "Not found.", "retryable": False}
UNKNOWN = {"code": "unknown_type", "message": "Unknown.", "retryable": False}
BUSY = {"code": "busy", "message": "Busy.", "retryable": True}


def event(seq: int) -> dict[str, Any]:
    return {"push": "a", "topic": TOPIC, "seq": seq, "data": {}}


def logged(seq: int) -> dict[str, Any]:
    return {TOPIC: {"epoch": "e1", "seq": seq, "recovered": False}}


class Network:
    """A log of one topic, a client, and what is on its way to it."""

    def __init__(self, *, queue_limit: int) -> None:
        self.driver = Driver(ignore=("ack",), queue_limit=queue_limit)
        self.log = 0
        self.flying: list[int] = []
        self.seen: list[int] = []
        self.give({"do": "start"})
        self.come_back()

    def give(self, step: dict[str, Any]) -> None:
        for push in self.driver.give(step).get("pushes", []):
            self.seen.append(push["seq"])

    def publish(self) -> None:
        self.log += 1
        self.flying.append(self.log)

    def deliver(self, index: int) -> None:
        if self.flying and self.driver.core.state is State.ONLINE:
            self.give({"push": event(self.flying.pop(index % len(self.flying)))})

    def drop(self, index: int) -> None:
        if self.flying:
            self.flying.pop(index % len(self.flying))

    def repeat(self, seq: int) -> None:
        if self.log and self.driver.core.state is State.ONLINE:
            self.give({"push": event(seq % self.log + 1)})

    def tips(self) -> None:
        if self.driver.core.state is State.ONLINE:
            self.give({"push": {"push": "tips", "data": {TOPIC: self.log}}})

    def cut(self) -> None:
        self.flying.clear()
        self.give({"socket": "close"})

    def come_back(self) -> None:
        self.wait(30)
        if self.driver.core.state is not State.CONNECTING:
            return
        self.give({"socket": "open"})
        connect = next(each for each in self.driver._unanswered if each["cmd"] == "connect")
        cursor = connect.get("cursors", {}).get(TOPIC)
        if self.flying:  # subscribed first, read second
            self.give({"push": event(self.flying.pop())})
        self.give({"reply": "connect", "topics": {TOPIC: self.report(cursor)}})

    def answer(self) -> bool:
        """Answer one command; say whether there was one."""
        for command in self.driver._unanswered:
            if command["cmd"] == "topic.recover":
                report = self.report([command["epoch"], command["seq"]])
                self.give({"reply": "topic.recover", "ok": report})
                return True
            if command["cmd"] == "heartbeat":
                self.give({"reply": "heartbeat", "ok": {"tips": {TOPIC: self.log}}})
                return True
        return False

    def report(self, cursor: list[Any] | None) -> dict[str, Any]:
        epoch = "e1" if self.log else ""
        position = {"epoch": epoch, "seq": self.log}
        if cursor is None or cursor[0] != epoch:
            return {**position, "recovered": False}
        seqs = range(cursor[1] + 1, self.log + 1)
        events = [event(seq) for seq in seqs[:PAGE]]
        return {**position, "recovered": True, "events": events, "more": len(seqs) > PAGE}

    def wait(self, seconds: float) -> None:
        self.give({"at": round((self.driver.now + seconds) * 1000)})

    def heal(self) -> None:
        """Let everything that the client asks for come true."""
        self.driver.reads = True
        self.flying.clear()
        for _ in range(200):
            self.come_back()
            while self.answer():
                pass


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish"] * 4
            + ["deliver"] * 4
            + ["drop", "repeat", "tips", "cut", "come_back", "answer", "wait", "pause", "read"]
        ),
        st.integers(0, 20),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, queue_limit=st.integers(2, 20))
def test_every_event_once_and_in_order(steps: list[tuple[str, int]], queue_limit: int) -> None:
    network = Network(queue_limit=queue_limit)
    for name, number in steps:
        if name in ("pause", "read"):
            network.driver.reads = name == "read"
        elif name == "wait":
            network.wait(number / 10)
        elif name in ("deliver", "drop", "repeat"):
            getattr(network, name)(number)
        else:
            getattr(network, name)()
        assert network.seen == list(range(1, len(network.seen) + 1))
        assert network.driver.core.queue.cursors[TOPIC].seq == len(network.seen)
    network.heal()
    assert network.seen == list(range(1, network.log + 1))


def test_a_client_that_is_far_behind_takes_each_page_once_and_holds_few_live_events() -> None:
    missed, page, live_per_page = 40_000, 800, 20
    driver = Driver(ignore=("ack",), queue_limit=2_000, cursors={TOPIC: ("e1", 0)})
    driver.give({"do": "start"})
    driver.give({"socket": "open"})
    tip, seen, asked, most_held = missed, 0, 0, 0

    def give(step: dict[str, Any]) -> None:
        nonlocal seen
        for push in driver.give(step).get("pushes", []):
            assert push["seq"] == seen + 1
            seen += 1

    def report(after: int) -> dict[str, Any]:
        last = min(after + page, tip)
        events = [event(seq) for seq in range(after + 1, last + 1)]
        more = last < tip
        return {"epoch": "e1", "seq": tip, "recovered": True, "events": events, "more": more}

    give({"reply": "connect", "topics": {TOPIC: report(0)}})
    while questions := [each for each in driver._unanswered if each["cmd"] == "topic.recover"]:
        for _ in range(live_per_page):
            tip += 1
            give({"push": event(tip)})
        most_held = max(most_held, len(driver.core._topics._topics[TOPIC].held))
        (question,) = questions
        assert question["seq"] == seen
        asked += 1
        give({"reply": "topic.recover", "ok": report(question["seq"])})
    assert seen == tip
    assert asked <= tip // page + 2
    assert 100 < most_held <= HELD


@pytest.mark.parametrize("is_greeting", [False, True])
def test_a_push_of_a_new_topic_counts_when_it_is_read(*, is_greeting: bool) -> None:
    driver = Driver(ignore=("ack",))
    driver.reads = False
    if is_greeting:  # the server adds the topic while it answers `connect`
        driver.give({"do": "start"})
        driver.give({"socket": "open"})
        driver.give({"push": event(8)})
        driver.give({"reply": "connect", "topics": {}})
    else:
        driver.go_online()
        driver.give({"push": event(8)})
    report = {"epoch": "e1", "seq": 8, "recovered": False, "reason": "epoch_changed"}
    driver.give({"reply": "topic.recover", "ok": report})
    assert driver.core.queue.cursors == {TOPIC: ("e1", 7)}
    driver.read()
    assert driver.core.queue.cursors == {TOPIC: ("e1", 8)}


def test_a_topic_that_is_not_there_any_more_is_forgotten() -> None:
    driver = Driver(ignore=("ack",)).go_online(logged(5))
    driver.give({"push": event(7)})
    driver.give({"at": 200})
    driver.expect({"reply": "topic.recover", "error": NOT_FOUND, "expect": {}})
    assert driver.core.queue.cursors == {}


def test_a_server_that_cannot_recover_lets_what_it_sends_pass() -> None:
    driver = Driver(ignore=("ack",)).go_online(logged(5))
    driver.give({"push": event(7)})
    driver.give({"at": 200})
    driver.expect({"reply": "topic.recover", "error": UNKNOWN, "expect": {"pushes": [{"seq": 7}]}})
    driver.expect({"push": event(9), "expect": {"pushes": [{"seq": 9}]}})


def test_an_answer_that_cannot_be_read_counts_as_none() -> None:
    driver = Driver(ignore=("ack",)).go_online(logged(5))
    driver.give({"push": event(7)})
    driver.give({"at": 200})
    report = {"epoch": 1, "seq": []}
    driver.expect({"reply": "topic.recover", "ok": report, "expect": {"pushes": [{"seq": 7}]}})


def test_more_cursors_than_the_server_takes_are_asked_for_one_by_one() -> None:
    names = [f"room.{number}" for number in range(1, 203)]
    driver = Driver(ignore=("ack",), cursors=dict.fromkeys(names, ("e1", 5)))
    driver.give({"do": "start"})
    (connect,) = driver.give({"socket": "open"})["commands"]
    assert set(connect["cursors"]) == set(names[2:])
    told = {name: {"epoch": "e1", "seq": 5, "recovered": True} for name in names[2:]}
    told["room.1"] = {"epoch": "e1", "seq": 5, "recovered": False}
    told["room.2"] = {"epoch": "e1", "seq": 6, "recovered": False}
    question = {"cmd": "topic.recover", "topic": "room.2", "epoch": "e1", "seq": 5}
    driver.expect(
        {
            "reply": "connect",
            "topics": told,
            "expect": {"states": [{"state": "online"}], "commands": [question]},
        }
    )


def test_a_subscription_brings_the_topic_up_to_date() -> None:
    driver = Driver(ignore=("ack",), cursors={"stock.1": ("e1", 5)}).go_online()
    driver.core.request(1, "subscribe", {"topic": "stock.1"}, now=driver.now)
    question = {"cmd": "topic.recover", "topic": "stock.1", "epoch": "e1", "seq": 5}
    driver._collect()
    driver.expect({"reply": "subscribe", "ok": {}, "expect": {"commands": [question]}})
    assert driver.answers == {1: {}}
    driver.give({"socket": "close"})
    driver.give({"at": 1000})
    driver.give({"socket": "open"})
    asked = driver.give({"reply": "connect", "topics": {}})["commands"]
    assert asked == [{"cmd": "subscribe", "topic": "stock.1"}]
    driver.expect({"reply": "subscribe", "error": BUSY, "expect": {}})
    driver.expect({"at": 1250, "expect": {"commands": asked}})
    report = {"epoch": "e1", "seq": 6, "recovered": False}
    driver.expect({"reply": "subscribe", "ok": report, "expect": {"commands": [question]}})


def test_nothing_is_heard_of_a_topic_after_unsubscribing() -> None:
    driver = Driver(ignore=("ack",)).go_online(logged(5))
    driver.give({"push": event(7)})
    driver.give({"at": 200})
    driver.core.request(1, "unsubscribe", {"topic": TOPIC}, now=driver.now)
    driver._collect()
    driver.give({"reply": "unsubscribe", "ok": {}})
    report = {"epoch": "e1", "seq": 7, "recovered": True, "events": [event(6), event(7)]}
    driver.expect({"reply": "topic.recover", "ok": report, "expect": {}})
