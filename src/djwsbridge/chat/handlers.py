"""One function per command of the chat: fields in, one service, its value out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from djwsbridge.chat import services
from djwsbridge.chat.commands import ListMessages, MarkRead, SendMessage
from djwsbridge.chat.values import MessagePage, MessageView, ReadView
from djwsbridge.runtime import Runtime
from djwsbridge.threads import run_service
from djwsbridge.transport.group_commit import GroupCommit

if TYPE_CHECKING:
    from djwsbridge.transport.connection import Connection

__all__ = ["list_messages", "mark_read", "send_message"]


_groups: WeakKeyDictionary[Runtime, GroupCommit[services.Outgoing, MessageView]]
_groups = WeakKeyDictionary()


def _sends(connection: Connection) -> GroupCommit[services.Outgoing, MessageView]:
    """Return what gathers the messages of this node's connections into transactions."""
    runtime = connection.runtime
    if runtime not in _groups:
        _groups[runtime] = GroupCommit(services.send_messages)
    return _groups[runtime]


async def send_message(connection: Connection, command: SendMessage) -> MessageView:
    """Answer `message.send`."""
    outgoing = services.Outgoing(
        actor=connection.user,
        room_id=command.room,
        body=command.body,
        client_message_id=command.client_message_id,
    )
    return await _sends(connection).submit(outgoing)


async def list_messages(connection: Connection, command: ListMessages) -> MessagePage:
    """Answer `message.list`."""
    return await run_service(
        services.list_messages,
        actor=connection.user,
        room_id=command.room,
        before=command.before,
        after=command.after,
        limit=command.limit,
    )


async def mark_read(connection: Connection, command: MarkRead) -> ReadView:
    """Answer `room.mark_read`."""
    return await run_service(
        services.mark_read, actor=connection.user, room_id=command.room, seq=command.seq
    )
