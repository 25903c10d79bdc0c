"""How a server serves a connection: by ASGI's `receive` and `send`, or by ready frames (`protocol.wire`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CloseCode
from djwsbridge.protocol.errors import CloseConnection
from djwsbridge.protocol.wire import Attach
from djwsbridge.transport.asgi import Receive, Send, cut, waits_for_readers
from djwsbridge.transport.failures import CLOSE_TIMEOUT, send_close
from djwsbridge.transport.send_queue import SendQueue
from djwsbridge.transport.wire_queue import WireQueue

if TYPE_CHECKING:
    from djwsbridge.transport.connection import Connection

__all__ = ["serve_asgi", "serve_attached"]

# Send queues full that may be on their way to a client that has sent nothing since; where the server does not wait.
UNCONFIRMED = 2


async def serve_asgi(connection: Connection, receive: Receive, send: Send) -> None:
    """Serve an accepted connection until it ends."""
    scope, loop, task = connection.scope, connection.runtime.loop, asyncio.current_task()
    queue = SendQueue(
        send,
        limit=settings.SEND_QUEUE_BYTES,
        on_changed=connection.on_queue_changed,
        on_failed=connection.on_send_failed,
        unconfirmed=None if waits_for_readers(scope) else UNCONFIRMED * settings.SEND_QUEUE_BYTES,
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
        await _read(connection, receive)
    except asyncio.CancelledError:
        if not connection.has_closed:
            raise  # the server stops; otherwise it was our own last resort, see `end`
    finally:
        queue.drop()
        await connection.leave()


async def _read(connection: Connection, receive: Receive) -> None:
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            connection.note_end(event.get("code") or int(CloseCode.GOING_AWAY))
            return
        connection.queue.confirm()
        await connection.queue.wait_for_room()
        connection.inbox.take(event.get("text"))
        await connection.inbox.wait_until_idle()


async def serve_attached(connection: Connection, attach: Attach) -> None:
    """Serve an accepted connection by ready frames; returns when it has begun, and leaves when the server says so."""
    wire = attach(connection, limit=settings.SEND_QUEUE_BYTES, max_size=settings.FRAME_BYTES)
    queue = WireQueue(wire, connection.runtime.hub, on_changed=connection.on_queue_changed)
    connection.enter(queue, queue.close, wire)
    await connection.begin()
