"""What a client of Socket.IO says, to either of its servers: WebSocket from the beginning, Engine.IO 4."""

from __future__ import annotations

from benchmarks.harness.generator import MESSAGE, Lines
from benchmarks.systems import Load

__all__ = ["socketio_client"]

_PUBLISH: dict[Load, str] = {
    "fanout": '42["message",%s]',
    "unicast": '42{id}["direct","{peer}",%s]',
}


def socketio_client(load: Load) -> Lines:
    """Return the lines of a scenario."""
    lines: Lines = [
        ("path", "/socket.io/?EIO=4&transport=websocket"),
        ("hello", '40{"token":"{token}","room":"{room}"}'),
        ("ready", '40{"sid"'),
        ("ping", "2"),
        ("pong", "3"),
        ("error", "44{"),
    ]
    if load in _PUBLISH:
        lines.append(("publish", _PUBLISH[load] % MESSAGE))
    if load == "unicast":
        lines += [("reply", "43"), ("expected", 1)]
    return lines
