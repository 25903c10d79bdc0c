"""uvicorn's HTTP protocol with a deadline for the head of a request: nobody can send it byte by byte for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from djwsbridge.server.websocket import WebSocketProtocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
else:
    _Base = AutoHTTPProtocol

__all__ = ["HTTPProtocol"]

# Seconds from the connection, or a request's first byte, to the end of its headers.
HEAD_TIMEOUT = 8.0


class HTTPProtocol(_Base):
    """What `uvicorn --http djwsbridge.server:HTTPProtocol` speaks; without `httptools` installed, through h11."""

    # Runs while the head of a request is on its way, else None.
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Read; whatever of a head comes in, the deadline stays where it is."""
        before = self.scope
        super().data_received(data)
        if self.scope is not before:
            self._stop_waiting()
        elif self._deadline is None and self._is_between_requests():
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Hand over to the WebSocket protocol: ours takes the request as it was read."""
        self._stop_waiting()
        kind = self.ws_protocol_class
        if arguments or kind is None or not issubclass(kind, WebSocketProtocol):
            super().handle_websocket_upgrade(*arguments)  # another class, or read by h11
            return
        self.connections.discard(self)
        protocol = kind(self.config, self.server_state, self.app_state)
        self.transport.set_protocol(protocol)
        protocol.take_over(self)
        del self.parser  # or the two would keep each other, for the garbage collector to find

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
