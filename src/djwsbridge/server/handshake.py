"""The opening handshake (RFC 6455, section 4.2) of a request that the HTTP parser has read already.

The library `websockets` would read the same bytes once more, in Python: a quarter of what a connection costs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from httptools import HttpParserError, parse_url

from djwsbridge.protocol.errors import DjwsbridgeError

__all__ = [
    "HandshakeFailed",
    "key_of",
    "path_and_query",
    "refusal",
    "subprotocols_of",
    "switching_protocols",
]

MAX_HEADERS = 128
MAX_HEADER = 8_192  # bytes of a header's name and value, and of the request's target
KEY_BYTES = 16  # of a client's nonce
VERSION = b"13"
_OTHER_VERSION = "its Sec-WebSocket-Version is missing or not 13, the only one there is (RFC 6455)"
_NOT_HTTP_1_1 = (
    "it comes by HTTP/1.0: let the proxy in front speak HTTP/1.1 (nginx: proxy_http_version 1.1)"
)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = Sequence[tuple[bytes, bytes]]


class HandshakeFailed(DjwsbridgeError):
    """A request that asks for a WebSocket in a way that RFC 6455 does not allow.

    Args:
        status: of the answer.
        why: a sentence for the log, without its full stop and without anything that the client has sent.
        headers: of the answer, besides those of every one.
    """

    def __init__(self, status: HTTPStatus, why: str, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.why = why
        self.headers = headers
        super().__init__(f"HTTP {status.value}: {why}")


def key_of(method: str, version: str, target: bytes, headers: Headers) -> bytes:
    """Check a request that asks for an upgrade to WebSocket; return the client's key.

    Args:
        method: of the request.
        version: of HTTP, such as "1.1".
        target: what is asked for, as it stands in the request.
        headers: names in lower case, and values.

    Raises:
        HandshakeFailed: it is no handshake, or larger than any client's.
    """
    _check_size(target, headers)
    if method != "GET":
        raise HandshakeFailed(
            HTTPStatus.METHOD_NOT_ALLOWED, "its method is not GET", (b"Allow", b"GET")
        )
    if version != "1.1":
        raise HandshakeFailed(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, _NOT_HTTP_1_1)
    if not target.isascii() or _has_body(headers):
        raise HandshakeFailed(
            HTTPStatus.BAD_REQUEST, "it has a body, or an address that is not ASCII"
        )
    if _only(headers, b"sec-websocket-version") != VERSION:
        spoken = (b"Sec-WebSocket-Version", VERSION)
        raise HandshakeFailed(HTTPStatus.UPGRADE_REQUIRED, _OTHER_VERSION, spoken)
    key = _only(headers, b"sec-websocket-key")
    try:
        nonce = base64.b64decode(key, validate=True)
    except binascii.Error:
        nonce = b""
    if len(nonce) != KEY_BYTES:
        raise HandshakeFailed(HTTPStatus.BAD_REQUEST, "its Sec-WebSocket-Key is missing or no key")
    return key


def _check_size(target: bytes, headers: Headers) -> None:
    too_many = len(headers) > MAX_HEADERS or len(target) > MAX_HEADER
    if too_many or any(len(name) + len(value) > MAX_HEADER for name, value in headers):
        raise HandshakeFailed(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"it has more than {MAX_HEADERS} headers, or one (such as Cookie) of more than {MAX_HEADER} bytes",
        )


def path_and_query(target: bytes) -> tuple[bytes, bytes]:
    """Return both parts of a request's target. A proxy may use the absolute form (RFC 9112, section 3.2.2).

    Raises:
        HandshakeFailed: it is no address.
    """
    if not target.startswith(b"/"):
        try:
            url = parse_url(target)
        except HttpParserError:
            raise HandshakeFailed(HTTPStatus.BAD_REQUEST, "its target is no address") from None
        return url.path or b"/", url.query or b""
    path, _, query = target.partition(b"?")
    return path, query


def subprotocols_of(headers: Headers) -> list[str]:
    """Return what a client offers to speak, in its order of preference."""
    return [
        token.strip()
        for name, value in headers
        if name == b"sec-websocket-protocol"
        for token in value.decode("latin-1").split(",")
    ]


def switching_protocols(
    key: bytes, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return the answer that accepts a handshake.

    Args:
        key: of the client.
        subprotocol: which of those offered; None for none.
        headers: further ones.
    """
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    own = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", base64.b64encode(digest)),
    ]
    if subprotocol is not None:
        own.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
    return _write(HTTPStatus.SWITCHING_PROTOCOLS, [*own, *headers])


def refusal(failure: HandshakeFailed) -> bytes:
    """Return the answer to a handshake that has failed."""
    own = [(b"Connection", b"close"), (b"Content-Length", b"0")]
    return _write(failure.status, [*own, *failure.headers])


def _has_body(headers: Headers) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


def _only(headers: Headers, wanted: bytes) -> bytes:
    """Return the value of a header that is there once, else nothing."""
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else b""


def _write(status: HTTPStatus, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status.value, status.phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", b""])
