"""How many connections, how fast, and from where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from djwsbridge.engine.memory import MemoryBus, MemoryEngine
from djwsbridge.presence import Snapshot
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.server import Limits, ServerProtocol
from djwsbridge.runtime import Runtime
from djwsbridge.transport import admission as module
from djwsbridge.transport.admission import (
    Admission,
    address_of,
    admission_of,
    count_everywhere,
    count_guess,
    count_send,
    count_soon,
    is_over_share,
)
from djwsbridge.transport.auth.identity import refusal


class Place:
    """A connection, as far as places go."""

    def __init__(self, *, answers: bool = True, is_closing: bool = False) -> None:
        self.protocol = ServerProtocol(PlainDialect(), Limits(), now=0.0)
        self.is_closing = is_closing
        self.is_busy = False
        self.answers = answers

    def ask_for_life(self) -> bool:
        if self.answers:
            self.protocol.last_seen = asyncio.get_running_loop().time()
        return True

    def close(self, reason: CloseConnection) -> None:
        self.is_closing = True


async def test_h25_the_eleventh_living_connection_of_a_user_is_refused() -> None:
    admission, first = Admission(), [Place() for _ in range(10)]
    assert all([await admission.admit_user("7", place) for place in first])
    assert not await admission.admit_user("7", Place())
    assert await admission.admit_user("8", Place())
    admission.leave_user("7", first[3])
    assert await admission.admit_user("7", Place())
    assert not await admission.admit_user("7", Place())


async def test_h25_the_51st_living_connection_of_an_address_is_refused_behind_a_known_proxy(
    settings: Any,
) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["10.0.0.0/8"]
    admission, first = Admission(), [Place() for _ in range(50)]
    assert all([await admission.admit_address("1.2.3.4", place) for place in first])
    assert not await admission.admit_address("1.2.3.4", Place())
    assert await admission.admit_address("1.2.3.5", Place())
    admission.leave_address("1.2.3.4", first[0])
    assert await admission.admit_address("1.2.3.4", Place())


async def test_a_place_is_given_back_once(settings: Any) -> None:
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 2
    admission, first, second = Admission(), Place(), Place()
    assert await admission.admit_user("7", first)
    assert await admission.admit_user("7", second)
    admission.leave_user("7", first)
    admission.leave_user("7", first)
    assert admission._users.counts == {"7": 1}


async def test_a_connection_that_left_while_others_were_asked_makes_room(settings: Any) -> None:
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = 1
    admission, first = Admission(), Place(answers=False)
    assert await admission.admit_user("7", first)
    asyncio.get_running_loop().call_soon(admission.leave_user, "7", first)
    assert await admission.admit_user("7", Place())
    assert not first.is_closing


async def test_addresses_are_not_counted_behind_an_unknown_proxy() -> None:
    admission = Admission()
    assert all([await admission.admit_address("10.0.0.1", Place()) for _ in range(500)])
    assert not admission._addresses.counts


async def test_a_limit_can_be_lifted(settings: Any) -> None:
    settings.DJWSBRIDGE_CONNECTIONS_PER_USER = None
    admission = Admission()
    assert all([await admission.admit_user("7", Place()) for _ in range(100)])


async def test_who_has_left_is_forgotten() -> None:
    admission = Admission()
    for user in range(100):
        place = Place()
        await admission.admit_user(str(user), place)
        admission.leave_user(str(user), place)
    admission.leave_user("never came", Place())
    assert not admission._users.counts


def test_x1_the_21st_message_in_ten_seconds_waits() -> None:
    admission = Admission()
    assert [admission.sends_of("7").add(number / 10) for number in range(20)] == [0.0] * 20
    assert admission.sends_of("7").add(2.0) == pytest.approx(8.0)
    assert admission.sends_of("8").add(2.0) == 0.0
    assert admission.sends_of("7").add(10.0) == 0.0
    assert admission.sends_of("7").add(10.0) == pytest.approx(0.1)


def test_h8_the_21st_guess_in_a_minute_waits() -> None:
    admission = Admission()
    assert not any(admission.count_guess("1.2.3.4", now=1.0) for _ in range(20))
    assert admission.count_guess("1.2.3.4", now=2.0) == pytest.approx(59.0)
    assert not admission.count_guess("1.2.3.5", now=2.0)


async def test_only_a_credential_that_was_never_good_is_a_guess() -> None:
    node = Runtime()
    for code in (ErrorCode.TICKET_EXPIRED, ErrorCode.TICKET_USED, ErrorCode.TOKEN_EXPIRED):
        assert not any(count_guess(node, "1.2.3.4", refusal(code)) for _ in range(30))
    forbidden = refusal(ErrorCode.FORBIDDEN, CloseCode.FORBIDDEN)
    assert not any(count_guess(node, "1.2.3.4", forbidden) for _ in range(30))
    waits = [count_guess(node, "1.2.3.4", refusal(ErrorCode.TOKEN_INVALID)) for _ in range(21)]
    assert [wait > 0 for wait in waits] == [False] * 20 + [True]
    assert admission_of(node) is admission_of(node)


def test_the_oldest_counters_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COUNTERS", 3)
    admission = Admission()
    for user in "abcd":
        admission.sends_of(user).add(1.0)
    assert list(admission._sends) == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4,", "10.0.0.1"),
        ("5.5.5.5", "1.2.3.4", "5.5.5.5"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_h24_the_address_is_as_far_as_the_proxies_are_known(
    settings: Any, peer: str, forwarded: str | None, expected: str
) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["10.0.0.0/8", "fd00::/8"]
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    assert address_of({"client": (peer, 1), "headers": headers}) == expected


def test_h24_lines_of_the_header_are_one_list(settings: Any) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["10.0.0.1"]
    headers = [(b"x-forwarded-for", line) for line in (b"6.6.6.6", b"203.0.113.9")]
    assert address_of({"client": ("10.0.0.1", 1), "headers": headers}) == "203.0.113.9"


def test_a_network_may_be_named_by_any_of_its_addresses(settings: Any) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["10.0.0.7/8"]
    scope = {"client": ("10.1.2.3", 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}
    assert address_of(scope) == "203.0.113.9"


@pytest.mark.parametrize("client", [None, ("", 0), ("unix", 0)])
def test_a_peer_without_an_address_is_no_proxy(settings: Any, client: object) -> None:
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["10.0.0.0/8"]
    scope = {"client": client, "headers": [(b"x-forwarded-for", b"1.2.3.4")]}
    assert address_of(scope) in ("", "unix")


def test_h24_without_known_proxies_the_header_is_not_read() -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"1.2.3.4")]}
    assert address_of(scope) == "10.0.0.1"


class SharedEngine(MemoryEngine):
    """Counts over all nodes, like Redis, and can be out of reach."""

    counts = True

    def __init__(self) -> None:
        super().__init__(MemoryBus())
        self.total: int | None = 0

    async def count(self, key: str, *, seconds: float) -> int | None:
        assert key == "sends:7"
        assert seconds == 10.0
        self.total = None if self.total is None else self.total + 1
        return self.total


async def test_a_limit_is_shared_by_all_nodes_where_the_engine_counts():
    engine = SharedEngine()
    node = Runtime(engine)
    engine.total = 18  # sent on other nodes
    assert [await count_everywhere(node, "7", now=0.0) for _ in range(2)] == [0.0, 0.0]
    assert await count_everywhere(node, "7", now=0.0) == 10.0


async def test_who_keeps_to_the_share_of_a_node_waits_for_no_count_and_is_counted_all_the_same():
    engine = SharedEngine()
    node = Runtime(engine)
    node.presence.hear_snapshot(Snapshot("other", 1, []), now=0.0)  # two nodes: ten messages each
    sends = admission_of(node).sends_of("7")
    for number in range(10):
        sends.add(float(number) / 10)
        assert not is_over_share(node, "7", now=1.0)
        count_soon(node, "7")
    assert engine.total == 0
    sends.add(1.0)
    assert is_over_share(node, "7", now=1.0)
    assert await count_everywhere(node, "7", now=1.0) == 0.0
    assert engine.total == 11  # those on their way came first
    assert not admission_of(node).counting
    assert not is_over_share(node, "7", now=10.5)  # the window has moved on


async def test_without_the_engine_every_node_keeps_to_its_share():
    engine = SharedEngine()
    engine.total = None
    node = Runtime(engine)
    for number in range(3):  # four nodes in all: five messages each
        node.presence.hear_snapshot(Snapshot(f"node-{number}", 1, []), now=0.0)
    waits = []
    for _ in range(6):
        admission_of(node).sends_of("7").add(0.0)
        waits.append(await count_everywhere(node, "7", now=0.0))
    assert waits == [0.0] * 5 + [10.0]


async def test_what_comes_by_http_is_counted_with_the_rest():
    engine = SharedEngine()
    node = Runtime(engine)
    for _ in range(19):
        admission_of(node).sends_of("7").add(node.loop.time())
    assert await count_send(node, "7") == 0.0
    assert await count_send(node, "7") > 0.0
    engine.total = 20  # sent on other nodes
    admission_of(node)._sends.clear()
    assert await count_send(node, "7") == 10.0
