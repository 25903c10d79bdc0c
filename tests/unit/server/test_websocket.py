"""What a client sends while its handshake is answered: all of it is read, and in order.

uvloop looks for input between two turns of its queue, so that something can come in at any moment.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from djwsbridge.server import HTTPProtocol, WebSocketProtocol
from tests.security.raw_websocket import TEXT, frame
from tests.unit.server.test_open_socket import Application

EARLY, LATE = "before the answer", "just after it"
TURNS = 10  # of the event loop, in which it reads what is there
LIMIT = 65_536
PATIENCE = 5.0  # seconds; there is no network and no other process

Respond = Callable[[dict[str, Any], Any, Any, socket.socket], Awaitable[None]]


async def let_read() -> None:
    """Let the loop read what lies in the kernel already."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def shake_hands(client: socket.socket) -> None:
    key = base64.b64encode(b"sixteen bytes!!!").decode()
    lines = ["GET / HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    client.sendall("\r\n".join([*lines, "", ""]).encode())


@asynccontextmanager
async def listening(
    respond: Respond, http: Any, state: ServerState | None = None
) -> AsyncIterator[socket.socket]:
    """Serve an application, which is given the client's end as well; yields that end."""
    client = socket.socket()
    state = state or ServerState()

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await respond(scope, receive, send, client)

    config = Config(
        application, http=http, ws=WebSocketProtocol, interface="asgi3", log_config=None
    )
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
    )
    try:
        with client:
            client.connect(server.sockets[0].getsockname())
            yield client
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await server.wait_closed()


def run(scenario: Callable[[], Any]) -> None:
    uvloop.run(asyncio.wait_for(scenario(), PATIENCE))


@pytest.mark.parametrize("http", [HTTPProtocol, "h11"])
@pytest.mark.parametrize("early", [[], [EARLY]], ids=["", "early"])
def test_what_comes_in_while_the_answer_is_given_is_read(http: Any, early: list[str]) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def respond(scope: Any, receive: Any, send: Any, client: socket.socket) -> None:
        await receive()
        for text in early:
            client.sendall(frame(TEXT, text.encode()))
            await let_read()
        await send({"type": "websocket.accept"})
        client.sendall(frame(TEXT, LATE.encode()))
        while (event := await receive())["type"] == "websocket.receive":
            heard.put_nowait(event["text"])

    async def scenario() -> None:
        async with listening(respond, http) as client:
            shake_hands(client)
            assert [await heard.get() for _ in [*early, LATE]] == [*early, LATE]

    run(scenario)


@pytest.mark.parametrize("http", [HTTPProtocol, "h11"])
def test_who_attaches_is_told_everything_in_order(http: Any) -> None:
    class Listener(Application):
        def on_text(self, text: str) -> None:
            heard.put_nowait(text)

    heard: asyncio.Queue[str] = asyncio.Queue()

    async def respond(scope: Any, receive: Any, send: Any, client: socket.socket) -> None:
        await receive()
        client.sendall(frame(TEXT, EARLY.encode()))
        await let_read()
        await send({"type": "websocket.accept"})
        scope["extensions"]["djwsbridge.wire"]["attach"](Listener(), limit=LIMIT, max_size=LIMIT)
        client.sendall(frame(TEXT, LATE.encode()))

    async def scenario() -> None:
        async with listening(respond, http) as client:
            shake_hands(client)
            assert [await heard.get(), await heard.get()] == [EARLY, LATE]

    run(scenario)


async def echo(scope: Any, receive: Any, send: Any, client: socket.socket) -> None:
    """Accept, and send every text back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


@pytest.mark.parametrize("http", [HTTPProtocol, "h11"])
def test_fragments_without_content_do_not_pile_up(http: Any) -> None:
    async def scenario() -> None:
        state = ServerState()
        async with listening(echo, http, state) as client:
            reader, writer = await asyncio.open_connection(sock=client)
            shake_hands(client)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(frame(TEXT, b"one", fin=False) + frame(0, fin=False) * 1_000 + frame(9))
            await reader.readuntil(b"\x8a\x00")
            (protocol,) = state.connections
            assert protocol.frames == [b"one"]  # type: ignore[union-attr]
            writer.write(frame(0, b"two"))
            await reader.readuntil(b"onetwo")
            writer.close()

    run(scenario)


@pytest.mark.parametrize("http", [HTTPProtocol, "h11"])
def test_answers_to_pings_do_not_pile_up_for_a_client_that_does_not_read(http: Any) -> None:
    async def scenario() -> None:
        state, heard = ServerState(), asyncio.Event()

        async def listen(scope: Any, receive: Any, send: Any, client: socket.socket) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            heard.set()

        async with listening(listen, http, state) as client:
            client.setblocking(False)
            shake_hands(client)
            loop = asyncio.get_running_loop()
            assert (await loop.sock_recv(client, 4_096)).endswith(b"\r\n\r\n")
            (protocol,) = state.connections
            link = protocol.transport.get_extra_info("socket")  # type: ignore[union-attr]
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIMIT)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LIMIT)
            await loop.sock_sendall(client, frame(9, b"x" * 125) * 20_000 + frame(TEXT, b"end"))
            await heard.wait()
            assert protocol.transport.get_write_buffer_size() < 1 << 20  # type: ignore[union-attr]

    run(scenario)
