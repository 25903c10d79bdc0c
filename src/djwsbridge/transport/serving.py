"""How a server serves a connection: by ASGI's `receive` and `send`, or by ready frames (`protocol.wire`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.wire import Attach
from djwsbridge.transport.asgi import Receive, Send, cut, waits_for_readers
from djwsbridge.transport.failures import CLOSE_TIMEOUT, send_close
from djwsbridge.transport.send_queue import SendQueue
from djwsbridge.transport.wire_queue import WireQueue

if TYPE_CHECKING:
    from djwsbridge.transport.connection import Connection

__all__ = ["serve_asgi", "serve_attached"]

FLOOD_PAUSE = 10.0  # seconds after which a client that sent too much may come back


async def serve_asgi(connection: Connection, receive: Receive, send: Send) -> None:
    """Serve an accepted connection until it ends."""
    scope, loop, task = connection.scope, connection.runtime.loop, asyncio.current_task()
    waits = waits_for_readers(scope)
    queue = SendQueue(
        send,
        limit=settings.SEND_QUEUE_BYTES,
        on_changed=connection.on_queue_changed,
        on_failed=connection.on_send_failed,
        ask=None if waits else connection.ask_for_proof,
    )

    async def end(reason: CloseConnection) -> None:
        if not await send_close(scope, send, reason):
            cut(send)
        # The server now tells `_read` that the peer is gone; should it forget to, this does.
        if task is not None:
            loop.call_later(CLOSE_TIMEOUT, task.cancel)

    connection.enter(queue, end)
    try:
        await connection.begin()
        await (_read if waits else _read_on)(connection, queue, receive)
    except asyncio.CancelledError:
        if not connection.has_closed:
            raise  # the server stops; otherwise it was our own last resort, see `end`
    finally:
        queue.drop()
        await connection.leave()


async def _read(connection: Connection, queue: SendQueue, receive: Receive) -> None:
    """Read one frame after the other; the server holds back what is not read yet."""
    while (event := await receive())["type"] != "websocket.disconnect":
        await queue.wait_for_room()
        connection.inbox.take(event.get("text"))
        await connection.inbox.wait_until_idle()
    connection.note_end(event.get("code") or int(CloseCode.GOING_AWAY))


async def _read_on(connection: Connection, queue: SendQueue, receive: Receive) -> None:
    """Read whatever comes: the server would buffer without bound what is not read.

    A proof may stand behind commands that wait for exactly this proof; so it counts before its frame is carried out.
    """
    inbox = connection.inbox
    while (event := await receive())["type"] != "websocket.disconnect":
        if connection.is_closing:
            continue  # nothing is carried out any more
        text = event.get("text")
        if text is not None and queue.confirm(text):
            connection.protocol.excuse_frame()
            inbox.go_on_if_idle()
        inbox.take(text)
        if inbox.size > settings.SEND_QUEUE_BYTES:
            connection.close(_flood())
    connection.note_end(event.get("code") or int(CloseCode.GOING_AWAY))
    queue.drop()
    await inbox.wait_until_empty()


def _flood() -> CloseConnection:
    """Return the reason to close a connection that sends more than can wait to be carried out."""
    error = CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(FLOOD_PAUSE * 1000))
    return CloseConnection(CloseCode.RATE_LIMITED, error)


async def serve_attached(connection: Connection, attach: Attach) -> None:
    """Serve an accepted connection by ready frames; returns when it has begun, and leaves when the server says so."""
    wire = attach(connection, limit=settings.SEND_QUEUE_BYTES, max_size=settings.FRAME_BYTES)
    queue = WireQueue(wire, connection.runtime.hub, on_changed=connection.on_queue_changed)
    connection.enter(queue, queue.close, wire)
    await connection.begin()
