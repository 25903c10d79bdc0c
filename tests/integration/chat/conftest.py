"""People with a browser's means: a session, a CSRF token, sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.servers import TIMEOUT, Site

PASSWORD = "correct horse battery"


PROOF_ID = 10**9  # of the commands that a socket sends by itself


class Socket:
    """A WebSocket that reads JSON frames and remembers none; it proves that it reads, where the server asks."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, **frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def receive(self) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(self.connection.recv(timeout=TIMEOUT))
            if frame.get("push") == "proof":
                self.send(id=PROOF_ID, cmd="heartbeat", proof=frame["data"]["proof"])
            elif frame.get("id") != PROOF_ID:
                return frame

    def wait_for(self, **fields: Any) -> dict[str, Any]:
        """Return the next frame that has these fields; what comes before it is dropped."""
        while True:
            frame = self.receive()
            if fields.items() <= frame.items():
                return frame

    def close(self) -> None:
        self.connection.close()


class Person:
    """Somebody who signed up at a site."""

    def __init__(self, site: Site, name: str, stack: ExitStack) -> None:
        self.site = site
        self.name = name
        self._stack = stack
        self.client = stack.enter_context(
            httpx.Client(base_url=site.url, follow_redirects=True, timeout=TIMEOUT)
        )
        self.client.get("/accounts/signup/")
        answer = self.post_form(
            "/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD
        )
        assert answer.url.path == "/chat/", answer.text

    @property
    def csrf_token(self) -> str:
        return self.client.cookies["csrftoken"]

    def post_form(self, path: str, **fields: str) -> httpx.Response:
        return self.client.post(path, data={"csrfmiddlewaretoken": self.csrf_token, **fields})

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.client.post(path, json=fields, headers={"X-CSRFToken": self.csrf_token})

    def make_room(self, title: str) -> dict[str, Any]:
        answer = self.post("/chat/api/rooms/", title=title)
        assert answer.status_code == 201, answer.text
        room: dict[str, Any] = answer.json()
        return room

    def open_socket(self, path: str, *, subprotocol: str | None = None) -> Socket:
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        opening = connect(
            self.site.ws_url + path,
            origin=self.site.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            subprotocols=[subprotocol] if subprotocol else None,  # type: ignore[list-item]
            open_timeout=TIMEOUT,
        )
        return Socket(self._stack.enter_context(opening))

    def enter(self, room_name: str) -> Socket:
        """Open the plain socket of a room and read up to one's own arrival."""
        socket = self.open_socket(f"/ws/chat/{room_name}/")
        socket.wait_for(type="user_join", user=self.name)
        return socket

    def connect(self) -> Socket:
        """Open the socket of the pages and begin the session."""
        socket = self.open_socket("/ws/bridge/", subprotocol="djwsbridge.v1")
        socket.send(id=1, cmd="connect")
        assert "ok" in socket.wait_for(id=1)
        return socket


@pytest.fixture
def sign_up() -> Iterator[Callable[[Site, str], Person]]:
    """Return a function that makes a person with an account at a site."""
    with ExitStack() as stack:
        yield lambda site, name: Person(site, name, stack)
