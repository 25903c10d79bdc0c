"""One socket, from opening it to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from djwsbridge.client.credential import Credential
from djwsbridge.client.errors import HandshakeRefusedError
from djwsbridge.protocol.errors import CommandError

__all__ = ["CredentialFailed", "CredentialRefused", "Link"]

logger = logging.getLogger(__name__)

SUBPROTOCOL = Subprotocol("djwsbridge.v1")
CLOSE_TIMEOUT = 1.0  # seconds for the closing handshake; a half-open socket never answers
MAX_FRAME = 64 * 2**20  # bytes; the answer to `connect` may hold 500 events of each topic


class CredentialRefused(Exception):
    """The application's own function has said that there is no credential to be had."""


class CredentialFailed(Exception):
    """The application's own function has failed; asking again may help."""


class Link:
    """Carries frames between a socket and two functions.

    Args:
        url: of the endpoint.
        credential: is asked before the socket is opened.
        opened: called with what goes with `connect` when the socket is open.
        received: called with each frame.
    """

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        opened: Callable[[Mapping[str, str]], None],
        received: Callable[[str | bytes], None],
    ) -> None:
        self._url = url
        self._credential = credential
        self._opened = opened
        self._received = received
        # The token that the server has; None when it has none.
        self.token: str | None = None
        # Brings a newer token, and ends with the socket; None before the first time.
        self.renewal: asyncio.Task[None] | None = None
        # Frames to write; as many at most as commands wait for a reply.
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()

    def send(self, text: str) -> None:
        """Write a frame when the socket takes it."""
        self._outgoing.put_nowait(text)

    async def run(self) -> int | None:
        """Open the socket and carry frames until it ends; cancel it to close the socket.

        Returns:
            The server's close code; None when it sent none or could not be reached.

        Raises:
            CredentialRefused: there is no credential to be had.
            HandshakeRefusedError: the server answered with an HTTP status.
            CredentialFailed: the function that gets one has failed.
        """
        try:
            fields = await self._credential.fields()
            headers = await self._credential.headers()
            self.token = fields.get("token")
        except CommandError as error:
            if not error.retryable:
                raise CredentialRefused(str(error)) from error
            logger.warning("No credential: %s", error)
            raise CredentialFailed(str(error)) from error
        except Exception as error:
            logger.exception("No credential")
            raise CredentialFailed(f"{type(error).__name__}: {error}") from error
        try:
            async with self._connect(headers) as socket:
                return await self._carry(socket, fields)
        except InvalidStatus as error:
            raise HandshakeRefusedError(error.response.status_code) from None
        except (OSError, EOFError, WebSocketException) as error:
            logger.info("%s: %r", self._url, error)
            return None

    def _connect(self, headers: Mapping[str, str]) -> connect:
        return connect(
            self._url,
            subprotocols=[SUBPROTOCOL],
            additional_headers=headers,
            compression=None,
            open_timeout=None,  # the core has its own
            ping_interval=None,  # so too its heartbeats
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_FRAME,
        )

    async def _carry(self, socket: ClientConnection, fields: Mapping[str, str]) -> int | None:
        writer = asyncio.create_task(self._write(socket))
        try:
            self._opened(fields)
            async for frame in socket:
                self._received(frame)
        except ConnectionClosed:
            pass  # the code tells
        except asyncio.CancelledError:
            # On purpose; `connect` would call it a failure (1011).
            await socket.close()
            raise
        finally:
            writer.cancel()
            await asyncio.wait([writer])
        closed = socket.protocol.close_rcvd
        return None if closed is None else closed.code

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                await socket.send(await self._outgoing.get())
        except ConnectionClosed:
            pass  # the reader sees it too
