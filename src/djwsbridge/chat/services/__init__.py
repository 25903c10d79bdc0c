"""The operations of the chat: check access, one transaction, publish after commit."""

from djwsbridge.chat.names import room_topic
from djwsbridge.chat.services.accounts import check_username
from djwsbridge.chat.services.departures import (
    delete_membership,
    delete_room,
    delete_user,
    hold_messages,
)
from djwsbridge.chat.services.direct import find_direct, open_direct, send_private
from djwsbridge.chat.services.messages import (
    Outgoing,
    erase_messages,
    list_messages,
    send_message,
    send_messages,
)
from djwsbridge.chat.services.pages import load_page
from djwsbridge.chat.services.people import (
    list_last_seen,
    record_seen,
    set_read_receipts,
    typing_notice,
    view_me,
)
from djwsbridge.chat.services.receipts import (
    acknowledge,
    describe_topics,
    mark_read,
)
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
    "acknowledge",
    "check_username",
    "create_room",
    "delete_membership",
    "delete_room",
    "delete_user",
    "describe_topics",
    "erase_messages",
    "find_direct",
    "find_room",
    "find_topic",
    "hold_messages",
    "join_room",
    "leave_room",
    "list_last_seen",
    "list_members",
    "list_messages",
    "list_rooms",
    "list_topics",
    "load_page",
    "mark_read",
    "may_subscribe",
    "open_direct",
    "record_seen",
    "room_topic",
    "send_message",
    "send_messages",
    "send_private",
    "set_read_receipts",
    "typing_notice",
    "view_me",
]
