"""A client of a few lines, as somebody would have written it for the first version of the protocol.

It comes back, sends again with the same id, and reads what it missed by `message.list`. It tells the server its cursors
only to learn whether they still mean something, and ignores every field and every push that is not mentioned here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.testing.workload import Journal

__all__ = ["CarelessDevice", "SmallDevice"]

ANSWER_TIMEOUT = 10.0  # seconds; a connection that does not answer in this time is half open
OPEN_TIMEOUT = 5.0  # seconds
PAGE = 100  # messages read at once
LOST = (OSError, WebSocketException, InvalidHandshake, asyncio.TimeoutError, EOFError)


class SmallDevice:
    """A `Device` on a bare WebSocket.

    Args:
        urls: where to connect, in any order; another one at each try.
        token: who it is.
        rooms: what it shows.
        journal: whom it tells what happens.
        chance: the source of what happens by chance.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        rooms: Sequence[int],
        journal: Journal,
        chance: random.Random,
    ) -> None:
        self._urls = urls
        self._token = token
        self._rooms = rooms
        self._journal = journal
        self._chance = chance
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        # Room → the seq up to which everything is known.
        self._cursors = dict.fromkeys(rooms, 0)
        # Room → the identity of its history; none for a room in which nothing has ever happened.
        self._epochs: dict[int, str] = {}
        # (room, user) → delivered and read.
        self._receipts: dict[tuple[int, int], tuple[int, int]] = {}
        # One message of a room is under way at a time: retries keep the order.
        self._turns = {room: asyncio.Lock() for room in rooms}
        self._reading = {room: asyncio.Lock() for room in rooms}
        self._repairs: set[asyncio.Task[None]] = set()
        self._socket: ClientConnection | None = None
        self._online = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it is online for the first time."""
        for room in self._rooms:
            self._journal.opened(room, after=0)
        self._life = asyncio.ensure_future(self._live())
        await self._online.wait()

    async def stop(self) -> None:
        """Leave."""
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)

    async def send(self, room: int, body: str, client_message_id: uuid.UUID) -> int:
        """Send a message until there is an answer, and return its seq.

        Raises:
            CommandError: it was refused for good.
        """
        fields = {"room": room, "body": body, "client_message_id": str(client_message_id)}
        async with self._turns[room]:
            for attempt in itertools.count():
                await self._online.wait()
                try:
                    return int((await self._ask("message.send", **fields))["seq"])
                except CommandError as error:
                    if not error.retryable:
                        raise
                except LOST:
                    pass
                await asyncio.sleep(self._chance.uniform(0.05, min(2.0, 0.1 * 2**attempt)))
        raise AssertionError

    async def _live(self) -> None:
        """Connect again and again."""
        tries = 0
        while True:
            with contextlib.suppress(*LOST, CommandError):
                async with connect(
                    self._chance.choice(self._urls),
                    subprotocols=["djwsbridge.v1"],  # type: ignore[list-item]
                    open_timeout=OPEN_TIMEOUT,
                    close_timeout=1.0,
                    ping_interval=None,
                    compression=None,
                ) as self._socket:
                    try:
                        await self._serve(self._socket)
                    finally:
                        tries = 0 if self._online.is_set() else tries
                        self._drop()
            tries += 1
            await asyncio.sleep(self._chance.uniform(0.0, min(5.0, 0.25 * 2**tries)))

    def _drop(self) -> None:
        if self._online.is_set():
            self._journal.lost()
        self._online.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the connection was lost"))
        self._waiting.clear()

    async def _serve(self, socket: ClientConnection) -> None:
        """Read one connection to its end, while another task says hello and keeps it alive."""
        talking = asyncio.ensure_future(self._talk(socket))
        try:
            async for text in socket:
                self._on_frame(json.loads(text))
        finally:
            for task in (talking, *self._repairs):
                task.cancel()
            await asyncio.gather(talking, *self._repairs, return_exceptions=True)

    async def _talk(self, socket: ClientConnection) -> None:
        try:
            cursors = {f"room.{room}": self._cursor(room) for room in self._epochs}
            welcome = await self._ask("connect", token=self._token, cursors=cursors)
            for room in self._rooms:
                await self._look_at_epoch(room, welcome["topics"].get(f"room.{room}", {}))
                await self._repair(room, up_to=0)
            self._online.set()
            self._journal.online()
            while True:
                beat = self._chance.uniform(0.8, 1.2) * welcome["heartbeat_ms"] / 1000
                await asyncio.sleep(beat)
                tips = (await self._ask("heartbeat")).get("tips", {})
                for room in self._rooms:
                    await self._compare(room, tips.get(f"room.{room}", self._cursors[room]))
        except (*LOST, CommandError):
            socket.transport.abort()

    def _cursor(self, room: int) -> tuple[str, int]:
        return self._epochs.get(room, ""), self._cursors[room]

    async def _compare(self, room: int, tip: int) -> None:
        """Read what is behind the cursor; where the tip is below it, ask whether the history is another one."""
        if tip > self._cursors[room]:
            await self._repair(room, up_to=tip)
        elif tip < self._cursors[room]:
            epoch, seq = self._cursor(room)
            report = await self._ask("topic.recover", topic=f"room.{room}", epoch=epoch, seq=seq)
            await self._look_at_epoch(room, report)
            await self._repair(room, up_to=0)

    async def _look_at_epoch(self, room: int, report: dict[str, Any]) -> None:
        """Take the identity of a history; begin anew if it is another one."""
        async with self._reading[room]:  # a page that was asked for before is of the old list
            if report.get("reason") == "epoch_changed":
                self._cursors[room] = 0
                self._journal.opened(room, after=0)
                for place in [place for place in self._receipts if place[0] == room]:
                    del self._receipts[place]
            if report.get("epoch"):
                self._epochs[room] = report["epoch"]

    async def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        if self._socket is None:
            raise ConnectionError("there is no connection")
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(json.dumps({"id": number, "cmd": command, **fields}))
            frame = await asyncio.wait_for(answer, ANSWER_TIMEOUT)
        finally:
            self._waiting.pop(number, None)
        if "error" in frame:
            raise CommandError(ErrorCode(frame["error"]["code"]), frame["error"]["message"])
        ok: dict[str, Any] = frame["ok"]
        return ok

    def _on_frame(self, frame: dict[str, Any]) -> None:
        if "push" not in frame:
            answer = self._waiting.get(frame["id"])
            if answer is not None and not answer.done():
                answer.set_result(frame)
            return
        if frame["push"] == "tips":
            task = asyncio.ensure_future(self._hear_tips(frame["data"]))
            self._repairs.add(task)
            task.add_done_callback(self._repairs.discard)
            return
        room = int(frame.get("topic", "room.0").rpartition(".")[2])
        if room not in self._cursors or not frame.get("topic", "").startswith("room."):
            return
        if frame["push"] == "receipt":
            self._on_receipt(room, frame["data"])
        elif "seq" in frame:
            self._on_event(room, frame)

    def _on_receipt(self, room: int, data: dict[str, Any]) -> None:
        """Keep the larger numbers: pushes of two processes may overtake each other."""
        place = (room, data["user"])
        delivered, read = self._receipts.get(place, (0, 0))
        delivered = max(delivered, data["delivered_seq"])
        read = max(read, data.get("read_seq", 0))
        self._receipts[place] = (delivered, read)
        self._journal.told(room, data["user"], delivered_seq=delivered, read_seq=read)

    def _on_event(self, room: int, frame: dict[str, Any]) -> None:
        """Take what comes next; anything later begins a repair."""
        seq = frame["seq"]
        if seq == self._cursors[room] + 1 and not self._reading[room].locked():
            self._cursors[room] = seq
            if frame["push"] == "message.sent":
                self._journal.shown(room, frame["data"])
        elif seq > self._cursors[room]:
            task = asyncio.ensure_future(self._quietly_repair(room, seq))
            self._repairs.add(task)
            task.add_done_callback(self._repairs.discard)

    async def _hear_tips(self, tips: dict[str, int]) -> None:
        with contextlib.suppress(*LOST, CommandError):
            for room in self._rooms:
                await self._compare(room, tips.get(f"room.{room}", self._cursors[room]))

    async def _quietly_repair(self, room: int, up_to: int) -> None:
        with contextlib.suppress(*LOST, CommandError):
            await self._repair(room, up_to=up_to)

    async def _repair(self, room: int, *, up_to: int) -> None:
        """Read everything behind the cursor; `up_to` is known to exist."""
        async with self._reading[room]:
            if up_to and self._cursors[room] >= up_to:
                return
            page = [None] * PAGE
            while len(page) == PAGE:
                after = self._cursors[room]
                found = await self._ask("message.list", room=room, after=after, limit=PAGE)
                page = found["messages"]
                for message in found["messages"]:
                    self._journal.shown(room, message)
                    self._cursors[room] = message["seq"]
            self._cursors[room] = max(self._cursors[room], up_to)


class CarelessDevice(SmallDevice):
    """A client that forgets what it has shown, and reads everything again when it comes back."""

    async def _serve(self, socket: ClientConnection) -> None:
        self._cursors = dict.fromkeys(self._rooms, 0)
        await super()._serve(socket)
