"""The handlers of the core's own commands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import islice

from django.db import InterfaceError, OperationalError

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError
from djwsbridge.protocol.frames import (
    Connect,
    Heartbeat,
    ListPresence,
    RecoverTopic,
    RefreshToken,
    Subscribe,
    Unsubscribe,
)
from djwsbridge.threads import run_service
from djwsbridge.transport.admission import count_guess
from djwsbridge.transport.auth.identity import Identity, refusal
from djwsbridge.transport.auth.ticket import redeem_ticket
from djwsbridge.transport.auth.token import authenticate_token_here
from djwsbridge.transport.connection import Connection
from djwsbridge.transport.failures import try_later
from djwsbridge.transport.recovery import recover, recover_announced, recover_page
from djwsbridge.transport.refusals import tell_closed
from djwsbridge.transport.registry import find_topic_rule, register_command
from djwsbridge.transport.topics import TOLD_AT_ONCE

__all__ = ["register_core_commands"]

_TWO_USERS = "The credentials in the handshake and in `connect` are of two users"


def register_core_commands() -> None:
    """Let connections carry out the commands of this module."""
    register_command(Connect, connect)
    register_command(Heartbeat, heartbeat)
    register_command(RecoverTopic, recover_topic)
    register_command(RefreshToken, refresh_token)
    register_command(Subscribe, subscribe)
    register_command(Unsubscribe, unsubscribe)
    register_command(ListPresence, list_presence)


async def connect(connection: Connection, command: Connect) -> Mapping[str, object]:
    """Let the actor in with the credential of the handshake or of this command."""
    if len(command.cursors) > settings.CURSORS:
        raise CommandError(ErrorCode.TOO_MANY, limit=settings.CURSORS)
    await connection.open(await _identify(connection, command), shown=command.cursors)
    try:
        topics = await recover(connection, sorted(connection.topics), command.cursors)
        announced = await recover_announced(connection)
        first = dict(islice(announced.items(), TOLD_AT_ONCE))
        connection.tell_moved({topic: announced[topic] for topic in announced.keys() - first})
    except (OperationalError, InterfaceError) as error:
        raise try_later(
            ErrorCode.DB_UNAVAILABLE
        ) from error  # nothing half-open: the client comes back
    # Without those to which access was lost while the log was read.
    left = connection.topics & topics.keys()
    welcome = {
        "connection_id": connection.connection_id,
        "user": connection.person,
        "heartbeat_ms": int(settings.HEARTBEAT_INTERVAL * 1000),
        "topics": {topic: found for topic, found in topics.items() if topic in left},
    }
    return {**welcome, "announced": first} if first else welcome


def heartbeat(connection: Connection, command: Heartbeat) -> Mapping[str, object]:
    """Answer: this side is alive; and these are the newest numbers, should one have been missed.

    A proof has been looked at already (`transport.serving`). It comes often, and tips can be long: it gets none.
    """
    reconciler = connection.runtime.reconciler
    if reconciler is None or command.proof is not None:
        return {}
    return {"tips": reconciler.tips(connection.topics)}


async def recover_topic(connection: Connection, command: RecoverTopic) -> Mapping[str, object]:
    """Tell what was missed on one topic, a page at a time."""
    if command.topic not in connection.topics:
        raise CommandError(ErrorCode.NOT_FOUND)
    return await recover_page(connection, command.topic, (command.epoch, command.seq))


async def refresh_token(connection: Connection, command: RefreshToken) -> Mapping[str, object]:
    """Go on with a newer token."""
    identity = await authenticate_token_here(command.token)
    connection.replace_identity(identity)
    expires_at = identity.expires_at or 0.0
    return {"expires_at": dt.datetime.fromtimestamp(expires_at, dt.timezone.utc)}


async def subscribe(connection: Connection, command: Subscribe) -> Mapping[str, object]:
    """Listen to a topic, if its rule allows."""
    rule, user = find_topic_rule(command.topic), connection.user
    await connection.subscribe(
        command.topic,
        is_allowed=lambda: rule is not None and rule(user, command.topic),
    )
    return {}


async def unsubscribe(connection: Connection, command: Unsubscribe) -> Mapping[str, object]:
    """Stop listening to a topic."""
    await connection.unsubscribe(command.topic, is_lost=False)
    return {}


def list_presence(connection: Connection, command: ListPresence) -> Mapping[str, object]:
    """Tell who is online on a topic."""
    if not connection.knows(command.topic):
        raise CommandError(ErrorCode.NOT_FOUND)
    online = connection.runtime.presence.online(command.topic)
    return {"users": online[: settings.PRESENCE_LIMIT], "count": len(online)}


async def _identify(connection: Connection, command: Connect) -> Identity:
    """Return who asks to connect; a credential in the command and one in the handshake must agree."""
    known = connection.handshake_identity
    try:
        if command.ticket is not None:
            identity = await run_service(redeem_ticket, command.ticket)
        elif command.token is not None:
            identity = await authenticate_token_here(command.token)
        elif known is not None:
            return known
        else:
            raise refusal(ErrorCode.AUTH_REQUIRED)
        if known is not None and known.user.pk != identity.user.pk:
            raise refusal(ErrorCode.TOKEN_INVALID, why=_TWO_USERS)
    except CloseConnection as reason:
        tell_closed(connection.scope, reason)
        wait = count_guess(connection.runtime, connection.address, reason)
        if not wait:
            raise
        error = CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
        raise CloseConnection(CloseCode.RATE_LIMITED, error) from None
    return identity
