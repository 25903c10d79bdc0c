"""The bounded queue of outgoing text of one connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["SendQueue"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SendQueue:
    """Write frames in order, without making their producer wait.

    When more than `limit` bytes wait, the reader is slow: the queue takes nothing more, drops what waits and calls
    `on_full` once, which closes the connection (4420). The client comes back and loads what it missed.

    Args:
        send: the ASGI server's `send`, which waits while the transport is full.
        limit: bytes that may wait (counted as characters, which is what they are for most frames).
        on_full: see above.
    """

    __slots__ = ("_closed", "_limit", "_on_full", "_send", "_size", "_task", "_waiting")

    def __init__(self, send: Send, *, limit: int, on_full: Callable[[], None]) -> None:
        self._send = send
        self._limit = limit
        self._on_full = on_full
        self._waiting: deque[str] = deque()
        # The sum of the lengths of what waits.
        self._size = 0
        self._closed = False
        # Runs while something waits, else None or done: an idle connection has no task.
        self._task: asyncio.Task[None] | None = None

    def put(self, text: str) -> None:
        """Take one frame; after the queue is closed it is dropped."""
        if self._closed:
            return
        if self._size + len(text) > self._limit:
            self.drop()
            self._on_full()
            return
        self._waiting.append(text)
        self._size += len(text)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def drop(self) -> None:
        """Take nothing more and forget what waits."""
        self._closed = True
        self._waiting.clear()
        self._size = 0

    async def finish(self, timeout: float) -> None:
        """Take nothing more and return when everything is written, or after `timeout` seconds."""
        self._closed = True
        if self._task is not None and not self._task.done():
            done, _ = await asyncio.wait({self._task}, timeout=timeout)
            if not done:
                self._task.cancel()

    async def _drain(self) -> None:
        while self._waiting:
            text = self._waiting.popleft()
            try:
                await self._send({"type": "websocket.send", "text": text})
            except Exception:  # noqa: BLE001  each server has an exception of its own for a peer that is gone
                self.drop()
                return
            self._size -= len(text)
