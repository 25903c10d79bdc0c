"""What the connections of one node share for the chat: sends on their way, and what is told in measure."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import Error as DatabaseError
from django.utils import timezone

from djwsbridge.chat import services
from djwsbridge.chat.pace import Coalescer, Throttle
from djwsbridge.chat.values import MessageView, ReceiptMoved, ReceiptPush, Typing
from djwsbridge.group_commit import GroupCommit
from djwsbridge.publish import publish
from djwsbridge.runtime import Runtime
from djwsbridge.threads import run_service
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.node import node_of as transport_node_of

__all__ = ["ChatNode", "node_of", "note_arrival", "note_departure"]

logger = logging.getLogger("djwsbridge.chat")

RECEIPT_INTERVAL = 1.0  # seconds between two receipts of a member of a room
TYPING_INTERVAL = 3.0  # seconds; readers forget a typing notice after twice that
SEEN_INTERVAL = 60.0  # seconds between two writes of when a user was last seen
SEEN_DELAY = 5.0  # seconds in which such writes are gathered into one


class ChatNode:
    """The chat's part of a node. Belongs to its event loop.

    Args:
        runtime: the node.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.sends: GroupCommit[services.Outgoing, MessageView] = GroupCommit(
            services.send_messages
        )
        self._loop = runtime.loop
        # What is told on each topic of each member of each room.
        self._receipts: Coalescer[tuple[str, int, object], ReceiptPush] = Coalescer(
            RECEIPT_INTERVAL, _further
        )
        self._is_telling = False
        # By room and user.
        self._typing: Throttle[tuple[int, object]] = Throttle(TYPING_INTERVAL)
        # How many connections each user has here, by key; none is left out.
        self._present: Counter[Any] = Counter()
        # When each user, by key, was last seen to come or go.
        self._seen: Coalescer[Any, tuple[Any, datetime]] = Coalescer(SEEN_INTERVAL, max)
        # What of it is about to be stored.
        self._moments: dict[Any, datetime] = {}
        # When the next write begins; None while nothing is to be stored.
        self._next_save: asyncio.TimerHandle | None = None
        # The write that is under way; None when there is none.
        self._saving: asyncio.Task[None] | None = None
        # Whether the node is about to stop: nothing is gathered any more then, and nothing waits.
        self._is_stopping = False

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

    def arrive(self, key: object) -> None:
        """Note that a connection of a user, by key, is here."""
        self._present[key] += 1
        if self._present[key] == 1:
            self._note_seen(key)

    def depart(self, key: object) -> None:
        """Note that one has gone."""
        self._present[key] -= 1
        if self._present[key] <= 0:
            del self._present[key]
            self._note_seen(key)

    def _note_seen(self, key: object) -> None:
        """Note that a user was here just now, to be stored with others of the next seconds, once a minute."""
        moment = timezone.now()
        if self._seen.put(key, (key, moment), now=self._loop.time()) is not None:
            self._moments[key] = moment
        if self._is_stopping:
            self._save_rest()
        else:
            self._plan_saving(SEEN_DELAY)

    def _plan_saving(self, delay: float) -> None:
        """See to it that what is noted is stored within so many seconds."""
        moment = self._loop.time() + delay
        if self._next_save is not None:
            if self._next_save.when() <= moment:
                return
            self._next_save.cancel()
        self._next_save = self._loop.call_at(moment, self.save_seen)

    def save_seen(self) -> None:
        """Store what is due: one write for all."""
        self._next_save = None
        now = self._loop.time()
        self._save_due(now)
        if self._seen.deadline is not None:
            self._plan_saving(max(SEEN_DELAY, self._seen.deadline - now))

    def stop_gathering(self) -> None:
        """Store from now on what is noted at once: in a few seconds there is no process any more."""
        self._is_stopping = True

    def _save_rest(self) -> None:
        """Store all that is noted, in one write at a time: who leaves meanwhile is in the next one."""
        if self._saving is None:
            self._save_due(math.inf)

    def _save_due(self, now: float) -> None:
        moments = {**self._moments, **dict(self._seen.take_due(now=now))}
        self._moments.clear()
        if moments:
            self._saving = self._loop.create_task(self._save(moments))

    async def _save(self, moments: dict[Any, datetime]) -> None:
        try:
            await run_service(services.record_seen, moments)
        except DatabaseError as error:
            logger.warning("When users were last seen could not be stored: %r", error)
        finally:
            self._saving = None
        if self._is_stopping:
            self._save_rest()


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
    """Return the chat's part of the node of a connection."""
    chat = _nodes.get(connection.runtime)
    if chat is None:
        chat = _nodes[connection.runtime] = ChatNode(connection.runtime)
    return chat


def note_arrival(connection: Connection) -> None:
    """Note that a user is here."""
    node_of(connection).arrive(connection.user.pk)


def note_departure(connection: Connection) -> None:
    """Note that a connection of a user has gone."""
    chat = node_of(connection)
    if transport_node_of(connection.runtime).draining:
        chat.stop_gathering()
    chat.depart(connection.user.pk)
