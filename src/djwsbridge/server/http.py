"""uvicorn's HTTP protocol with deadlines: no client holds a connection by sending, or reading, slowly for ever."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from djwsbridge.server.unread import Unread
from djwsbridge.server.websocket import WebSocketProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

__all__ = ["HTTPProtocol"]

# Seconds from the connection, or from the first byte of a later request, to the end of the request's headers. A body
# that comes too slowly has as many.
READ_TIMEOUT = 8.0
# The clock looks twice in that time. A worker that was stopped for longer finds a timer due before it has read what
# came meanwhile; it has read it by the second look.
LOOKS = 2
BODY_RATE = 500  # bytes a second that the body of a request has to bring; the slowest modem brings three times as many
MAX_OVERHEAD = 65_536  # bytes of a head, or of a body without content; uvicorn gives h11 as many


class _Reading(Enum):
    """What the next byte of the client belongs to."""

    NOTHING = auto()  # the last message is complete
    HEAD = auto()
    BODY = auto()


# Plain names: in Python 3.11 a member costs a call of a function whenever it is looked up.
_NOTHING, _HEAD, _BODY = _Reading


class _Trailers(list[tuple[bytes, bytes]]):
    """Where header fields go that come after the body: to the application they would look like those before it."""

    def append(self, field: tuple[bytes, bytes]) -> None:
        """Drop a field."""


_TRAILERS = _Trailers()


class HTTPProtocol(HttpToolsProtocol):
    """What `uvicorn --http djwsbridge.server:HTTPProtocol` speaks."""

    # What is being read, and the timer that looks whether it gets on; None while nothing is awaited.
    _reading: _Reading = _HEAD
    _clock: asyncio.TimerHandle | None = None
    # Looks in a row at which the client had not got on; bytes of the body since the last look; bytes of the message
    # since its last piece of a body.
    _idle = 0
    _came = 0
    _overhead = 0
    # Whether the last head that asked for an upgrade asked for one to WebSocket.
    _is_handshake = False
    # The request whose turn it is to be answered, or the last one; None before the first.
    _answered: RequestResponseCycle | None = None
    # Looks whether the client reads; None as long as it always has.
    _unread: Unread | None = None
    # What ends the connection once the answers under way are complete; None while it may go on.
    _refusal: HTTPStatus | None = None

    # -- from the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Read what came in."""
        self._unset_keepalive_if_required()
        if self._refusal is not None:
            return
        reading, scope, came = self._reading, self.scope, self._came
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
        except HttpParserError:
            self._refuse_bad()
            return
        if self._reading is reading and self.scope is scope and self._came == came:
            self._note_overhead(len(data))
        if self._clock is None and self._reading is not _NOTHING:
            self._start_clock()

    def pause_writing(self) -> None:
        """Let the application wait, and see to it that the client reads."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, and tell the application; uvicorn would tell of the last pipelined request alone."""
        self._stop_clock()
        self._stop_watching()
        if self._answered is not None and not self._answered.response_complete:
            _disconnect(self._answered)
        super().connection_lost(exc)

    # -- from the parser -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._reading = _HEAD
        self._overhead = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the head; only now it is known to be whole."""
        if not self.parser.should_upgrade():
            self._begin_body()
            super().on_headers_complete()
            self.headers = _TRAILERS
            return
        self._is_handshake = self._should_upgrade()
        if (
            self._is_handshake
        ):  # else the parser takes a body for the next request; see `_read_again`
            self._begin_body()
            self.scope["method"] = self.parser.get_method().decode("ascii")
            self.scope["http_version"] = self.parser.get_http_version()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._came += len(body)
        self._overhead = 0
        super().on_body(body)

    def _begin_body(self) -> None:
        self._stop_clock()
        self._reading = _BODY
        self._overhead = self._came = 0

    def on_message_complete(self) -> None:
        """Wait for nothing until the next request."""
        self._stop_clock()
        self._reading = _NOTHING
        if self._is_begun():
            super().on_message_complete()

    def _go_on(self, rest: bytes) -> None:
        """Go on behind a head that asks for an upgrade, where the parser stops."""
        view = memoryview(rest)
        try:
            while not self._is_handshake:
                self._read_again()
                try:
                    self.parser.feed_data(view)
                except HttpParserUpgrade as upgrade:
                    view = view[upgrade.args[0] :]
                else:
                    return
        except HttpParserError:
            self._refuse_bad()
        else:
            self._switch(bytes(view))

    def _read_again(self) -> None:
        """Read a head as if it asked for no upgrade (RFC 9110, section 7.8): what follows is its body.

        Raises:
            HttpParserError: it cannot be read otherwise.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise HttpParserError("this is no proxy")
        fields = [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        line = b"%b %b HTTP/%b" % (method, self.url, version.encode())
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([line, *fields, b"", b""]))

    # -- WebSocket -------------------------------------------------------------------------------------------------

    def _switch(self, early: bytes) -> None:
        """Leave the connection to WebSocket, unless the answer of another request is still to come."""
        if self._is_answering():
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._stop_clock()
        self._stop_watching()
        kind = self.ws_protocol_class
        if kind is None or not issubclass(kind, WebSocketProtocol):
            self.handle_websocket_upgrade()
            return
        self.connections.discard(self)
        protocol = kind(self.config, self.server_state, self.app_state)
        self.transport.set_protocol(protocol)
        protocol.take_over(self, early)
        del self.parser  # or the two would keep each other, for the garbage collector to find

    # -- answers ---------------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Begin with the next answer; the last one may be a refusal."""
        if self._refusal is not None and not self.pipeline and not self.transport.is_closing():
            self._write_refusal(self._refusal)
        if self.transport.get_write_buffer_size():
            self._watch_reading()
        super().on_response_complete()

    def _is_answering(self) -> bool:
        return self._answered is not None and not self._answered.response_complete

    def _is_begun(self) -> bool:
        """Return whether the application has, or will get, the request that is read."""
        return self.cycle is not None and self.cycle.scope is self.scope

    def _refuse(self, status: HTTPStatus) -> None:
        """Read no more, and end the connection: with this answer, when those before it are complete."""
        self._stop_clock()
        self._reading = _NOTHING
        self._refusal = status
        if not self._is_begun():
            if not self._is_answering():
                self._write_refusal(status)
        elif self.cycle is not self._answered:
            self.pipeline.popleft()  # it waits behind others, and is never begun
        elif self._answered.response_started:
            _disconnect(self._answered)
            self.transport.close()
        else:
            _disconnect(self._answered)
            self._write_refusal(status)

    def _refuse_bad(self) -> None:
        self.logger.warning("Invalid HTTP request received.")
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _write_refusal(self, status: HTTPStatus) -> None:
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(status.phrase)),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + status.phrase.encode())
        self.transport.close()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def _note_overhead(self, size: int) -> None:
        """Count what came and was no body; a client that sends only line breaks waits for a head, too."""
        if self._reading is _NOTHING:
            self._reading = _HEAD
        self._overhead += size
        if self._overhead > MAX_OVERHEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _watch_reading(self) -> None:
        if self._unread is None:
            self._unread = Unread(self.transport, self.loop)
        self._unread.watch()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.stop()

    def _start_clock(self) -> None:
        self._idle = self._came = 0
        self._clock = self.loop.call_later(READ_TIMEOUT / LOOKS, self._look)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _look(self) -> None:
        """End the wait when the client has not got on at several looks in a row."""
        self._idle = 0 if self._is_excused() else self._idle + 1
        self._came = 0
        if self._idle < LOOKS:
            self._clock = self.loop.call_later(READ_TIMEOUT / LOOKS, self._look)
        elif self._reading is _BODY:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self.transport.get_write_buffer_size():
            self.transport.close()  # when the client has read its last answer
        else:
            self.transport.abort()

    def _is_excused(self) -> bool:
        """Return whether the client has sent enough since the last look, or could not."""
        if self._reading is _HEAD:
            return self._is_answering()
        if self.flow.read_paused or self._came >= BODY_RATE * READ_TIMEOUT / LOOKS:
            return True
        if self._answered is None or self._answered.response_complete:
            return False
        return (
            self._answered is not self.cycle  # another request is answered first
            or self._answered.response_started
            or self._answered.waiting_for_100_continue
        )


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the application that the client is gone; what it sends from now on goes nowhere."""
    cycle.disconnected = True
    cycle.message_event.set()
