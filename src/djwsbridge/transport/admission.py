"""How many connections a user and an address may have, and how fast they may go: counted per node."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.pages import ByteBudget
from djwsbridge.protocol.server import RateLimit, WindowCounter
from djwsbridge.runtime import Runtime
from djwsbridge.transport.seats import Holder, Seats

__all__ = [
    "Admission",
    "address_of",
    "admission_of",
    "count_everywhere",
    "count_guess",
    "count_search",
    "count_send",
    "count_soon",
    "counter_of",
    "is_over_share",
]

GUESSES = RateLimit(20, 60.0)  # credentials that were no good, per address
# People whom a user looks for in vain, or asks for over HTTP; more is a hunt for keys and names.
SEARCHES = RateLimit(30, 60.0)
MAX_COUNTERS = 100_000  # users or addresses that are remembered; beyond it the oldest are forgotten


class Admission:
    """The counters of one node."""

    def __init__(self) -> None:
        self._users = Seats()
        self._addresses = Seats()
        self._sends: dict[str, WindowCounter] = {}
        self._recoveries: dict[str, ByteBudget] = {}
        # Large pages of recoveries that are being read.
        self.large_pages = 0
        self._guesses: dict[str, WindowCounter] = {}
        self._searches: dict[str, WindowCounter] = {}
        # Users whose messages are being counted over all nodes, without anybody waiting for it.
        self.counting: dict[str, set[asyncio.Task[int | None]]] = {}
        self._handshakes = WindowCounter(RateLimit(*settings.HANDSHAKE_RATE))

    def admit_handshake(self, *, now: float) -> bool:
        """Count one more handshake, if it fits: after an outage everybody comes at once."""
        return self._handshakes.add(now) == 0.0

    async def admit_user(self, user_id: str, holder: Holder) -> bool:
        """Give a connection one of its user's places, if need be that of a dead one; return whether it has one."""
        limit, patience = settings.CONNECTIONS_PER_USER, settings.CONNECT_TIMEOUT / 2
        return await self._users.take(user_id, holder, limit=limit, patience=patience)

    async def admit_address(self, address: str, holder: Holder) -> bool:
        """Give a connection one of its address's places, as `admit_user` does.

        Addresses are only told apart when the proxies in front are known: behind an unknown proxy all clients seem to
        come from one address.
        """
        limit = settings.CONNECTIONS_PER_ADDRESS if settings.TRUSTED_PROXIES else None
        patience = settings.CONNECT_TIMEOUT / 2
        return await self._addresses.take(address, holder, limit=limit, patience=patience)

    def leave_user(self, user_id: str, holder: Holder) -> None:
        """Take back one `admit_user`."""
        self._users.leave(user_id, holder)

    def leave_address(self, address: str, holder: Holder) -> None:
        """Take back one `admit_address`."""
        self._addresses.leave(address, holder)

    def sends_of(self, user_id: str) -> WindowCounter:
        """Return what counts the messages of a user on this node."""
        return counter_of(self._sends, user_id, settings.send_limit)

    def recoveries_of(self, user_id: str) -> ByteBudget:
        """Return what counts the bytes that a user recovers on this node."""
        budget = self._recoveries.get(user_id)
        limit = settings.recovery_limit
        if budget is None or budget.limit != limit:
            _make_room(self._recoveries)
            budget = self._recoveries[user_id] = ByteBudget(limit)
        return budget

    def searches_of(self, user_id: str) -> WindowCounter:
        """Return what counts the people that a user looks for on this node."""
        return counter_of(self._searches, user_id, SEARCHES)

    def search_pause(self, user_id: str, *, now: float) -> float:
        """Return the seconds until a user may look for people again, 0.0 when they may; counts nothing."""
        counter = self._searches.get(user_id)
        return 0.0 if counter is None else counter.wait(now)

    def count_guess(self, address: str, *, now: float) -> float:
        """Count one credential that was no good; returns 0.0, or the seconds to wait."""
        return counter_of(self._guesses, address, GUESSES).add(now)


async def count_send(runtime: Runtime, user_id: str) -> float:
    """Count one message of a user that has come some other way than by a connection; returns as `count_everywhere`."""
    now = runtime.loop.time()
    wait = admission_of(runtime).sends_of(user_id).add(now)
    return wait or await count_everywhere(runtime, user_id, now=now)


async def count_everywhere(runtime: Runtime, user_id: str, *, now: float) -> float:
    """Count one message of a user, counted here already, over all nodes; returns 0.0, or the seconds to wait."""
    admission = admission_of(runtime)
    here = admission.sends_of(user_id)
    limit = here.limit
    if under_way := admission.counting.get(user_id):
        await asyncio.wait(under_way)
    total = await runtime.engine.count(f"sends:{user_id}", seconds=limit.seconds)
    if total is None and runtime.engine.counts:
        return limit.seconds if is_over_share(runtime, user_id, now=now) else 0.0
    return limit.seconds if total is not None and total > limit.count else 0.0


async def count_search(runtime: Runtime, user_id: str) -> float:
    """Count one person that a user looks for, here and over all nodes; returns 0.0, or the seconds to wait."""
    now = runtime.loop.time()
    counter = admission_of(runtime).searches_of(user_id)
    wait = counter.add(now)
    if wait:
        return wait
    total = await runtime.engine.count(f"searches:{user_id}", seconds=SEARCHES.seconds)
    if total is None or total <= SEARCHES.count:
        return 0.0
    counter.fill(now)  # what was found on other nodes in vain ends the search here as well
    return SEARCHES.seconds


def is_over_share(runtime: Runtime, user_id: str, *, now: float) -> bool:
    """Say whether a user has sent more here than this node's share of the limit.

    While nobody gets more than their share on any node, all nodes together keep the limit, and none has to ask.
    """
    here = admission_of(runtime).sends_of(user_id)
    return here.exceeds(max(1, here.limit.count // runtime.presence.nodes), now)


def count_soon(runtime: Runtime, user_id: str) -> None:
    """Count one message of a user, counted here already, over all nodes, and do not wait for it."""
    counting = admission_of(runtime).counting
    limit = settings.send_limit
    task = runtime.loop.create_task(runtime.engine.count(f"sends:{user_id}", seconds=limit.seconds))
    counting.setdefault(user_id, set()).add(task)

    def forget(task: asyncio.Task[int | None]) -> None:
        counting[user_id].discard(task)
        if not counting[user_id]:
            del counting[user_id]

    task.add_done_callback(forget)


def count_guess(runtime: Runtime, address: str, reason: CloseConnection) -> float:
    """Count a refused credential of an address if it was a guess; returns 0.0, or the seconds to wait.

    One that was good once (expired, used, its user not active) cannot be guessed and is not counted.
    """
    if reason.error.code is not ErrorCode.TOKEN_INVALID:
        return 0.0
    return admission_of(runtime).count_guess(address, now=runtime.loop.time())


_admissions: WeakKeyDictionary[Runtime, Admission] = WeakKeyDictionary()


def admission_of(runtime: Runtime) -> Admission:
    """Return the counters of a node."""
    admission = _admissions.get(runtime)
    if admission is None:
        admission = _admissions[runtime] = Admission()
    return admission


def address_of(scope: Mapping[str, Any]) -> str:
    """Return the address that a connection comes from, as far as it can be believed.

    `X-Forwarded-For` is read from the right, past the proxies of DJWSBRIDGE_TRUSTED_PROXIES, and not at all when the
    peer is none of them: anybody can write that header.
    """
    peer = str((scope.get("client") or ("", 0))[0])
    if not settings.TRUSTED_PROXIES:
        return peer
    # A proxy may write a line of its own below the client's: all of them are one list (RFC 9110, section 5.3).
    lines = [
        value.decode("latin-1")
        for name, value in scope.get("headers", ())
        if name == b"x-forwarded-for"
    ]
    forwarded = [part.strip() for part in ",".join(lines).split(",")]
    while _is_trusted(peer) and forwarded and forwarded[-1]:
        peer = forwarded.pop()
    return peer


def _is_trusted(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(
        parsed in ipaddress.ip_network(proxy, strict=False) for proxy in settings.TRUSTED_PROXIES
    )


def counter_of(counters: dict[str, WindowCounter], key: str, limit: RateLimit) -> WindowCounter:
    """Return what counts by a key; of more keys than are remembered, the oldest are forgotten."""
    counter = counters.get(key)
    # Nearly always the same object: to compare what they hold costs a message more than all else here.
    if counter is None or (counter.limit is not limit and counter.limit != limit):
        _make_room(counters)
        counter = counters[key] = WindowCounter(limit)
    return counter


def _make_room(counters: dict[str, Any]) -> None:
    """Forget the oldest when there are too many."""
    if len(counters) >= MAX_COUNTERS:
        del counters[next(iter(counters))]
