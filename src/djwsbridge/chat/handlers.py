"""One function per command of the chat: fields in, one service, its value out."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from djwsbridge.chat import services
from djwsbridge.chat.commands import (
    Acknowledge,
    ListMembers,
    ListMessages,
    MarkRead,
    SendMessage,
    SetTyping,
)
from djwsbridge.chat.node import node_of
from djwsbridge.chat.values import LastSeen, MembersSeen, MessagePage, MessageView, ReadView
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.threads import run_service
from djwsbridge.transport.inbox import DONE

if TYPE_CHECKING:
    from djwsbridge.transport.connection import Connection

__all__ = [
    "acknowledge",
    "list_members",
    "list_messages",
    "mark_read",
    "send_message",
    "set_typing",
]


def send_message(connection: Connection, command: SendMessage) -> Awaitable[MessageView]:
    """Answer `message.send`, when the group that it leaves with has committed."""
    outgoing = services.Outgoing(
        actor=connection.user,
        room_id=command.room,
        body=command.body,
        client_message_id=command.client_message_id,
    )
    return node_of(connection).sends.submit(outgoing)


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


async def acknowledge(connection: Connection, command: Acknowledge) -> Mapping[str, object]:
    """Answer `ack`."""
    pushes = await run_service(services.acknowledge, actor=connection.user, seqs=command.seqs)
    node_of(connection).tell_receipts(pushes)
    return {}


async def mark_read(connection: Connection, command: MarkRead) -> ReadView:
    """Answer `room.mark_read`."""
    read_seq, pushes = await run_service(
        services.mark_read, actor=connection.user, room_id=command.room, seq=command.seq
    )
    node_of(connection).tell_receipts(pushes)
    return ReadView(read_seq)


def set_typing(connection: Connection, command: SetTyping) -> Awaitable[None]:
    """Answer `typing.set`. A connection that knows the room is a member's, and no database is asked."""
    if not connection.knows(services.room_topic(command.room)):
        return _set_typing_unsubscribed(connection, command)
    _tell_typing(connection, command)
    return DONE


async def _set_typing_unsubscribed(connection: Connection, command: SetTyping) -> None:
    topic = services.room_topic(command.room)
    if not await run_service(services.may_subscribe, actor=connection.user, topic=topic):
        raise CommandError(ErrorCode.NOT_FOUND)
    _tell_typing(connection, command)


def _tell_typing(connection: Connection, command: SetTyping) -> None:
    notice = services.typing_notice(actor=connection.user, room_id=command.room)
    node_of(connection).tell_typing(notice)


async def list_members(connection: Connection, command: ListMembers) -> MembersSeen:
    """Answer `room.members`."""
    found, count = await run_service(
        services.list_last_seen, actor=connection.user, room_id=command.room
    )
    presence, topic = connection.runtime.presence, services.room_topic(command.room)
    members = []
    for user, last_seen in found:
        online = presence.is_online(topic, user.id)
        seen = None if online else last_seen
        members.append(LastSeen(id=user.id, name=user.name, online=online, last_seen=seen))
    return MembersSeen(members, count)
