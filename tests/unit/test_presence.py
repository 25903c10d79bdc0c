"""Who is online, over several nodes whose messages get lost, come twice, or come late."""

from __future__ import annotations

from collections import Counter, deque

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from djwsbridge.presence import (
    BEAT_INTERVAL,
    LEASE,
    Beat,
    Change,
    Delta,
    News,
    Person,
    Presence,
    Question,
    Snapshot,
)

ALICE = Person(1, "alice")
BOB = Person("0b7ad1a5-6a5a-4c39-9a52-d9c2ce2b1f4e", "Bob")
ROOM = "room.1"

Message = Delta | Beat | Snapshot | Question


def hear(presence: Presence, message: Message, *, now: float) -> tuple[list[Change], list[Message]]:
    """Give one message to a node; returns the changes seen there and what it says in answer."""
    if isinstance(message, Question):
        asked = message.node in (None, presence.node)
        return [], [presence.snapshot()] if asked else []
    if message.node == presence.node:
        return [], []
    if isinstance(message, Delta):
        changes, question = presence.hear_delta(message, now=now)
    elif isinstance(message, Beat):
        changes, question = [], presence.hear_beat(message, now=now)
    else:
        return presence.hear_snapshot(message, now=now), []
    return changes, [question] if question else []


def tell(one: Presence, other: Presence, *, now: float = 0.0) -> list[Change]:
    """Carry the news of one node to another, and the answers back and forth; returns what is seen there."""
    seen: list[Change] = []
    delta = one.take_delta()
    waiting: deque[tuple[Presence, Message]] = deque([(other, delta)] if delta else [])
    while waiting:
        listener, message = waiting.popleft()
        changes, answers = hear(listener, message, now=now)
        speaker = one if listener is other else other
        waiting.extend((speaker, answer) for answer in answers)
        if listener is other:
            seen += changes
    return seen


# -- one node --------------------------------------------------------------------------------------------------------


def test_a_lease_makes_a_person_online() -> None:
    presence = Presence("a")
    assert presence.acquire(ROOM, ALICE) == [Change(ROOM, ALICE, online=True)]
    assert presence.online(ROOM) == [ALICE]
    assert presence.is_online(ROOM, 1)
    assert not presence.is_online("room.2", 1)
    assert not presence.is_online_elsewhere(ROOM, 1)
    assert presence.release(ROOM, ALICE) == [Change(ROOM, ALICE, online=False)]
    assert presence.online(ROOM) == []


def test_two_tabs_are_two_leases_of_one_person() -> None:
    presence = Presence("a")
    assert presence.acquire(ROOM, ALICE)
    assert presence.acquire(ROOM, ALICE) == []
    assert presence.release(ROOM, ALICE) == []
    assert presence.online(ROOM) == [ALICE]
    assert presence.release(ROOM, ALICE)


def test_to_give_back_what_nobody_holds_is_harmless() -> None:
    presence = Presence("a")
    assert presence.release(ROOM, ALICE) == []
    presence.acquire(ROOM, ALICE)
    assert presence.release(ROOM, BOB) == []
    assert presence.release("room.2", ALICE) == []


def test_the_list_is_by_name_whatever_the_case() -> None:
    presence = Presence("a")
    for person in (Person(3, "carol"), BOB, ALICE):
        presence.acquire(ROOM, person)
    assert [person.name for person in presence.online(ROOM)] == ["alice", "Bob", "carol"]


def test_coming_and_going_in_between_is_not_told() -> None:
    presence = Presence("a")
    presence.acquire(ROOM, ALICE)
    presence.release(ROOM, ALICE)
    assert presence.take_delta() is None
    presence.acquire(ROOM, ALICE)
    assert presence.take_delta() == Delta("a", 1, came=[(ROOM, ALICE)])
    presence.release(ROOM, ALICE)
    presence.acquire(ROOM, ALICE)
    assert presence.take_delta() is None
    presence.release(ROOM, ALICE)
    assert presence.take_delta() == Delta("a", 2, went=[(ROOM, ALICE)])


# -- two nodes -------------------------------------------------------------------------------------------------------


def test_a_person_on_another_node_is_online_here() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    assert tell(one, other) == [Change(ROOM, ALICE, online=True)]
    assert other.online(ROOM) == [ALICE]
    assert other.is_online_elsewhere(ROOM, 1)
    one.release(ROOM, ALICE)
    assert tell(one, other) == [Change(ROOM, ALICE, online=False)]
    assert other.online(ROOM) == []


def test_a_new_name_is_seen_everywhere() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    renamed = Person(ALICE.id, "alicia")
    changes = [Change(ROOM, ALICE, online=False), Change(ROOM, renamed, online=True)]
    assert one.rename(ROOM, renamed) == changes
    assert one.rename(ROOM, renamed) == one.rename("room.2", renamed) == []
    assert one.online(ROOM) == [renamed]
    assert one.take_delta() == Delta("a", 2, came=[(ROOM, renamed)], went=[(ROOM, ALICE)])
    one.rename(ROOM, ALICE)
    other.hear_snapshot(one.snapshot(), now=0.0)
    assert one.rename(ROOM, renamed)
    assert tell(one, other) == changes
    assert other.online(ROOM) == [renamed]
    assert one.release(ROOM, ALICE) == [Change(ROOM, renamed, online=False)]
    assert tell(one, other) == [Change(ROOM, renamed, online=False)]


def test_a_name_that_comes_and_goes_in_between_is_not_told() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    one.rename(ROOM, Person(ALICE.id, "alicia"))
    one.rename(ROOM, ALICE)
    assert one.take_delta() is None
    one.rename(ROOM, Person(ALICE.id, "alicia"))
    one.release(ROOM, ALICE)
    assert tell(one, other) == [Change(ROOM, ALICE, online=False)]


def test_who_comes_with_a_new_name_has_it_on_every_device() -> None:
    presence = Presence("a")
    presence.acquire(ROOM, ALICE)
    renamed = Person(ALICE.id, "alicia")
    assert presence.acquire(ROOM, renamed)[-1] == Change(ROOM, renamed, online=True)
    assert presence.release(ROOM, ALICE) == []
    assert presence.online(ROOM) == [renamed]


def test_a_person_on_two_nodes_comes_and_goes_once() -> None:
    one, other = Presence("a"), Presence("b")
    other.acquire(ROOM, ALICE)
    one.acquire(ROOM, ALICE)
    assert tell(one, other) == []
    assert tell(other, one) == []
    assert other.online(ROOM) == [ALICE]
    one.release(ROOM, ALICE)
    assert tell(one, other) == []
    assert other.release(ROOM, ALICE) == [Change(ROOM, ALICE, online=False)]


def test_a_delta_that_comes_twice_counts_once() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    one.release(ROOM, ALICE)
    delta = one.take_delta()
    assert delta is not None
    assert other.hear_delta(delta, now=1.0) == ([Change(ROOM, ALICE, online=False)], None)
    assert other.hear_delta(delta, now=1.0) == ([], None)


def test_a_lost_delta_is_found_by_the_next_one() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    one.acquire(ROOM, BOB)
    one.take_delta()  # lost
    one.release(ROOM, ALICE)
    delta = one.take_delta()
    assert delta is not None
    assert other.hear_delta(delta, now=1.0) == ([], Question("a"))
    changes = other.hear_snapshot(one.snapshot(), now=1.0)
    assert changes == [Change(ROOM, ALICE, online=False), Change(ROOM, BOB, online=True)]


def test_a_lost_delta_is_found_by_the_next_beat() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    assert other.hear_beat(one.beat(), now=1.0) is None
    one.release(ROOM, ALICE)
    one.take_delta()  # lost
    assert other.hear_beat(one.beat(), now=1.0) == Question("a")


def test_a_node_that_is_not_known_is_asked() -> None:
    one, other = Presence("a"), Presence("b")
    assert other.hear_beat(one.beat(), now=0.0) == Question("a")


def test_an_old_snapshot_or_beat_takes_nothing_back() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    old_beat, old = one.beat(), one.snapshot()
    other.hear_snapshot(old, now=0.0)
    one.acquire(ROOM, BOB)
    tell(one, other)
    assert other.hear_snapshot(old, now=0.0) == []
    assert other.hear_beat(old_beat, now=0.0) is None
    assert other.online(ROOM) == [ALICE, BOB]


def test_a_snapshot_holds_what_was_not_told_yet_and_then_it_is_told() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    snapshot = one.snapshot()
    assert snapshot == Snapshot("a", 1, [(ROOM, ALICE)])
    assert one.take_delta() is None
    other.hear_snapshot(snapshot, now=0.0)
    assert other.hear_beat(one.beat(), now=0.0) is None


def test_a_farewell_ends_all_leases_of_a_node_for_good() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other)
    late = one.beat()
    assert other.hear_snapshot(one.farewell(), now=0.0) == [Change(ROOM, ALICE, online=False)]
    assert other.hear_beat(late, now=0.0) is None


def test_a_crashed_node_is_forgotten_within_a_minute() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other, now=100.0)
    assert other.expire(now=100.0 + LEASE - 0.1) == []
    assert other.expire(now=100.0 + LEASE) == [Change(ROOM, ALICE, online=False)]
    assert LEASE + BEAT_INTERVAL < 60.0


def test_a_node_that_is_heard_from_lives_whatever_was_missed() -> None:
    one, other = Presence("a"), Presence("b")
    one.acquire(ROOM, ALICE)
    tell(one, other, now=0.0)
    one.acquire(ROOM, BOB)
    one.take_delta()  # lost
    assert other.hear_beat(one.beat(), now=30.0) == Question("a")  # and the answer is lost
    one.acquire("room.2", BOB)
    delta = one.take_delta()
    assert delta is not None
    assert other.hear_delta(delta, now=60.0) == ([], Question("a"))
    assert other.expire(now=60.0 + LEASE - 0.1) == []
    assert other.online(ROOM) == [ALICE]


@pytest.mark.parametrize(
    "message",
    [
        Delta("a", 1, came=[(ROOM, ALICE)], went=[(ROOM, BOB)]),
        Beat("a", 7),
        Snapshot("a", 7, [(ROOM, ALICE)]),
        Question(),
        Question("a"),
    ],
)
def test_what_nodes_say_survives_the_way(message: Message) -> None:
    decoder = msgspec.json.Decoder(Message)
    assert decoder.decode(msgspec.json.encode(message)) == message


# -- many nodes, bad links -------------------------------------------------------------------------------------------

PEOPLE = [Person(number, f"user{number}") for number in range(2)]
TOPICS = ["room.1", "room.2"]
numbers = st.integers(0, 2)
entries = st.tuples(st.sampled_from(TOPICS), st.sampled_from(PEOPLE))


class Cluster(RuleBasedStateMachine):
    """Nodes that come, crash and stop; links that lose, double and delay. After a calm while all see the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.made = 0
        self.names: dict[int | str, str] = {}
        self.alive: dict[str, Presence] = {}
        # What each node holds: the truth.
        self.held: dict[str, Counter[tuple[str, Person]]] = {}
        # What somebody who watches a node has seen so far.
        self.watched: dict[str, set[tuple[str, Person]]] = {}
        # Link → messages on their way, each link in order.
        self.links: dict[tuple[str, str], deque[Message]] = {}

    def say(self, speaker: str, message: Message) -> None:
        for listener in self.alive:
            self.links.setdefault((speaker, listener), deque()).append(message)

    def arrive(self, speaker: str, listener: str, message: Message) -> None:
        if listener in self.alive:
            changes, answers = hear(self.alive[listener], message, now=self.now)
            self.see(listener, changes)
            for answer in answers:
                self.say(listener, answer)

    def see(self, node: str, changes: list[Change]) -> None:
        for change in changes:
            entry = (change.topic, change.person)
            assert (entry in self.watched[node]) != change.online, "told what was known"
            (self.watched[node].add if change.online else self.watched[node].discard)(entry)

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.start()
        self.carry(["arrive"] * 60)

    @rule()
    @precondition(lambda self: len(self.alive) < 3)
    def start(self) -> None:
        self.made += 1
        node = f"node{self.made}"
        self.alive[node] = Presence(node)
        self.held[node], self.watched[node] = Counter(), set()
        self.say(node, Question())

    def node(self, number: int) -> str:
        return list(self.alive)[number % len(self.alive)]

    @rule(number=numbers, entry=entries, told=st.sampled_from([True, True, False]))
    def acquire(self, number: int, entry: tuple[str, Person], told: object) -> None:
        node = self.node(number)
        self.see(node, self.alive[node].acquire(entry[0], self.named(entry[1])))
        self.held[node][entry] += 1
        self.gossip(node, told)

    @rule(number=numbers, entry=entries, told=st.sampled_from([True, True, False]))
    def release(self, number: int, entry: tuple[str, Person], told: object) -> None:
        node = self.node(number)
        if self.held[node][entry]:
            self.see(node, self.alive[node].release(*entry))
            self.held[node][entry] -= 1
            self.gossip(node, told)

    @rule(person=st.sampled_from(PEOPLE), name=st.sampled_from(["user0", "ann", "ben"]))
    def rename(self, person: Person, name: str) -> None:
        """Every node reads the user again, each in its time; the gossip may come before or after."""
        self.names[person.id] = name
        for node, presence in self.alive.items():
            for topic in TOPICS:
                self.see(node, presence.rename(topic, self.named(person)))

    def named(self, person: Person) -> Person:
        return Person(person.id, self.names.get(person.id, person.name))

    def gossip(self, node: str, told: object) -> None:
        delta = self.alive[node].take_delta() if told else None
        if delta:
            self.say(node, delta)

    @rule(number=numbers)
    def beat(self, number: int) -> None:
        self.say(self.node(number), self.alive[self.node(number)].beat())

    @rule(
        fates=st.lists(
            st.sampled_from(["arrive"] * 4 + ["double", "lose", "lose"]), min_size=1, max_size=9
        )
    )
    def carry(self, fates: list[str]) -> None:
        for fate, (speaker, listener) in zip(fates, self.busy_links() * 9, strict=False):
            waiting = self.links[speaker, listener]
            message = waiting.popleft() if waiting else None
            for _ in range({"lose": 0, "arrive": 1, "double": 2}[fate]):
                if message:
                    self.arrive(speaker, listener, message)

    def busy_links(self) -> list[tuple[str, str]]:
        return [link for link, waiting in self.links.items() if waiting]

    @rule(number=numbers, fate=st.sampled_from(["live"] * 6 + ["stop", "crash"]))
    @precondition(lambda self: len(self.alive) > 1)
    def end(self, number: int, fate: str) -> None:
        node = self.node(number)
        if fate == "stop":
            self.say(node, self.alive[node].farewell())
        if fate != "live":
            del self.alive[node]

    @rule(seconds=st.floats(0.1, LEASE))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for node, presence in self.alive.items():
            self.see(node, presence.expire(now=self.now))

    @invariant()
    def who_watches_has_seen_what_is(self) -> None:
        for node, presence in self.alive.items():
            assert self.watched[node] == {
                (topic, person) for topic in TOPICS for person in presence.online(topic)
            }

    def teardown(self) -> None:
        """Let everything calm down: the links work, the living beat, the dead stay silent."""
        for _ in range(6):
            for node, presence in self.alive.items():
                delta = presence.take_delta()
                for message in (delta, presence.beat()):
                    if message:
                        self.say(node, message)
            while any(self.links.values()):
                for (speaker, listener), waiting in list(self.links.items()):
                    while waiting:
                        self.arrive(speaker, listener, waiting.popleft())
            self.wait(BEAT_INTERVAL)
        truth = {
            (topic, self.named(person))
            for node in self.alive
            for (topic, person), count in self.held[node].items()
            if count
        }
        for node in self.alive:
            assert self.watched[node] == truth
        self.who_watches_has_seen_what_is()


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


# -- news ------------------------------------------------------------------------------------------------------------


def came(number: int, topic: str = "room.1") -> Change:
    return Change(topic, Person(number, f"user{number}"), online=True)


def went(number: int) -> Change:
    return msgspec.structs.replace(came(number), online=False)


def test_news_is_told_once() -> None:
    news = News()
    news.add(came(1))
    news.add(came(1))
    assert news
    assert news.take(now=0.0, count=lambda _: 2) == [came(1)]
    assert not news
    assert news.take(now=100.0, count=lambda _: 2) == []


def test_who_came_and_went_or_the_reverse_is_no_news() -> None:
    news = News()
    for change in (came(1), went(1), went(2), came(2)):
        news.add(change)
    assert not news


def test_a_client_that_has_read_the_list_is_told_when_a_listed_change_is_undone() -> None:
    gone, back = Change("room.1", ALICE, online=False), Change("room.1", ALICE, online=True)
    presence = Presence("a")
    presence.news.add(gone)
    assert presence.online("room.1") == []
    presence.news.add(back)
    assert presence.take_news(now=0.0) == [back]
    presence.news.add(gone)
    presence.news.add(back)
    assert presence.take_news(now=100.0) == []


def test_in_a_large_room_news_is_gathered_for_longer() -> None:
    news = News()
    news.add(came(1))
    assert news.take(now=10.0, count=lambda _: 100) == [came(1)]
    for change in (came(2), went(1), came(3)):
        news.add(change)
    news.add(came(4, topic="room.2"))
    assert news.take(now=13.9, count=lambda _: 1) == [came(4, topic="room.2")]
    assert news.take(now=14.0, count=lambda _: 100) == [came(2), went(1), came(3)]


def test_a_room_that_has_rested_is_told_at_once() -> None:
    news = News()
    for now in (0.0, 10.0):
        news.add(came(1))
        assert news.take(now=now, count=lambda _: 100) == [came(1)]


def test_a_crowd_that_has_gone_is_waited_for_no_longer_than_a_large_room() -> None:
    news = News()
    news.add(came(1))
    news.take(now=0.0, count=lambda _: 10_000)
    news.add(went(1))
    assert news.take(now=8.0, count=lambda _: 2) == [went(1)]
