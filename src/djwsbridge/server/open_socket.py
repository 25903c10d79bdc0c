"""An open WebSocket without a task, a queue or a scope: the server's side of `protocol.wire`.

What nearly every client sends, whole text frames that arrive in one piece, is read here, and so are pings and pongs.
Everything else (fragments, close frames, frames cut in two, every violation of RFC 6455) is read by the sans-IO library
`websockets`, whose parser is made when it is needed and dropped when it has nothing left to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from websockets.frames import CTRL_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import apply_mask as _apply_mask_slowly

from djwsbridge.protocol.wire import Receiver
from djwsbridge.server.keepalive import Keepalive

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel with the compiled part for this platform
    apply_mask = _apply_mask_slowly

__all__ = ["OpenSocket", "frame_parser"]

CLOSE_TIMEOUT = 10.0  # seconds for the peer's own close frame

_TEXT = 0x81  # the only frame of a text message
_PING = 0x89
_PONG = 0x8A
_MASKED = 0x80
_TWO_BYTES = 126  # says that the length is in the next two bytes
_MASK_BYTES = 4
_PING_FRAME = b"\x89\x00"
_QUESTION = b"?"  # payload of a ping of the application: those of the keepalive have none
_QUESTION_FRAME = b"\x89\x01" + _QUESTION


class _Nobody:
    """Who is told what happens after the end: so that nothing holds the application's object."""

    def on_text(self, text: str) -> None: ...
    def on_binary(self) -> None: ...
    def on_too_big(self) -> None: ...
    def on_full(self) -> None: ...
    def on_drained(self) -> None: ...
    def on_pong(self) -> None: ...
    def on_lost(self, code: int) -> None: ...


_NOBODY = _Nobody()


def frame_parser(max_size: int) -> ServerProtocol:
    """Return the library's parser for a connection that is open. It logs no frames: they hold tickets and tokens.

    Args:
        max_size: bytes of the largest message that is taken.
    """
    parser = ServerProtocol(state=State.OPEN, max_size=max_size)
    parser.debug = False
    return parser


class OpenSocket(asyncio.Protocol):
    """One WebSocket from its accept to its end.

    Args:
        transport: whose protocol this becomes.
        sockets: of the server; this one is in it as long as it is open.
        keepalive: pings it; None when nobody does.
    """

    __slots__ = (
        "_close_timer",
        "_closing",
        "_code",
        "_fragments",
        "_is_text",
        "_keepalive",
        "_max_size",
        "_parser",
        "_paused",
        "_receiver",
        "_slot",
        "_sockets",
        "_transport",
        "_unread",
        "silence",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        receiver: Receiver,
        *,
        sockets: set[Any],
        keepalive: Keepalive | None,
        max_size: int,
    ) -> None:
        self._transport = transport
        self._receiver = receiver
        self._sockets = sockets
        self._keepalive = keepalive
        self._slot = 0
        self._max_size = max_size
        # The transport's own: a call of ours in between would be a quarter of what a delivery costs.
        self.write: Callable[[bytes], None] = transport.write
        # Reads what is not read here; None while there is nothing of the kind. And the bytes it has not got to the end
        # of, and the fragments of a message that is not whole yet, None between two messages.
        self._parser: ServerProtocol | None = None
        self._unread = 0
        self._fragments: list[bytes] | None = None
        self._is_text = True
        # Pings since something came in; see `Keepalive`.
        self.silence = 0
        self._paused = False
        # Whether a close frame was sent, by whom `on_lost` learns, and what ends the wait for the peer's.
        self._closing = False
        self._code = int(CloseCode.ABNORMAL_CLOSURE)
        self._close_timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Take part in the life of the server."""
        self._sockets.add(self)
        if self._keepalive is not None:
            self._slot = self._keepalive.add(self)

    # -- from the transport ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read what came in."""
        self.silence = 0
        position, end = 0, len(data)
        while position < end:
            taken = self._read_text(data, position, end) if self._parser is None else 0
            if not taken:
                self._parse(data[position:] if position else data)
                return
            position += taken

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """Tell that the peer does not read."""
        self._receiver.on_full()

    def resume_writing(self) -> None:
        """Tell that the peer has read everything."""
        self._receiver.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it is over."""
        self._sockets.discard(self)
        if self._keepalive is not None:
            self._keepalive.discard(self, self._slot)
        if self._close_timer is not None:
            self._close_timer.cancel()
        receiver, self._receiver = self._receiver, _NOBODY
        receiver.on_lost(self._code)

    # -- for the application (`protocol.wire.Wire`) ----------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Return how many bytes the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take nothing more from the peer for now."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def ping(self) -> None:
        """Ask the peer whether it is there; its answer is told to the application."""
        if not self._closing:
            self.write(_QUESTION_FRAME)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and end the connection when the peer has answered or after CLOSE_TIMEOUT."""
        if self._closing or self._transport.is_closing():
            return
        parser = self._begin_parsing()
        parser.send_close(code, reason)
        self._begin_closing(code)
        self._transport.writelines(parser.data_to_send())
        self.resume_reading()
        self._abort_soon()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # -- for the server --------------------------------------------------------------------------------------------

    def keep_alive(self) -> None:
        """Ping for the keepalive, which asks no more than whether anything comes in."""
        if not self._closing:
            self.write(_PING_FRAME)

    def shutdown(self) -> None:
        """Close because the server ends; uvicorn calls this for every connection."""
        self.close(CloseCode.SERVICE_RESTART, "")
        self._transport.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read_text(self, data: bytes, position: int, end: int) -> int:
        """Read a whole text frame, answer a ping, or skip a pong; return its length, 0 for everything else."""
        body, stop = _measure(data, position, end)
        opcode, size = data[position], stop - body
        if stop > end or size > self._max_size:
            return 0
        if opcode != _TEXT and (size >= _TWO_BYTES or opcode not in (_PING, _PONG)):
            return 0
        payload = apply_mask(data[body:stop], data[body - _MASK_BYTES : body])
        if opcode == _TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                return 0  # the parser finds it, too, and says so to the peer
            self._receiver.on_text(text)
        elif opcode == _PING:
            self.write(b"%c%c%b" % (_PONG, size, payload))
        elif payload == _QUESTION:
            self._receiver.on_pong()
        return stop - position

    def _begin_parsing(self) -> ServerProtocol:
        if self._parser is None:
            self._parser = frame_parser(self._max_size)
        return self._parser

    def _parse(self, data: bytes) -> None:
        """Let the library read, act on what it has found, and drop it when nothing is left to read."""
        parser = self._begin_parsing()
        parser.receive_data(data)
        self._unread += len(data)
        for event in parser.events_received():
            if isinstance(event, Frame):
                self._unread -= _wire_size(event)
                self._on_frame(event)
        failure = parser.close_sent if parser.parser_exc is not None else None
        if failure is not None and failure.code == CloseCode.MESSAGE_TOO_BIG and not self._closing:
            self._on_too_big()
            return
        output = [part for part in parser.data_to_send() if part]
        if output:
            self._transport.writelines(output)
        if parser.eof_sent:
            self._end(parser)
        elif not self._unread and self._fragments is None and not self._closing:
            self._parser = None

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG and frame.data == _QUESTION:
            self._receiver.on_pong()
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._fragments = []
            self._is_text = frame.opcode is Opcode.TEXT
            if not self._is_text and not self._closing:
                self._receiver.on_binary()
        if self._fragments is None or frame.opcode in CTRL_OPCODES:
            return  # the library has answered control frames already
        if self._is_text and frame.data:  # empty ones count for no limit, and would pile up
            self._fragments.append(bytes(frame.data))
        if frame.fin:
            message, self._fragments = b"".join(self._fragments), None
            if self._is_text:
                self._take(message)

    def _take(self, message: bytes) -> None:
        if self._closing:
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            parser = self._begin_parsing()
            parser.fail(CloseCode.INVALID_DATA)
            self._begin_closing(CloseCode.INVALID_DATA)
            return
        self._receiver.on_text(text)

    def _on_too_big(self) -> None:
        """Let the application say it in its own words: begin with a parser that has not failed yet."""
        self._parser = None
        self.pause_reading()
        self._receiver.on_too_big()

    def _begin_closing(self, code: int) -> None:
        self._closing = True
        self._code = int(code)

    def _end(self, parser: ServerProtocol) -> None:
        """Close the TCP connection after the peer's close frame, or after it has broken the protocol."""
        if not self._closing:
            close = parser.close_rcvd or parser.close_sent
            self._begin_closing(close.code if close else CloseCode.ABNORMAL_CLOSURE)
        self._transport.close()
        if self.waiting and self._close_timer is None:
            self._abort_soon()  # a closed transport would wait for a peer that does not read

    def _abort_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(CLOSE_TIMEOUT, self._transport.abort)


def _measure(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Return where the body of a masked frame begins and ends; an end beyond `end` for any frame that is not read here.

    Not read here: what has not come in whole, what is not masked, and lengths that are written in eight bytes or in two
    where one would do.
    """
    start = position + 2
    if start > end:
        return start, end + 1
    size = data[position + 1] - _MASKED
    if size == _TWO_BYTES:
        size = int.from_bytes(data[start : start + 2], "big")
        start += 2
        if size < _TWO_BYTES:
            size = -1
    elif size > _TWO_BYTES:
        size = -1
    body = start + _MASK_BYTES
    return body, body + size if size >= 0 else end + 1


def _wire_size(frame: Frame) -> int:
    """Return the bytes that a masked frame has taken on the wire."""
    size = len(frame.data)
    extended = 0 if size < _TWO_BYTES else 2 if size < 1 << 16 else 8
    return 2 + extended + _MASK_BYTES + size
