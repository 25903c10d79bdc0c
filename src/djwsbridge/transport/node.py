"""The life of a node: it begins with its first connection, and leaves without losing anybody (the drain).

ASGI servers tell an application that they stop when it is too late: uvicorn closes every socket first, Daphne says
nothing at all. So the node listens to the signal itself. At SIGTERM it stops to be ready (`is_draining`), sends every
connection to another process, a few at a time, and lets what is under way end; only then the server's own handler
learns of the signal. A second SIGTERM reaches the server at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from djwsbridge import runtime as runtimes
from djwsbridge.conf import settings
from djwsbridge.publish import watch_neighbours
from djwsbridge.runtime import Runtime
from djwsbridge.transport.asgi import Receive, Scope, Send

__all__ = ["Node", "is_draining", "node_of", "serve_lifespan"]

logger = logging.getLogger("djwsbridge.node")

MOVES_PER_SECOND = 500  # connections that are sent away: half of what another node lets in (DJWSBRIDGE_HANDSHAKE_RATE)
MOVING_SHARE = 0.6  # of DJWSBRIDGE_DRAIN_SECONDS, in which they are told to go; the rest is for those who do not
STOP_TIMEOUT = 5.0  # seconds to take leave of the other nodes
LOOK_INTERVAL = 0.05  # seconds between two looks at who is still here


class Node:
    """Start, drain and stop one runtime.

    Args:
        runtime: of the event loop that serves.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # True from the moment at which this node wants no more connections.
        self.draining = False
        # Runs once the signal has come; None before.
        self._drain: asyncio.Task[None] | None = None
        # The server's own handler of SIGTERM; None while it is not wrapped.
        self._server_handler: Callable[[int, Any], Any] | None = None

    async def start(self) -> None:
        """Begin to deliver; see `Runtime.start`."""
        self.watch_signal()
        await self._runtime.start()
        watch_neighbours()

    def watch_signal(self) -> None:
        """Get to know of SIGTERM before the server does, if this is the thread that signals come to."""
        if self._server_handler or threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return  # no server has one: the process ends at once
        self._server_handler = handler
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.draining:
            self._tell_server(number)
        else:
            self.draining = True
            self._runtime.loop.call_soon_threadsafe(self._begin_drain, number)

    def _begin_drain(self, number: int) -> None:
        self._drain = self._runtime.loop.create_task(self.drain(), name="djwsbridge drain")
        self._drain.add_done_callback(lambda _: self._tell_server(number))

    def _tell_server(self, number: int) -> None:
        if self._server_handler is not None:
            self._server_handler(number, None)

    async def drain(self) -> None:
        """Send every connection away, and return when all have gone or DJWSBRIDGE_DRAIN_SECONDS have passed."""
        self.draining = True
        loop, members = self._runtime.loop, self._runtime.members
        deadline = loop.time() + settings.DRAIN_SECONDS
        spread = min(settings.DRAIN_SECONDS * MOVING_SHARE, len(members) / MOVES_PER_SECOND)
        logger.info("Sending %d connections away within %.1f s.", len(members), spread)
        for member in list(members):
            member.move_away(after=random.uniform(0.0, spread))  # noqa: S311  no secret
        while members and loop.time() < deadline:  # noqa: ASYNC110  connections end in many ways
            await asyncio.sleep(LOOK_INTERVAL)
        if members:
            logger.warning("%d connections are still here after the drain.", len(members))
        await self.stop()

    async def stop(self) -> None:
        """Take leave of the other nodes."""
        try:
            await asyncio.wait_for(self._runtime.stop(), STOP_TIMEOUT)
        except Exception as error:  # noqa: BLE001  the process ends anyway
            logger.warning("This node could not take leave: %r", error)


_nodes: WeakKeyDictionary[Runtime, Node] = WeakKeyDictionary()


def node_of(runtime: Runtime) -> Node:
    """Return the node of a runtime."""
    return _nodes.setdefault(runtime, Node(runtime))


def is_draining() -> bool:
    """Say whether this process is about to end, so that a load balancer should send nobody any more."""
    nodes = list(_nodes.items())
    return any(node.draining and not runtime.loop.is_closed() for runtime, node in nodes)


async def serve_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve ASGI's `lifespan`: notice SIGTERM before the first connection, take leave also without it (Ctrl-C)."""
    node = node_of(runtimes.current())
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            node.watch_signal()
            await send({"type": "lifespan.startup.complete"})
        else:
            node.draining = True
            await node.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
