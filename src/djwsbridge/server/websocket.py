"""uvicorn's WebSocket protocol, and the door to the fast path: ready frames, and no task for an open connection."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_path_with_query_string,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from djwsbridge.notices import Notices
from djwsbridge.protocol.wire import WIRE_EXTENSION, Receiver
from djwsbridge.server.garbage import note_connection
from djwsbridge.server.handshake import (
    HandshakeFailed,
    key_of,
    path_and_query,
    refusal,
    subprotocols_of,
    switching_protocols,
)
from djwsbridge.server.keepalive import keepalive_of
from djwsbridge.server.open_socket import OpenSocket, frame_parser

if TYPE_CHECKING:
    from uvicorn._types import WebSocketScope
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["WebSocketProtocol"]

notices = Notices(logging.getLogger("djwsbridge.handshake"))

MAX_SIZE = 65_536  # bytes of a message, unless the server's own limit (`--ws-max-size`) is lower
ANSWER_TIMEOUT = 15.0  # seconds for the application to accept or to refuse
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
EARLY_BYTES = 65_536  # that a client may send before it was accepted; no honest one sends any (RFC 6455, section 4.1)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """What `uvicorn --ws djwsbridge.server:WebSocketProtocol` speaks.

    To an ASGI application it is uvicorn's own class, with some defaults that a public server needs: messages of at most
    64 KiB, no compression (a connection would cost 300 KiB, and a bomb nothing), no query string in the log, a deadline
    for the application's answer. To one that asks for it, it is the ASGI extension `djwsbridge.wire`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        config.ws_per_message_deflate = False
        config.ws_max_size = min(config.ws_max_size, MAX_SIZE)
        super().__init__(config, server_state, app_state, _loop)
        self.conn.debug = False  # or the library logs cookies and tokens
        # The client's, when the request was read by the HTTP protocol and the handshake is ours to make.
        self._key: bytes | None = None
        # What has come in after the request and before anybody reads on; and whether this object does by now.
        self._early: deque[bytes] = deque()
        self._is_reading = False
        self._is_attached = False
        # Runs until the application has answered, else None.
        self._deadline: asyncio.TimerHandle | None = None

    # -- from the HTTP protocol ------------------------------------------------------------------------------------

    def take_over(self, http: HttpToolsProtocol, early: bytes) -> None:
        """Go on with a request for an upgrade to WebSocket that the HTTP protocol has read.

        Args:
            http: has read it.
            early: what came in behind it.
        """
        self.transport = http.transport
        self.connections.add(self)
        self.server, self.client = http.server, http.client
        self.scheme = "wss" if http.scheme == "https" else "ws"
        method, version = http.scope["method"], http.scope["http_version"]
        self.handshake_initiated = True
        try:
            self._key = key_of(method, version, http.url, http.headers)
            self.scope = self._scope_of(*path_and_query(http.url), http.headers)
        except HandshakeFailed as failure:
            self.handshake_complete = self.close_sent = True
            notices.write(
                failure.why,
                f"A WebSocket was refused with HTTP {failure.status.value}: {failure.why}.",
            )
            self.transport.write(refusal(failure))
            self.transport.close()
            return
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)
        self._wait_for_answer()
        if early:
            self.data_received(early)

    def _scope_of(
        self, path: bytes, query_string: bytes, headers: list[tuple[bytes, bytes]]
    ) -> WebSocketScope:
        return {
            "type": "websocket",
            "asgi": {"version": self.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": self.root_path,
            "path": self.root_path + unquote(path.decode("ascii")),
            "raw_path": self.root_path.encode("ascii") + path,
            "query_string": query_string,
            "headers": headers,
            "subprotocols": subprotocols_of(headers),
            "state": self.app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    # -- from uvicorn ----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read the request; keep what follows it until somebody reads on, which is a turn after the answer."""
        if self.handshake_initiated and not self._is_reading:
            self._early.append(data)
            if not self.handshake_complete and sum(map(len, self._early)) > EARLY_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            # The library reads 128 headers of 8 KiB; uvicorn would say nothing.
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """Begin to wait for the application's answer."""
        super().handle_connect(event)
        if not self.handshake_complete:
            self._wait_for_answer()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; empty ones count for no limit, and would pile up."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_close(self, event: Frame) -> None:
        """Answer a close frame, and do not wait until the client has read what was sent before."""
        super().handle_close(event)
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._abort_soon()

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read: answers would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def run_asgi(self) -> None:
        """Call the application; what it logs and what we log holds no query string, where secrets may be."""
        extensions = {**self.scope["extensions"], WIRE_EXTENSION: {"attach": self.attach}}
        scope: dict[str, Any] = {**self.scope, "extensions": extensions}
        self.scope["query_string"] = b""
        try:
            await self.app(cast(Any, scope), self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("The ASGI application failed.")
            self.send_500_response()
        else:
            # `close_sent`: the application has answered with an HTTP response of its own.
            if not (self.handshake_complete or self.close_sent):
                self.logger.error("The ASGI application has returned without an answer.")
                self.send_500_response()
        if not self._is_attached and self.close_timer is None:
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send what the application says; with its answer, take what came in meanwhile."""
        if self._key is not None and message["type"] == "websocket.accept":
            self._accept(self._key, message)
        else:
            self._open_library()
            await super().send(message)
        if self.close_timer is not None and message["type"] == "websocket.close":
            self._abort_soon()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            if self.handshake_complete and not self.close_sent:
                # In the next turn: an application that attaches does so at once, and takes it itself.
                self.loop.call_soon(self._begin_reading)

    def _wait_for_answer(self) -> None:
        self._deadline = self.loop.call_later(ANSWER_TIMEOUT, self.transport.abort)

    def _accept(self, key: bytes, message: dict[str, Any]) -> None:
        """Answer the handshake.

        Raises:
            ClientDisconnected: the client is gone.
            RuntimeError: the application has given an answer before.
        """
        if self.disconnected or self.transport.is_closing():
            raise ClientDisconnected
        if self.handshake_complete or self.initial_response is not None:
            raise RuntimeError("The application has answered the handshake twice.")
        if self.logger.isEnabledFor(logging.INFO):
            address, path = get_client_addr(self.scope), get_path_with_query_string(self.scope)
            self.logger.info('%s - "WebSocket %s" [accepted]', address, path)
        headers = [*self.default_headers, *message.get("headers", ())]
        self.handshake_complete = True
        self.transport.write(switching_protocols(key, message.get("subprotocol"), headers))

    def _open_library(self) -> None:
        """Let uvicorn's class and the library go on as if they had answered; who attaches never comes here."""
        if self._key is not None and self.handshake_complete and not self.close_sent:
            self._key = None
            self.conn = frame_parser(self.config.ws_max_size)

    def shutdown(self) -> None:
        """Close with 1012, as the server stops."""
        self._open_library()
        super().shutdown()

    def start_keepalive(self) -> None:
        """Do nothing yet: the pings of one that attaches are its own; see `_begin_reading`."""

    def send_keepalive_ping(self) -> None:
        """Send a ping, unless the connection closes and waits for the client to read."""
        super().send_keepalive_ping()
        if self.transport.is_closing():
            self._abort_soon()

    def keepalive_timeout(self) -> None:
        """End a connection whose client answers no ping; uvicorn would wait until it has read the close frame."""
        super().keepalive_timeout()
        self._abort_soon()

    def _abort_soon(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _begin_reading(self) -> None:
        """Go on as uvicorn does, unless the application has attached."""
        if self._is_attached:
            return
        self._is_reading = True
        self._open_library()
        if not (self.close_sent or self.disconnected):
            super().start_keepalive()
        while self._early:
            super().data_received(self._early.popleft())

    # -- for the application (`protocol.wire.Attach`) --------------------------------------------------------------

    def attach(self, receiver: Receiver, *, limit: int, max_size: int) -> OpenSocket:
        """Let a receiver take the connection over."""
        interval = self.ping_interval
        self._is_attached = True
        note_connection()
        self.stop_keepalive()
        self.connections.discard(self)
        socket = OpenSocket(
            self.transport,
            receiver,
            sockets=cast(set[Any], self.connections),
            keepalive=keepalive_of(self.loop, interval) if interval else None,
            max_size=min(max_size, self.config.ws_max_size),
        )
        self.transport.set_write_buffer_limits(high=limit, low=0)
        self.transport.set_protocol(socket)
        socket.begin()
        if self.disconnected:  # the transport has told this object, and tells nobody again
            self.loop.call_soon(socket.connection_lost, None)
        elif self._early:
            socket.pause_reading()  # or what comes in just now would be read first
            self.loop.call_soon(_read_early, socket, b"".join(self._early))
        self._early.clear()
        return socket


def _read_early(socket: OpenSocket, early: bytes) -> None:
    socket.resume_reading()
    socket.data_received(early)
