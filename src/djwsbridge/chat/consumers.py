"""The plain room socket: one room per connection, in the frames of the second seed.

In `{"message": "…"}`, where `/pm <user> <text>` is a private message; whatever else begins so goes to nobody. Out, each
with its `type`: `user_list {users}`, `user_join {user}`, `user_leave {user}`, `chat_message {user, message}`,
`private_message {user, message}` and `private_message_delivered {target, message}`. Errors are `{"error", "code"}`, and
the socket stays open.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from django.urls import re_path

from djwsbridge.accounts import name_of
from djwsbridge.chat import services
from djwsbridge.chat.node import node_of
from djwsbridge.chat.values import RoomView, UserRef
from djwsbridge.consumers import ASGIApplication, UserConsumer
from djwsbridge.protocol.codec import decode_push
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.plain import PlainDialect
from djwsbridge.protocol.text import is_blank
from djwsbridge.publish import has_text_keys
from djwsbridge.runtime import user_topic
from djwsbridge.threads import run_service
from djwsbridge.transport.auth.handshake import HandshakeRefused
from djwsbridge.transport.endpoint import (
    OUTCOME,
    authenticate,
    choose_dialect,
    deny,
    refuse,
    serve,
)
from djwsbridge.transport.failures import DATABASE_DOWN, failure_of, try_later

if TYPE_CHECKING:
    from django.urls import URLPattern

    from djwsbridge.protocol.frames import PlainMessage
    from djwsbridge.transport.asgi import Receive, Scope, Send
    from djwsbridge.transport.connection import Connection

__all__ = ["RoomConsumer", "RoomDialect", "routes"]

PRIVATE_PREFIX = "/pm"
HOW_TO_WRITE = "Nothing was sent. A private message is: /pm, a space, the name, a space, the text."

#: Pushes that are the seed's frames already: to one user, or to one connection.
OWN_PUSHES = frozenset({"private_message", "private_message_delivered", "user_list"})


def routes() -> list[URLPattern]:
    """Return the route of the plain room socket; the name may hold whatever a title may."""
    return [re_path(r"^ws/chat/(?P<room_name>.+?)/?$", RoomConsumer.as_asgi())]  # type: ignore[arg-type]


class RoomDialect(PlainDialect):
    """The second seed's frames for the sockets of one room.

    Args:
        topic: the room's; what is pushed on other rooms' topics is not for these sockets.
    """

    def __init__(self, topic: str) -> None:
        super().__init__(text_keys=has_text_keys())
        self.topic = topic

    def encode_push(self, text: str) -> str | None:
        """Write a push flat; None for what the seed's page does not know."""
        push = decode_push(text)
        data = msgspec.json.decode(push.data)
        if push.type in OWN_PUSHES:
            return _write(push.type, data)
        if push.topic != self.topic:
            return None
        if data.get("scrubbed"):
            return None
        if push.type == "message.sent":
            return _write("chat_message", {"user": data["sender"]["name"], "message": data["body"]})
        if push.type == "presence.changed":
            kind = "user_join" if data["state"] == "online" else "user_leave"
            return _write(kind, {"user": data["user"]["name"]})
        return None


# The sockets of one room share one object, so that the hub writes each push once for all of them.
_dialect = functools.lru_cache(maxsize=1024)(RoomDialect)


class RoomConsumer(UserConsumer):
    """One user in one room; connecting to an open group joins it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        # Known from `topics` on, which is asked for before anything else.
        self.room: RoomView

    @classmethod
    def as_asgi(cls) -> ASGIApplication:
        """Return the ASGI application to be put into a `URLRouter`."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            plain = cls.plain_dialect()
            try:
                dialect, _ = choose_dialect(scope, plain)
                identity = await authenticate(scope)
                if identity is not None and dialect is plain:  # no stranger makes the database work
                    topic = await run_service(services.find_topic, name=_room_name(scope))
                    plain = _dialect(topic)
            except HandshakeRefused as error:
                await deny(scope, receive, send, error)
                return
            except CloseConnection as reason:
                await refuse(scope, receive, send, reason, plain=plain)
                return
            except DATABASE_DOWN as error:
                later = try_later(failure_of(error).code)
                await refuse(scope, receive, send, later, plain=plain)
                return
            await serve({**scope, OUTCOME: identity}, receive, send, plain=plain, build=cls)

        return application

    def topics(self) -> Iterable[str]:
        """Find the room; its topic follows in `connected`.

        Raises:
            CloseConnection: 4403, the user may not know of such a room.
        """
        try:
            self.room = services.find_room(actor=self.user, name=_room_name(self.scope))
        except CommandError as error:
            raise CloseConnection(CloseCode.FORBIDDEN, error) from None
        return []

    async def connected(self) -> None:
        """Tell who is there, join a group if need be, and listen.

        Joining lets every connection of the user listen, so the list goes out before: nobody hears
        of their own arrival first. Who arrived while it took its time is told after.

        Raises:
            CloseConnection: 1013, the engine cannot be reached.
        """
        topic = services.room_topic(self.room.id)
        told = self._tell_users(topic, known=frozenset())
        if not self.room.is_member:
            await run_service(services.join_room, actor=self.user, room_id=self.room.id)
        try:
            await self.connection.subscribe(topic)
        except CommandError as error:
            raise CloseConnection(CloseCode.TRY_LATER, error) from None
        self._tell_users(topic, known=told)

    def _tell_users(self, topic: str, *, known: frozenset[str]) -> frozenset[str]:
        """Tell who is online, the user included, unless all of them are known; return their names."""
        online = self.connection.runtime.presence.online(topic)
        users = frozenset({name_of(self.user), *(person.name for person in online)})
        if not users <= known:
            self.connection.tell("user_list", {"users": sorted(users, key=str.casefold)})
        return users

    async def receive(self, message: PlainMessage) -> None:
        """Store what the user wrote, in the room or in a private conversation.

        Raises:
            CommandError: with what is wrong; nothing is stored then.
        """
        if message.body is None:
            raise CommandError(ErrorCode.BAD_FIELD, field="message")
        private = read_private(message.body)
        if private is not None:
            await self._send_private(*private)
        else:
            outgoing = services.Outgoing(
                actor=self.user,
                room_id=self.room.id,
                body=message.body,
                client_message_id=uuid.uuid4(),
            )
            await node_of(self.connection).sends.submit(outgoing)

    async def _send_private(self, target: str, text: str) -> None:
        self._check_searches()
        peer = await self._search(
            services.send_private, actor=self.user, username=target, body=text
        )
        if self._has_device(peer):
            self.connection.tell("private_message_delivered", {"target": target, "message": text})

    def _has_device(self, peer: UserRef) -> bool:
        """Say whether a connection of a user is open now: the leases of presence linger."""
        runtime, topic = self.connection.runtime, user_topic(peer.id)
        here = next(runtime.hub.subscribers(topic), None) is not None
        return here or runtime.presence.is_online_elsewhere(topic, peer.id)


def read_private(body: str) -> tuple[str, str] | None:
    """Return for whom a private message is and what it says, either of them perhaps empty; None for what is for all.

    Raises:
        CommandError: `bad_recipient` for what begins like a private message and is none: it may hold a secret.
    """
    words = "".join(itertools.dropwhile(is_blank, body)).split(maxsplit=2)
    # As the keyboard of another script writes it, too, and with what is not seen in between.
    seen = "".join(itertools.filterfalse(is_blank, words[0])) if words else ""
    command = unicodedata.normalize("NFKC", seen[:16]).casefold()
    if not command.startswith(PRIVATE_PREFIX):
        return None
    if command != PRIVATE_PREFIX:
        raise CommandError(ErrorCode.BAD_RECIPIENT, HOW_TO_WRITE)
    _, target, text = (*words, "", "")[:3]
    return target, text.strip()


def _room_name(scope: Mapping[str, Any]) -> str:
    name: str = scope["url_route"]["kwargs"]["room_name"]
    return name


def _write(kind: str, data: Mapping[str, object]) -> str:
    return msgspec.json.encode({"type": kind, **data}).decode()
