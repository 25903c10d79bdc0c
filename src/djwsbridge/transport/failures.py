"""What a client is told when something goes wrong, and how its connection is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError

from djwsbridge.protocol.codes import STAND_INS, CloseCode, ErrorCode
from djwsbridge.protocol.errors import CloseConnection, CommandError, EngineUnavailable
from djwsbridge.threads import (
    PoolBusy,
    drop_broken_connections,
    is_outcome_unknown,
    lacks_table,
    sqlstate_of,
)
from djwsbridge.transport.asgi import Send, has_http_response

__all__ = [
    "CLOSE_TIMEOUT",
    "DATABASE_DOWN",
    "failure_of",
    "reason_to_close",
    "send_close",
    "too_many_connections",
    "try_later",
]

logger = logging.getLogger("djwsbridge.connection")

CLOSE_TIMEOUT = 5.0  # seconds for what waits, and again for the peer's own close frame
READING_TIME = 0.05  # seconds between the error push and the close
COME_BACK = 5.0  # seconds after which, at the latest, a client that was sent away tries again
TOO_MANY_PAUSE = 20.0  # seconds after which, at the latest, a client tries again whose user has too many connections
DATABASE_DOWN = (OperationalError, InterfaceError)
# PostgreSQL is alive and has rolled back: a conflict of transactions, a timeout of its own, no connection free.
_BUSY_STATES = ("40", "53300", "55P03", "57014")


def failure_of(error: BaseException) -> CommandError:
    """Return what the client is told of an exception: a code, and a reference to find it in the server's log."""
    if isinstance(error, DATABASE_DOWN) and not lacks_table(error):
        logger.warning("The database failed a command: %r", error)
        drop_broken_connections()
        return CommandError(_code_of(error))
    reference = uuid.uuid4().hex[:12]
    advice = " Has every migration been made and applied?" if lacks_table(error) else ""
    logger.error("A command failed (reference %s).%s", reference, advice, exc_info=error)
    return CommandError(ErrorCode.INTERNAL, reference=reference)


def _code_of(error: OperationalError | InterfaceError) -> ErrorCode:
    """Return what is known of a transaction that the database has not carried out; all of these may be tried again."""
    state = sqlstate_of(error)
    is_locked = state is None and "locked" in str(error)  # SQLite's word for another writer
    if is_locked or isinstance(error, PoolBusy) or (state or "").startswith(_BUSY_STATES):
        return ErrorCode.BUSY
    return ErrorCode.COMMIT_UNKNOWN if is_outcome_unknown(error) else ErrorCode.DB_UNAVAILABLE


def try_later(code: ErrorCode, *, within: float = COME_BACK, why: str = "") -> CloseConnection:
    """Return the reason to send a client away for a moment; random, so that a crowd does not come back at once."""
    delay = int(random.uniform(0.2, 1.0) * within * 1000)  # noqa: S311  no secret
    return CloseConnection(CloseCode.TRY_LATER, CommandError(code, retry_after_ms=delay), why=why)


def reason_to_close(error: Exception) -> CloseConnection:
    """Return the reason to end a connection that could not begin because of an exception."""
    if isinstance(error, CloseConnection):
        return error
    if isinstance(error, EngineUnavailable):
        return try_later(ErrorCode.BUSY)
    if isinstance(error, DATABASE_DOWN):
        return try_later(failure_of(error).code)
    return CloseConnection(CloseCode.INTERNAL, failure_of(error))


def too_many_connections() -> CloseConnection:
    """Return the reason to refuse a client whose user has too many living connections: it tries again later."""
    delay = int(random.uniform(0.5, 1.0) * TOO_MANY_PAUSE * 1000)  # noqa: S311  no secret
    error = CommandError(
        ErrorCode.TOO_MANY, "You have too many connections open.", retry_after_ms=delay
    )
    return CloseConnection(CloseCode.TOO_MANY_CONNECTIONS, error)


async def send_close(scope: Mapping[str, Any], send: Send, reason: CloseConnection) -> bool:
    """Close a connection with the code of a reason, or with what the server has instead of it.

    Returns:
        Whether the server took it in time; it does not while the peer reads nothing.
    """
    if not has_http_response(scope):
        # Daphne: it resets the TCP connection when the close is answered, which can cost the error push before it.
        await asyncio.sleep(READING_TIME)
    close = {
        "type": "websocket.close",
        "code": int(reason.close_code),
        "reason": reason.error.code.value,
    }
    try:
        await asyncio.wait_for(send(close), CLOSE_TIMEOUT)
    except (TimeoutError, asyncio.TimeoutError):
        return False
    except Exception:  # noqa: BLE001  the peer is gone, or the server does not send this code
        close["code"] = int(STAND_INS.get(reason.close_code, reason.close_code))
        with contextlib.suppress(Exception):
            await asyncio.wait_for(send(close), CLOSE_TIMEOUT)
    return True
