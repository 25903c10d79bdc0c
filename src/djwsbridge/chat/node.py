"""What the connections of one node share for the chat: sends on their way, and what is told in measure."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from django.db import Error as DatabaseError
from django.utils import timezone

from djwsbridge.chat import services
from djwsbridge.chat.pace import Coalescer, Throttle
from djwsbridge.chat.values import MessageView, ReceiptMoved, ReceiptPush, Typing
from djwsbridge.publish import publish
from djwsbridge.runtime import Runtime
from djwsbridge.threads import run_service
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.group_commit import GroupCommit

__all__ = ["ChatNode", "node_of"]

logger = logging.getLogger("djwsbridge.chat")

RECEIPT_INTERVAL = 1.0  # seconds between two receipts of a member of a room
TYPING_INTERVAL = 3.0  # seconds; readers forget a typing notice after twice that
SEEN_INTERVAL = 60.0  # seconds between two writes of when a user was last seen
LOOK_INTERVAL = 5.0  # seconds between two looks at who has come and gone


class ChatNode:
    """The chat's part of a node. Belongs to its event loop.

    Args:
        runtime: the node.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.sends: GroupCommit[services.Outgoing, MessageView] = GroupCommit(
            services.send_messages
        )
        # Not held: this object lives as long as its runtime does.
        self._runtime = weakref.ref(runtime)
        self._loop = runtime.loop
        # What is told on each topic of each member of each room.
        self._receipts: Coalescer[tuple[str, int, object], ReceiptPush] = Coalescer(
            RECEIPT_INTERVAL, _further
        )
        self._is_telling = False
        # By room and user.
        self._typing: Throttle[tuple[int, object]] = Throttle(TYPING_INTERVAL)
        # Keys of the users who were connected at the last look.
        self._present: set[Any] = set()
        # When each user, by key, was last seen.
        self._seen: Coalescer[Any, tuple[Any, datetime]] = Coalescer(SEEN_INTERVAL, max)
        self._saving: asyncio.Task[None] | None = None
        # Keys of the users who asked for something since then: they may be gone by the next one.
        self._visitors: set[Any] = set()
        self._loop.call_soon(self._look_again)

    # -- receipts --------------------------------------------------------------------------------------------------

    def tell_receipts(self, pushes: Iterable[ReceiptPush]) -> None:
        """Push receipts, those of one member of a room at most once a second."""
        for push in pushes:
            key = (push.topic, push.receipt.room, push.receipt.user)
            ready = self._receipts.put(key, push, now=self._loop.time())
            if ready is not None:
                publish(ready.topic, "receipt", ready.receipt)
        self._plan_receipts()

    def _plan_receipts(self) -> None:
        deadline = self._receipts.deadline
        if deadline is not None and not self._is_telling:
            self._is_telling = True
            self._loop.call_at(deadline, self._tell_due)

    def _tell_due(self) -> None:
        self._is_telling = False
        for push in self._receipts.take_due(now=self._loop.time()):
            publish(push.topic, "receipt", push.receipt)
        self._plan_receipts()

    # -- typing ----------------------------------------------------------------------------------------------------

    def tell_typing(self, notice: Typing) -> None:
        """Push that a member of a room is typing, unless that was pushed a moment ago."""
        if self._typing.admit((notice.room, notice.user.id), now=self._loop.time()):
            publish(services.room_topic(notice.room), "typing", notice)

    # -- last seen -------------------------------------------------------------------------------------------------

    def note_visitor(self, key: object) -> None:
        """Note that a user, by key, is here now, however short their visit."""
        self._visitors.add(key)

    def _look_again(self) -> None:
        runtime = self._runtime()
        if runtime is None:
            return
        if runtime.started:
            self.look(runtime)
        self._loop.call_later(LOOK_INTERVAL, self._look_again)

    def look(self, runtime: Runtime) -> None:
        """Note who has come or gone since the last look: one write for all of them."""
        now, moment = self._loop.time(), timezone.now()
        members = cast("set[Connection]", runtime.members)
        present = {one.user_id for one in members if one.identity is not None}
        moments = dict(self._seen.take_due(now=now))
        for key in (self._present ^ present) | (self._visitors - present):
            ready = self._seen.put(key, (key, moment), now=now)
            if ready is not None:
                moments[key] = moment
        self._present = present
        self._visitors.clear()
        if moments:
            self._saving = self._loop.create_task(_save_seen(moments))


async def _save_seen(moments: dict[Any, datetime]) -> None:
    try:
        await run_service(services.record_seen, moments)
    except DatabaseError as error:
        logger.warning("When users were last seen could not be stored: %r", error)


def _further(older: ReceiptPush, newer: ReceiptPush) -> ReceiptPush:
    """Return the newer receipt with the pointers that are further: threads may overtake each other."""
    one, other = older.receipt, newer.receipt
    read_seq = other.read_seq
    if isinstance(one.read_seq, int) and isinstance(read_seq, int):
        read_seq = max(one.read_seq, read_seq)
    delivered_seq = max(one.delivered_seq, other.delivered_seq)
    return ReceiptPush(newer.topic, ReceiptMoved(other.room, other.user, delivered_seq, read_seq))


_nodes: weakref.WeakKeyDictionary[Runtime, ChatNode] = weakref.WeakKeyDictionary()


def node_of(connection: Connection) -> ChatNode:
    """Return the chat's part of the node of a connection that asks for something."""
    runtime = connection.runtime
    if runtime not in _nodes:
        _nodes[runtime] = ChatNode(runtime)
    _nodes[runtime].note_visitor(connection.user.pk)
    return _nodes[runtime]
