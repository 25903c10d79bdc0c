"""HTTP by Django under ASGI, for sites whose middleware and views are sync.

Django's own handler goes to a thread and back for the signals, for each middleware that has a sync hook and for the
view, fourteen times for a page of the chat, and each request begins a thread, with a new connection to the database in
it. All that is taken from the WebSockets of the same process. Here a request is one visit to a thread that stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any, cast

import django
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import FileResponse, HttpResponseBase
from django.urls import set_script_prefix

from djwsbridge.thread_pool import ThreadPool

__all__ = ["HTTPHandler", "get_http_application"]

# As many requests as are served side by side; an async view takes one as well while it runs.
THREADS = 32
LINGER = 60.0  # seconds for which a thread lives, with its connection, when no request comes

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


def get_http_application(*, threads: int = THREADS) -> HTTPHandler:
    """Return what `django.core.asgi.get_asgi_application` returns, for sites whose middleware and views are sync.

    Args:
        threads: as many requests as are served side by side; the others wait.
    """
    django.setup(set_prefix=False)
    return HTTPHandler(threads=threads)


class HTTPHandler(ASGIHandler):
    """Serve each request in a thread of a pool, from its first signal to its last.

    An async view runs in the event loop, and is not cancelled when its client leaves.

    Args:
        threads: as many requests as are served side by side; the others wait.
    """

    def __init__(self, *, threads: int = THREADS) -> None:
        super().__init__()
        self._pool = ThreadPool(threads, "djwsbridge http", linger=LINGER)

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002  Django's own signature
        """Build the chain of middleware for sync calls, whatever kind of handler this is."""
        super().load_middleware(is_async=False)

    async def handle(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request; what Django's handler calls for it."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            response = await self._pool.run(self._respond, scope, body)
            if response.streaming:
                await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)

    def _respond(self, scope: Mapping[str, Any], body: IO[bytes]) -> HttpResponseBase:
        """Return the response to a request, closed when its content is whole."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = self.__class__  # noqa: SLF001  Django's own: who sends `request_finished`
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if not response.streaming:
            response.close()
        return cast(HttpResponseBase, response)

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Send a response part by part while its client is there."""
        tasks = [
            asyncio.ensure_future(self.send_response(response, send)),
            asyncio.ensure_future(self.listen_for_disconnect(receive)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
            await self._pool.run(response.close)
        if isinstance(sent, Exception):
            raise sent
