"""How many connections a user and an address may have on a node: a dead connection makes room for a living client.

A client that changes its network leaves connections behind that look open for up to a minute. So no client is refused
before the connections that hold the places were asked for a sign of life. Those that do not answer in time lose their
places, the longest silent one first. A connection that waits for this server, for a slow database, keeps its place.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.server import ServerProtocol

__all__ = ["Holder", "Seats"]

ANSWER_TIME = (
    3.0  # seconds for the answer to a ping; a round trip of a slow phone network, and some
)
LOOK_INTERVAL = 0.1  # seconds between two looks at who has answered


class Holder(Protocol):
    """What a connection needs to hold a place."""

    @property
    def is_closing(self) -> bool:
        """Say whether this side has begun to close it."""

    @property
    def protocol(self) -> ServerProtocol:
        """Return what knows when the client last gave a sign of life."""

    @property
    def is_busy(self) -> bool:
        """Say whether a frame of the client is carried out or waits: its sign of life may stand behind that frame."""

    def ask_for_life(self) -> bool:
        """Ask the client for a sign of life; return False where its dialect and its server have no way to ask."""

    def close(self, reason: CloseConnection) -> None:
        """End the connection."""


class Seats:
    """Who holds the places of each key: a user, or an address."""

    def __init__(self) -> None:
        # A tuple for each key, because nearly all of them hold one connection, and there may be tens of thousands.
        self._holders: dict[str, tuple[Holder, ...]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Return how many places of each key are taken."""
        return {key: len(holders) for key, holders in self._holders.items()}

    async def take(self, key: str, holder: Holder, *, limit: int | None, patience: float) -> bool:
        """Give a connection a place, if need be that of a dead one; return whether it has one.

        Args:
            key: of the user or the address.
            holder: the connection that wants a place.
            limit: how many places there are; None for no limit, and then nothing is noted.
            patience: seconds that the caller can wait, at most.
        """
        if limit is None or self._add(key, holder, limit):
            return True
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        asked = [one for one in self._of(key) if one.is_closing or one.ask_for_life()]
        deadline = asked_at + min(ANSWER_TIME, patience)
        while silent := [one for one in asked if self._is_silent(key, one, since=asked_at)]:
            if loop.time() >= deadline or any(one.is_closing for one in silent):
                self._clear_one(key, silent)
                return self._add(key, holder, limit)
            await asyncio.sleep(LOOK_INTERVAL)
            if self._add(key, holder, limit):
                return True
        return False

    def leave(self, key: str, holder: Holder) -> None:
        """Give a place back; does nothing for a connection that has none."""
        left = tuple(one for one in self._of(key) if one is not holder)
        if left:
            self._holders[key] = left
        else:
            self._holders.pop(key, None)

    def _of(self, key: str) -> tuple[Holder, ...]:
        return self._holders.get(key, ())

    def _add(self, key: str, holder: Holder, limit: int) -> bool:
        holders = self._of(key)
        if len(holders) >= limit:
            return False
        self._holders[key] = (*holders, holder)
        return True

    def _is_silent(self, key: str, holder: Holder, *, since: float) -> bool:
        """Say whether a connection still holds its place and has shown no sign of life."""
        is_mute = holder.protocol.last_seen < since and not holder.is_busy
        return (holder.is_closing or is_mute) and holder in self._of(key)

    def _clear_one(self, key: str, silent: list[Holder]) -> None:
        """Take the place of one connection: of one that ends anyway, else of the one that was silent for longest."""
        holder = min(silent, key=lambda one: (not one.is_closing, one.protocol.last_seen))
        self.leave(key, holder)
        if not holder.is_closing:
            # A client that lives after all comes back at once.
            error = CommandError(ErrorCode.BUSY, "No sign of life when another client came.")
            holder.close(CloseConnection(CloseCode.HEARTBEAT_LOST, error))
