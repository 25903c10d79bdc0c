"""The operations of the chat: check access, one transaction, publish after commit."""

from djwsbridge.chat.services.access import room_topic
from djwsbridge.chat.services.accounts import check_username
from djwsbridge.chat.services.direct import find_direct, open_direct
from djwsbridge.chat.services.messages import (
    Outgoing,
    list_messages,
    mark_read,
    send_message,
    send_messages,
)
from djwsbridge.chat.services.pages import load_page
from djwsbridge.chat.services.rooms import (
    create_room,
    find_room,
    find_topic,
    join_room,
    leave_room,
    list_members,
    list_rooms,
    list_topics,
    may_subscribe,
)

__all__ = [
    "Outgoing",
    "check_username",
    "create_room",
    "find_direct",
    "find_room",
    "find_topic",
    "join_room",
    "leave_room",
    "list_members",
    "list_messages",
    "list_rooms",
    "list_topics",
    "load_page",
    "mark_read",
    "may_subscribe",
    "open_direct",
    "room_topic",
    "send_message",
    "send_messages",
]
