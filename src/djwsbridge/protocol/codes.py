"""The closed lists of error codes and close codes, as data.

An **error code** stands in a reply: this command failed and the connection lives. A **close code** ends the
connection and tells the client what to do next. Both lists are shipped to the JavaScript client
(`static/djwsbridge/codes.js`) and compared with this module by a test.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = [
    "CLOSE_POLICIES",
    "ERROR_TEXTS",
    "RETRYABLE",
    "STAND_INS",
    "CloseCode",
    "ClosePolicy",
    "ErrorCode",
    "Reaction",
]


class ErrorCode(str, enum.Enum):
    """Why a command failed. The value is what goes over the wire."""

    BAD_JSON = "bad_json"
    BAD_FRAME = "bad_frame"
    TOO_DEEP = "too_deep"
    BAD_TEXT = "bad_text"
    BAD_FIELD = "bad_field"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_TYPE = "unknown_type"
    UNSUPPORTED_BINARY = "unsupported_binary"
    UNSUPPORTED_VERSION = "unsupported_version"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    EMPTY_BODY = "empty_body"
    BAD_NAME = "bad_name"

    AUTH_REQUIRED = "auth_required"
    ALREADY_AUTHENTICATED = "already_authenticated"
    TICKET_USED = "ticket_used"
    TICKET_EXPIRED = "ticket_expired"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    REVOKED = "revoked"

    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    BAD_RECIPIENT = "bad_recipient"
    CONFLICT = "conflict"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    BAD_ACK = "bad_ack"
    EDIT_WINDOW_CLOSED = "edit_window_closed"

    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    DB_UNAVAILABLE = "db_unavailable"
    COMMIT_UNKNOWN = "commit_unknown"
    STORAGE_FULL = "storage_full"
    TYPE_MISMATCH = "type_mismatch"
    IMAGE_TOO_LARGE = "image_too_large"

    EPOCH_CHANGED = "epoch_changed"
    INTERNAL = "internal"


#: Codes after which the same command may succeed when it is sent again.
RETRYABLE: frozenset[ErrorCode] = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.BUSY,
        ErrorCode.DB_UNAVAILABLE,
        ErrorCode.COMMIT_UNKNOWN,
        ErrorCode.INTERNAL,
    }
)

#: The sentence that goes with a code when nothing more precise is known. For people; programs read the code.
ERROR_TEXTS: Mapping[ErrorCode, str] = MappingProxyType(
    {
        ErrorCode.BAD_JSON: "The frame is not valid JSON.",
        ErrorCode.BAD_FRAME: "The frame must be a JSON object.",
        ErrorCode.TOO_DEEP: "The frame is nested too deeply.",
        ErrorCode.BAD_TEXT: "The text holds a character that cannot be stored.",
        ErrorCode.BAD_FIELD: "A field is missing or has the wrong type or value.",
        ErrorCode.UNKNOWN_FIELD: "The frame has a field that this command does not know.",
        ErrorCode.UNKNOWN_TYPE: "There is no such command or message type.",
        ErrorCode.UNSUPPORTED_BINARY: "Binary frames are not part of this protocol.",
        ErrorCode.UNSUPPORTED_VERSION: "This version of the protocol is not spoken here.",
        ErrorCode.TOO_LARGE: "The frame or the text is too large.",
        ErrorCode.TOO_MANY: "The frame asks for too many things at once.",
        ErrorCode.EMPTY_BODY: "The message has no visible text.",
        ErrorCode.BAD_NAME: "This name cannot be used.",
        ErrorCode.AUTH_REQUIRED: "Authentication is required.",
        ErrorCode.ALREADY_AUTHENTICATED: "This connection is already authenticated.",
        ErrorCode.TICKET_USED: "This ticket was used before.",
        ErrorCode.TICKET_EXPIRED: "This ticket has expired.",
        ErrorCode.TOKEN_INVALID: "The credential is not valid.",
        ErrorCode.TOKEN_EXPIRED: "The token has expired.",
        ErrorCode.REVOKED: "The session has ended. Log in again.",
        ErrorCode.NOT_FOUND: "Not found.",
        ErrorCode.FORBIDDEN: "You may not do this.",
        ErrorCode.BAD_RECIPIENT: "The recipient does not exist or cannot receive messages.",
        ErrorCode.CONFLICT: "This is in conflict with what exists.",
        ErrorCode.IDEMPOTENCY_CONFLICT: "This client_message_id was used for another message.",
        ErrorCode.BAD_ACK: "This seq does not exist yet.",
        ErrorCode.EDIT_WINDOW_CLOSED: "The time in which this can be edited is over.",
        ErrorCode.RATE_LIMITED: "Too many requests. Wait a moment.",
        ErrorCode.BUSY: "The server is busy. Try again.",
        ErrorCode.DB_UNAVAILABLE: "The database cannot be reached. Try again.",
        ErrorCode.COMMIT_UNKNOWN: "It is not known whether this was stored. Send it again with the same id.",
        ErrorCode.STORAGE_FULL: "There is no room left to store this.",
        ErrorCode.TYPE_MISMATCH: "The file is not of the declared type.",
        ErrorCode.IMAGE_TOO_LARGE: "The image has too many pixels.",
        ErrorCode.EPOCH_CHANGED: "The history of this topic was replaced. Load it again.",
        ErrorCode.INTERNAL: "Something went wrong on the server.",
    }
)


class CloseCode(enum.IntEnum):
    """Why a connection ends (RFC 6455, section 7.4; the last two digits of 44xx follow HTTP)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    TOO_BIG = 1009
    RESTART = 1012
    TRY_LATER = 1013
    BAD_PROTOCOL = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    CONNECT_TIMEOUT = 4408
    REPLACED = 4409
    REVOKED = 4410
    TOKEN_EXPIRED = 4411
    SLOW_CONSUMER = 4420
    HEARTBEAT_LOST = 4421
    RATE_LIMITED = 4429
    TOO_MANY_CONNECTIONS = 4430
    INTERNAL = 4500


#: Daphne sends no standard code but 1000 (autobahn refuses the others, RFC 6455 allows them): what it sends instead.
#: The error push that goes out before tells the real reason.
STAND_INS: Mapping[CloseCode, CloseCode] = MappingProxyType(
    {
        CloseCode.UNSUPPORTED_DATA: CloseCode.BAD_PROTOCOL,
        CloseCode.GOING_AWAY: CloseCode.NORMAL,
        CloseCode.TOO_BIG: CloseCode.NORMAL,
        CloseCode.RESTART: CloseCode.NORMAL,
        CloseCode.TRY_LATER: CloseCode.NORMAL,
    }
)


class Reaction(str, enum.Enum):
    """What a client does after a close code."""

    RECONNECT = "reconnect"  # with the client's own back-off
    RECONNECT_LATER = "reconnect_later"  # after the delay that the server named, or 10 s
    NEW_CREDENTIAL = "new_credential"  # once with a fresh ticket or token, then stop
    STOP = "stop"  # and tell the person why


@dataclass(frozen=True)
class ClosePolicy:
    """What a close code means for the one who receives it."""

    name: str
    reaction: Reaction


def _policy(code: CloseCode, reaction: Reaction) -> tuple[CloseCode, ClosePolicy]:
    return code, ClosePolicy(code.name.lower(), reaction)


#: One row per close code.
CLOSE_POLICIES: Mapping[CloseCode, ClosePolicy] = MappingProxyType(
    dict(
        (
            _policy(CloseCode.NORMAL, Reaction.RECONNECT),
            _policy(CloseCode.GOING_AWAY, Reaction.RECONNECT),
            _policy(CloseCode.UNSUPPORTED_DATA, Reaction.STOP),
            _policy(CloseCode.TOO_BIG, Reaction.RECONNECT),
            _policy(CloseCode.RESTART, Reaction.RECONNECT_LATER),
            _policy(CloseCode.TRY_LATER, Reaction.RECONNECT_LATER),
            _policy(CloseCode.BAD_PROTOCOL, Reaction.STOP),
            _policy(CloseCode.UNAUTHORIZED, Reaction.NEW_CREDENTIAL),
            _policy(CloseCode.FORBIDDEN, Reaction.STOP),
            _policy(CloseCode.CONNECT_TIMEOUT, Reaction.RECONNECT),
            _policy(CloseCode.REPLACED, Reaction.STOP),
            _policy(CloseCode.REVOKED, Reaction.STOP),
            _policy(CloseCode.TOKEN_EXPIRED, Reaction.NEW_CREDENTIAL),
            _policy(CloseCode.SLOW_CONSUMER, Reaction.RECONNECT),
            _policy(CloseCode.HEARTBEAT_LOST, Reaction.RECONNECT),
            _policy(CloseCode.RATE_LIMITED, Reaction.RECONNECT_LATER),
            _policy(CloseCode.TOO_MANY_CONNECTIONS, Reaction.RECONNECT_LATER),
            _policy(CloseCode.INTERNAL, Reaction.RECONNECT),
        )
    )
)
