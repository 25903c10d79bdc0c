"""Connections that are never read, as raw sockets: a client library would read them."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path

__all__ = ["is_over", "memory_of", "open_deaf", "say"]

BUFFER = 4_096  # bytes that the kernel takes for a connection that is not read
CONNECT_TIMEOUT = 10.0  # seconds
ESTABLISHED = "01"  # as /proc/net/tcp writes it


def open_deaf(port: int, token: str) -> socket.socket:
    """Return a connection that has said `connect` to a worker, and reads no answer."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    link.settimeout(CONNECT_TIMEOUT)
    link.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET /ws/bridge/ HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Protocol: djwsbridge.v1",
    ]
    link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    link.recv(1)
    say(link, id=1, cmd="connect", token=token)
    return link


def say(link: socket.socket, **command: object) -> None:
    """Send a masked text frame.

    Raises:
        OSError: the worker has stopped reading, or has ended the connection.
    """
    text = json.dumps(command).encode()
    # RFC 6455, 5.2: a length is written in as few bytes as it needs. Servers end a connection that does not.
    short = len(text) < 126
    length = bytes([0x80 | len(text)]) if short else b"\xfe" + len(text).to_bytes(2, "big")
    link.sendall(b"\x81" + length + bytes(4) + text)


def is_over(link: socket.socket) -> bool:
    """Say whether a worker has let go of a connection: its side is told nothing of it while the other reads nothing."""
    try:
        ours, theirs = (f":{end[1]:04X}" for end in (link.getsockname(), link.getpeername()))
    except OSError:
        return True
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if local.endswith(theirs) and remote.endswith(ours):
            return state != ESTABLISHED
    return True


def memory_of(pid: int) -> float:
    """Return the MiB of memory that a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
