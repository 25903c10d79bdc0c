"""Who has a live lease on which topic, over all nodes.

Each node knows the leases of its own connections for certain and tells the other nodes what changes: a delta with a
version, now and then a beat with the version alone. A node that misses a version, or meets a node it does not know,
asks that node for its whole table. A node that is not heard from for `LEASE` seconds has died, and what it held is
gone: nothing that means "now" outlives its holder (compare Phoenix.Presence, which keeps a CRDT for the same purpose).

No I/O and no clock: `Presence` is told what happened and returns what to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

__all__ = [
    "BEAT_INTERVAL",
    "LEASE",
    "Beat",
    "Change",
    "Delta",
    "News",
    "Person",
    "Presence",
    "Question",
    "Snapshot",
]

BEAT_INTERVAL = 10.0  # seconds between two signs of life of a node
TOLD_A_SECOND = 25.0  # readers of one topic who are told of comings and goings: of a large one they are gathered longer
LONGEST_REST = (
    8.0  # seconds; that of 200 people, beyond which nothing is pushed unless a project wants it
)
LEASE = 35.0  # seconds; three lost beats and some, so that a crash shows within 60 s

#: The id of a user in text, so that integer and UUID keys look alike.
UserKey = str


class Person(msgspec.Struct, frozen=True):
    """A user as others see them."""

    id: int | str
    name: str


class Change(msgspec.Struct, frozen=True):
    """Somebody came or went on a topic, as seen over all nodes."""

    topic: str
    person: Person
    online: bool


#: topic and person of a lease.
Entry = tuple[Annotated[str, msgspec.Meta(max_length=80)], Person]


class Delta(msgspec.Struct, frozen=True, tag="presence.delta"):
    """What changed on one node; its table is now at `version`."""

    node: str
    version: int
    came: list[Entry] = []
    went: list[Entry] = []


class Beat(msgspec.Struct, frozen=True, tag="presence.beat"):
    """A node lives, and its table is at `version`."""

    node: str
    version: int


class Snapshot(msgspec.Struct, frozen=True, tag="presence.snapshot"):
    """All that a node holds at `version`; a node that stops says so with an empty one."""

    node: str
    version: int
    entries: list[Entry]


class Question(msgspec.Struct, frozen=True, tag="presence.question"):
    """Ask one node, or all of them, for a snapshot."""

    node: str | None = None


@dataclass
class _Peer:
    """What is known of another node."""

    version: int
    heard: float  # seconds of the monotonic clock
    # topic → user → person
    table: dict[str, dict[UserKey, Person]] = field(default_factory=dict)

    def remove(self, topic: str, key: UserKey) -> Person | None:
        people = self.table.get(topic, {})
        person = people.pop(key, None)
        if not people:
            self.table.pop(topic, None)
        return person


class Presence:
    """The table of leases.

    Args:
        node: the id of this node.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.version = 0
        # topic → user → (person, number of connections here)
        self._own: dict[str, dict[UserKey, tuple[Person, int]]] = {}
        self._peers: dict[str, _Peer] = {}
        # What changed here and was not told yet.
        self._came: dict[tuple[str, UserKey], Person] = {}
        self._went: dict[tuple[str, UserKey], Person] = {}
        # What the connections here were not told yet.
        self.news = News()

    def online(self, topic: str) -> list[Person]:
        """Return who is online on a topic, each once, by name, for a client that follows the changes from here on."""
        self.news.note_seen(topic)
        people: dict[UserKey, Person] = {}
        for peer in reversed(self._peers.values()):
            people.update(peer.table.get(topic, {}))
        people.update((key, person) for key, (person, _) in self._own.get(topic, {}).items())
        return sorted(people.values(), key=lambda person: (person.name.casefold(), str(person.id)))

    def count(self, topic: str) -> int:
        """Return how many are online on a topic; who is so on several nodes may count several times."""
        here = len(self._own.get(topic, ()))
        return here + sum(len(peer.table.get(topic, ())) for peer in self._peers.values())

    def take_news(self, *, now: float) -> list[Change]:
        """Return what the connections here are to be told now."""
        return self.news.take(now=now, count=self.count)

    @property
    def nodes(self) -> int:
        """Return how many nodes are known, this one included."""
        return 1 + len(self._peers)

    def is_online(self, topic: str, user_id: object) -> bool:
        """Say whether a user has a lease on a topic."""
        return self._find(topic, str(user_id)) is not None

    def is_online_elsewhere(self, topic: str, user_id: object) -> bool:
        """Say whether a user has a lease on a topic on another node."""
        return any(str(user_id) in peer.table.get(topic, ()) for peer in self._peers.values())

    def acquire(self, topic: str, person: Person) -> list[Change]:
        """Take one lease for a connection of this node; returns the changes that everybody here sees."""
        key = str(person.id)
        _, count = self._own.get(topic, {}).get(key, (person, 0))
        return self._hold(topic, key, person, count + 1)

    def rename(self, topic: str, person: Person) -> list[Change]:
        """Give a user who has leases here another name; returns the changes that everybody here sees."""
        key = str(person.id)
        _, count = self._own.get(topic, {}).get(key, (person, 0))
        return self._hold(topic, key, person, count) if count else []

    def release(self, topic: str, person: Person) -> list[Change]:
        """Give one lease back; returns the changes that everybody here sees."""
        key = str(person.id)
        here = self._own.get(topic, {})
        if key not in here:
            return []
        known, count = here[key]
        if count > 1:
            here[key] = (known, count - 1)
            return []
        before = self._find(topic, key)
        del here[key]
        if not here:
            del self._own[topic]
        self._note(topic, key, known, came=False)
        return self._changes(topic, key, before)

    def _hold(self, topic: str, key: UserKey, person: Person, count: int) -> list[Change]:
        before = self._find(topic, key)
        here = self._own.setdefault(topic, {})
        known, _ = here.get(key, (None, 0))
        here[key] = (person, count)
        if known != person:
            if known is not None:
                self._note(topic, key, known, came=False)
            self._note(topic, key, person, came=True)
        return self._changes(topic, key, before)

    def take_delta(self) -> Delta | None:
        """Return what the other nodes have to be told since the last time, if anything."""
        if not self._came and not self._went:
            return None
        self.version += 1
        delta = Delta(
            self.node,
            self.version,
            came=[(topic, person) for (topic, _), person in self._came.items()],
            went=[(topic, person) for (topic, _), person in self._went.items()],
        )
        self._came.clear()
        self._went.clear()
        return delta

    def beat(self) -> Beat:
        """Return this node's sign of life."""
        return Beat(self.node, self.version)

    def snapshot(self) -> Snapshot:
        """Return all that this node holds, untold changes included."""
        self.take_delta()
        entries = [
            (topic, person) for topic, here in self._own.items() for person, _ in here.values()
        ]
        return Snapshot(self.node, self.version, entries)

    def farewell(self) -> Snapshot:
        """Return what a node says when it stops."""
        return Snapshot(self.node, self.version + 1, [])

    def hear_delta(self, delta: Delta, *, now: float) -> tuple[list[Change], Question | None]:
        """Take another node's delta; returns the changes seen here and what has to be asked."""
        peer = self._peers.get(delta.node)
        if peer is None:
            return [], Question(delta.node)
        if delta.version <= peer.version:
            return [], None
        peer.heard = now  # whatever was missed: it lives
        if delta.version > peer.version + 1:
            return [], Question(delta.node)
        peer.version = delta.version
        changes: list[Change] = []
        for topic, person in delta.went:
            key = str(person.id)
            before = self._find(topic, key)
            peer.remove(topic, key)
            changes += self._changes(topic, key, before)
        for topic, person in delta.came:
            key = str(person.id)
            before = self._find(topic, key)
            peer.table.setdefault(topic, {})[key] = person
            changes += self._changes(topic, key, before)
        return changes, None

    def hear_beat(self, beat: Beat, *, now: float) -> Question | None:
        """Take another node's sign of life; returns what has to be asked."""
        peer = self._peers.get(beat.node)
        if peer is None:
            return Question(beat.node)
        if beat.version < peer.version:
            return None
        peer.heard = now  # whatever was missed: it lives
        return None if beat.version == peer.version else Question(beat.node)

    def hear_snapshot(self, snapshot: Snapshot, *, now: float) -> list[Change]:
        """Take another node's whole table; returns the changes seen here."""
        peer = self._peers.setdefault(snapshot.node, _Peer(snapshot.version, now))
        if snapshot.version < peer.version:
            return []  # overtaken on its way by what is known already
        peer.version, peer.heard = snapshot.version, now
        table: dict[str, dict[UserKey, Person]] = {}
        for topic, person in snapshot.entries:
            table.setdefault(topic, {})[str(person.id)] = person
        return self._replace(peer, table)

    def expire(self, *, now: float) -> list[Change]:
        """Forget the nodes that have not been heard from; returns the changes seen here."""
        changes: list[Change] = []
        for node, peer in list(self._peers.items()):
            if now - peer.heard >= LEASE:
                changes += self._replace(peer, {})
                del self._peers[node]
        return changes

    def _note(self, topic: str, key: UserKey, person: Person, *, came: bool) -> None:
        """Remember a change for the next delta; coming and going in between cancel out, if the name is the same."""
        add, cancel = (self._came, self._went) if came else (self._went, self._came)
        if cancel.get((topic, key)) == person:
            del cancel[topic, key]
        else:
            add[topic, key] = person

    def _find(self, topic: str, key: UserKey) -> Person | None:
        """Return a user as everybody here sees them; None when they are not online. This node knows names best."""
        if key in self._own.get(topic, ()):
            return self._own[topic][key][0]
        tables = (peer.table.get(topic, {}) for peer in self._peers.values())
        return next((table[key] for table in tables if key in table), None)

    def _changes(self, topic: str, key: UserKey, before: Person | None) -> list[Change]:
        """Return what has changed for those who watch here; another name is another person who comes."""
        after = self._find(topic, key)
        if before == after:
            return []
        went = [] if before is None else [Change(topic, before, online=False)]
        return went if after is None else [*went, Change(topic, after, online=True)]

    def _replace(self, peer: _Peer, table: dict[str, dict[UserKey, Person]]) -> list[Change]:
        """Give a peer another table and return what that changes for those who watch here."""
        places = [(topic, key) for each in (peer.table, table) for topic, key, _ in _entries(each)]
        before = {place: self._find(*place) for place in places}
        peer.table = {topic: people for topic, people in table.items() if people}
        return [
            change for place, known in before.items() for change in self._changes(*place, known)
        ]


def _entries(
    table: dict[str, dict[UserKey, Person]],
) -> Iterable[tuple[str, UserKey, Person]]:
    for topic, people in table.items():
        for key, person in people.items():
            yield topic, key, person


class News:
    """Who came or went and was not told yet: gathered, so that whoever listens hears of all of them in one write.

    When everybody comes back at once, each of them is news for all who are there already: in a room of a hundred, ten
    thousand writes. So the more people a topic has, the longer it rests.
    """

    def __init__(self) -> None:
        # Topic → user → what waits to be told. With another name it is another user.
        self._waiting: dict[str, dict[Person, Change]] = {}
        # Topics whose list a client has read while changes waited: it has seen these changes.
        self._seen: set[str] = set()
        # Topic → until when nothing more is told on it.
        self._rests: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, change: Change) -> None:
        """Take a change; the opposite of one that waits undoes it, unless a client has seen that one in a list."""
        waiting = self._waiting.setdefault(change.topic, {})
        before = waiting.pop(change.person, None)
        is_seen = change.topic in self._seen
        if before is None or before.online == change.online or is_seen:
            waiting[change.person] = change
        elif not waiting:
            del self._waiting[change.topic]

    def note_seen(self, topic: str) -> None:
        """Note that a client reads who is online on a topic, with the changes that wait."""
        if topic in self._waiting:
            self._seen.add(topic)

    def take(self, *, now: float, count: Callable[[str], int]) -> list[Change]:
        """Return what is to be told now.

        Args:
            now: seconds of a monotonic clock.
            count: says how many people a topic has.
        """
        self._rests = {topic: until for topic, until in self._rests.items() if until > now}
        ready = [topic for topic in self._waiting if topic not in self._rests]
        for topic in ready:
            self._rests[topic] = now + min(LONGEST_REST, count(topic) / TOLD_A_SECOND)
        self._seen.difference_update(ready)
        return [change for topic in ready for change in self._waiting.pop(topic).values()]
