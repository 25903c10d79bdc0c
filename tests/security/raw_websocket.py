"""A WebSocket client that sends any bytes: what real clients refuse to send."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from tests.servers import TIMEOUT

__all__ = ["CLOSED", "RESET", "UNANSWERED", "RawWebSocket", "exchange", "frame"]

RESET = 1006  # what RFC 6455 calls an end without a close frame
CLOSED, UNANSWERED = "closed", "unanswered"  # outcomes of a handshake without a status
CLOSE, PING, PONG, TEXT, CONTINUATION = 8, 9, 10, 1, 0


class Listener(Protocol):
    """Whoever answers on a port of this machine."""

    @property
    def port(self) -> int: ...


HeaderValue = str | bytes | None


def handshake(
    server: Listener, headers: Mapping[str, HeaderValue], *, target: str = "/ws/bridge/"
) -> bytes:
    """Return a handshake; a header of None is left out."""
    sent: dict[str, HeaderValue] = {
        "Host": f"127.0.0.1:{server.port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    lines = [f"GET {target} HTTP/1.1".encode()]
    for name, value in sent.items():
        if value is not None:
            raw = value if isinstance(value, bytes) else value.encode("latin-1")
            lines.append(name.encode() + b": " + raw)
    return b"\r\n".join([*lines, b"", b""])


def exchange(
    server: Listener,
    headers: Mapping[str, HeaderValue],
    *,
    patience: float = TIMEOUT,
    target: str = "/ws/bridge/",
) -> int | str:
    """Send a handshake and return the status of the answer, CLOSED without one, UNANSWERED after `patience` seconds."""
    with socket.create_connection(("127.0.0.1", server.port), patience) as link:
        try:
            link.sendall(handshake(server, headers, target=target))
            answer = _read_head(link)
        except ConnectionError:
            return CLOSED
        except TimeoutError:
            return UNANSWERED
    return int(answer.split(b" ", 2)[1]) if answer else CLOSED


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a frame, right or wrong.

    Args:
        opcode: any of 0 to 15.
        payload: unmasked.
        fin: whether it is the last of its message.
        rsv: the three reserved bits.
        masked: as every frame of a client has to be.
        length: what the header claims, instead of the payload's length.
    """
    claimed = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if claimed < 126:
        head += bytes([mask_bit | claimed])
    elif claimed < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack("!H", claimed)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", claimed)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


class RawWebSocket:
    """One TCP connection, upgraded.

    Args:
        server: where to.
        headers: of the handshake, besides the necessary ones.
    """

    def __init__(self, server: Listener, headers: Mapping[str, HeaderValue]) -> None:
        self._link = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
        self._link.sendall(handshake(server, headers))
        # The answer to the handshake.
        self.head = _read_head(self._link)
        if not self.head.startswith(b"HTTP/1.1 101"):
            self._link.close()
            raise ConnectionError(self.head)

    def __enter__(self) -> RawWebSocket:  # noqa: PYI034  Self is Python 3.11's
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.close()

    def send(self, raw: bytes) -> None:
        """Send bytes; a server that has closed meanwhile is no failure of the sender."""
        with contextlib.suppress(ConnectionError):
            self._link.sendall(raw)

    def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame of the server, which sends whole messages.

        Raises:
            ConnectionError: the connection ended.
        """
        first, second = self._read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        return first & 0x0F, self._read(length)

    def receive_end(self) -> tuple[int, list[bytes]]:
        """Return the close code, RESET without one, and the texts that came before."""
        texts: list[bytes] = []
        try:
            while True:
                opcode, payload = self.receive()
                if opcode == CLOSE:
                    return (struct.unpack("!H", payload[:2])[0] if payload else 1005), texts
                if opcode == TEXT:
                    texts.append(payload)
        except ConnectionError:
            return RESET, texts

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._link.recv(count - len(data))
            if not chunk:
                raise ConnectionError("closed")
            data += chunk
        return data


def _read_head(link: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        if not byte:
            break
        head += byte
    return head
