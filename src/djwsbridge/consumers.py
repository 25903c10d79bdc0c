"""The socket of a user: what the first seed calls `UserConsumer`, to be used as it is or derived from.

It is no Channels consumer: nothing is dispatched per reader. What reaches a connection goes from the hub to its send
queue; this class decides only about what the user sends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, TypeVar

import msgspec
from django.contrib.auth.models import AbstractBaseUser

from djwsbridge import store
from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError
from djwsbridge.protocol.frames import PlainMessage, SendToUser
from djwsbridge.protocol.plain import PlainDialect, read_recipient
from djwsbridge.protocol.server import Dialect
from djwsbridge.protocol.text import check_body
from djwsbridge.protocol.topics import wire_id
from djwsbridge.publish import has_text_keys, publish_written
from djwsbridge.runtime import user_topic
from djwsbridge.threads import run_service
from djwsbridge.transport import registry
from djwsbridge.transport.admission import count_search
from djwsbridge.transport.asgi import Receive, Scope, Send
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.endpoint import serve
from djwsbridge.transport.inbox import DONE
from djwsbridge.transport.together import Together

__all__ = ["DONE", "UserConsumer", "send_to_user"]

T = TypeVar("T")
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class UserConsumer:
    """One connected user.

    Derive from it and override `may_write`, `store`, `connected`, `disconnected` or `topics`; docs/howto shows how.
    """

    # Shared by all connections: the hub writes a push once for each dialect object.
    _plain: ClassVar[Dialect] = PlainDialect()
    # In projects whose users have texts for keys.
    _plain_text_keys: ClassVar[Dialect] = PlainDialect(text_keys=True)

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    def as_asgi(cls) -> ASGIApplication:
        """Return the ASGI application to be put into a `URLRouter`."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await serve(scope, receive, send, plain=cls.plain_dialect(), build=cls)

        return application

    @classmethod
    def plain_dialect(cls) -> Dialect:
        """Return the dialect for clients without a subprotocol."""
        return cls._plain_text_keys if has_text_keys() else cls._plain

    @property
    def user(self) -> AbstractBaseUser:
        """Return the actor; known from `connected` on."""
        return self.connection.user

    @property
    def scope(self) -> Scope:
        """Return the ASGI scope of the handshake."""
        return self.connection.scope

    # -- to be overridden ------------------------------------------------------------------------------------------

    def topics(self) -> Iterable[str]:
        """Return the topics to listen to besides the user's own. Sync; may talk to the database."""
        return registry.topics_of([self.user])[0]

    async def connected(self) -> None:
        """Do something when the user is there; everything is subscribed by now."""

    async def disconnected(self, close_code: int) -> None:
        """Do something when the user has gone."""

    def may_write(self, recipient: AbstractBaseUser) -> bool:
        """Say whether the user may write to somebody. Sync; may talk to the database."""
        return not getattr(recipient, "is_blocked", False)

    def store(self, message: PlainMessage, recipient: AbstractBaseUser) -> object:
        """Store a private message before anybody sees it. Sync; called only in the Store way."""
        return store.store_message(
            sender=self.user,
            recipient=recipient,
            content=message.body or "",
            type=message.type,
            frame=message.frame,
        )

    # -- what the connection asks for ------------------------------------------------------------------------------

    async def find_topics(self) -> list[str]:
        """Return what `topics` does; who leaves that to the apps is asked about with all who come just now."""
        if type(self).topics is not UserConsumer.topics:
            return list(await run_service(self.topics))
        if not registry.names_topics():
            return []
        return await _find_topics.ask(self.connection.runtime, self.user)

    # -- whom the user looks for -----------------------------------------------------------------------------------

    def _check_searches(self) -> None:
        """Refuse a user who has looked for too many people in vain, whether or not there is one this time.

        Raises:
            CommandError: `rate_limited`.
        """
        connection = self.connection
        now = connection.runtime.loop.time()
        _refuse_search(connection.admission.search_pause(connection.user_key, now=now))

    async def _search(self, service: Callable[..., T], *args: object, **fields: object) -> T:
        """Run a service that looks for a person, and count it when there is none: keys and names are not to be guessed.

        Raises:
            CommandError: `bad_recipient`, or `rate_limited` when that was too many; and whatever the service raises.
        """
        try:
            return await run_service(service, *args, **fields)
        except CommandError as error:
            if error.code is ErrorCode.BAD_RECIPIENT:
                connection = self.connection
                _refuse_search(await count_search(connection.runtime, connection.user_key))
            raise

    # -- what the user sends ---------------------------------------------------------------------------------------

    def receive(self, message: PlainMessage) -> Awaitable[None]:
        """Take a message of the user: check, store if the project stores, then push.

        A method that overrides it may be `async def`. A plain one that has nothing to wait for returns `DONE` and costs
        no task.

        Raises:
            CommandError: with what is wrong; nothing is stored then.
        """
        allowed = settings.ALLOWED_TYPES
        if allowed is not None and message.type not in allowed:
            raise CommandError(ErrorCode.UNKNOWN_TYPE, "This message type is not allowed.")
        if message.recipient is None:
            if store.is_on():
                raise CommandError(ErrorCode.BAD_RECIPIENT)
            self._push(self._write(message), None, now=True)
            return DONE
        self._check_searches()
        if store.is_on():
            return self._search(self._store_and_push, message)
        recipient = self._known_recipient(message)
        if recipient is None:
            return self._look_up_and_push(message)
        self._push(self._write(message), recipient, now=True)
        return DONE

    def _known_recipient(self, message: PlainMessage) -> AbstractBaseUser | None:
        """Return who is to get a message, when no database has to be asked.

        One who may not get it is looked up all the same: the answer takes as long as for a user who does not exist.
        """
        cls = type(self)
        if cls.may_write is not UserConsumer.may_write:
            return None
        runtime = self.connection.runtime
        known: AbstractBaseUser | None
        known = runtime.people.get(str(message.recipient), now=runtime.loop.time())
        return known if known is not None and known.is_active and self.may_write(known) else None

    async def _look_up_and_push(self, message: PlainMessage) -> None:
        runtime = self.connection.runtime
        asked_at = runtime.loop.time()
        recipient = await self._search(self._find_recipient, message)
        runtime.people.put(str(recipient.pk), recipient, asked_at=asked_at)
        self._push(self._write(message), recipient, now=True)

    def _store_and_push(self, message: PlainMessage) -> None:
        # First: what cannot be pushed must not be stored.
        data = self._write(message)
        recipient = self._find_recipient(message)
        if message.body is None:
            raise CommandError(ErrorCode.BAD_FIELD, field="content")
        self.store(message, recipient)
        self._push(data, recipient, now=False)

    def _write(self, message: PlainMessage) -> msgspec.Raw:
        """Write a message as JSON, once for all readers.

        Raises:
            CommandError: `too_large`. Written anew, a number can take four times the bytes of the client's `1e15`.
        """
        data = msgspec.json.encode({**message.frame, "sender": wire_id(self.user.pk)})
        limit = settings.PAYLOAD_BYTES
        if len(data) > limit:
            raise CommandError(ErrorCode.TOO_LARGE, limit=limit)
        return msgspec.Raw(data)

    def _push(self, data: msgspec.Raw, recipient: AbstractBaseUser | None, *, now: bool) -> None:
        """Hand a message to the sender's and the recipient's devices."""
        topics = [self.connection.user_topic]
        if recipient is not None and recipient.pk != self.user.pk:
            topics.append(user_topic(recipient.pk))
        publish_written(topics, "user.message", data, now=now)

    def _find_recipient(self, message: PlainMessage) -> AbstractBaseUser:
        """Return who is to get a message. Talks to the database."""
        recipient = None if message.recipient is None else store.find_user(message.recipient)
        if recipient is None or not self.may_write(recipient):
            raise CommandError(ErrorCode.BAD_RECIPIENT)
        return recipient


_find_topics = Together(registry.topics_of)


def _refuse_search(wait: float) -> None:
    if wait:
        raise CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1) from None


def send_to_user(connection: Connection, command: SendToUser) -> Awaitable[None]:
    """Carry out `user.send`: the same as a frame of the plain dialect."""
    frame: dict[str, Any] = {
        "type": command.type,
        "content": check_body(command.content),
        "recipient": command.recipient,
    }
    message = PlainMessage(
        frame=frame,
        type=command.type,
        body=command.content,
        recipient=read_recipient(command.recipient, text_keys=has_text_keys()),
    )
    return connection.consumer.receive(message)
