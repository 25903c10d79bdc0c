"""A client for Python: bots, services, tests and load.

    async with Client("wss://example.com/ws/bridge/", token=get_token) as client:
        message = await client.send_message(room=42, body="Good morning!")
        async for push in client.pushes():
            print(push.topic, push.seq, push.type, push.data)

It needs `websockets` and nothing of Django. Nothing acknowledged is lost: sends are retried until they are stored
once, and pushes are recovered from the server's log.
"""

from djwsbridge.client.actions import State, StateChange
from djwsbridge.client.client import Client
from djwsbridge.client.errors import (
    BadFrameError,
    ClientError,
    ConnectionLostError,
    HandshakeRefusedError,
    OutboxFullError,
    ReplyTimeoutError,
    StoppedError,
)
from djwsbridge.client.frames import Message, Person, Push, ReceiptEntry
from djwsbridge.client.outbox import Draft
from djwsbridge.client.topics import RESET
from djwsbridge.protocol.errors import CommandError

__all__ = [
    "RESET",
    "BadFrameError",
    "Client",
    "ClientError",
    "CommandError",
    "ConnectionLostError",
    "Draft",
    "HandshakeRefusedError",
    "Message",
    "OutboxFullError",
    "Person",
    "Push",
    "ReceiptEntry",
    "ReplyTimeoutError",
    "State",
    "StateChange",
    "StoppedError",
]
