"""The library's own client as a `Device` of a workload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Collection

from djwsbridge.client import (
    RESET,
    Client,
    CommandError,
    ConnectionLostError,
    Push,
    ReplyTimeoutError,
    State,
    StateChange,
    StoppedError,
)
from djwsbridge.testing.history import UserId
from djwsbridge.testing.workload import Journal

__all__ = ["ClientDevice"]

logger = logging.getLogger("djwsbridge.testing")

PAGE = 100  # messages read at once
EPOCH_CHANGED = "epoch_changed"


class ClientDevice:
    """One person with the library's client.

    Args:
        url: of the endpoint.
        token: who it is.
        rooms: what it shows.
        journal: whom it tells what happens.
        ticket: who it is, without a token: a function that gets a one-time ticket.
        open_timeout: seconds until `start` gives up with a `TimeoutError`.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        rooms: Collection[int],
        journal: Journal,
        *,
        ticket: Callable[[], str] | None = None,
        open_timeout: float = 30.0,
    ) -> None:
        self._rooms = rooms
        self._journal = journal
        self._client = Client(
            url, token=token, ticket=ticket, on_state=self._on_state, open_timeout=open_timeout
        )
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it is online for the first time."""
        for room in self._rooms:
            self._journal.opened(room, after=0)
        await self._client.__aenter__()
        self._reading = asyncio.ensure_future(self._read())

    async def stop(self) -> None:
        """Leave.

        Raises:
            StoppedError: the server had ended it for good.
        """
        if self._reading is None:
            return
        await self._client.close()
        await self._reading

    async def send(self, room: int, body: str, client_message_id: uuid.UUID) -> int:
        """Send a message until there is an answer, and return its seq."""
        return (await self._client.send_message(room, body, client_message_id)).seq

    def _on_state(self, change: StateChange) -> None:
        logger.info("%s: %s", self._journal.device, change)
        if change.state is State.ONLINE:
            self._journal.online()
        elif change.state is State.WAITING:
            self._journal.lost()

    async def _read(self) -> None:
        """Show what is there, then what comes, until the client is closed."""
        with contextlib.suppress(StoppedError):
            for topic, (_, seq) in self._client.cursors.items():
                prefix, _, name = topic.partition(".")
                if prefix == "room" and int(name) in self._rooms and seq:
                    await self._load(int(name), seq)
        async for push in self._client.pushes():
            prefix, _, name = (push.topic or "").partition(".")
            if prefix == "room" and name.isdecimal() and int(name) in self._rooms:
                with contextlib.suppress(StoppedError):
                    await self._take(int(name), push)

    async def _take(self, room: int, push: Push) -> None:
        if push.type == "message.sent":
            self._journal.shown(room, push.data)
        elif push.type == RESET:
            if push.data["reason"] == EPOCH_CHANGED:  # the list is of another history: begin again
                self._journal.opened(room, after=0)
            await self._load(room, push.data["seq"])
        elif push.type == "receipt":
            self._tell_receipt(room, push.data["user"])

    def _tell_receipt(self, room: int, user: UserId) -> None:
        """Write down what the client shows: the larger number, when pushes of two processes overtook each other."""
        entry = self._client.receipts(room).get(user)
        if entry is not None:
            self._journal.told(
                room, user, delivered_seq=entry.delivered_seq, read_seq=entry.read_seq
            )

    async def _load(self, room: int, seq: int) -> None:
        """Read the messages between the end of the list and the point from which pushes go on."""
        more = True
        while more:
            after = self._journal.newest[room]
            try:
                page = await self._client.request(
                    "message.list", room=room, after=after, limit=PAGE
                )
            except (ConnectionLostError, ReplyTimeoutError):
                continue
            except CommandError as error:
                if not error.retryable:
                    return
                continue
            for message in page["messages"]:
                if message["seq"] <= seq:
                    self._journal.shown(room, message)
            more = page["more"] and self._journal.newest[room] < seq
