"""An attacker's tools: credentials of every kind, and sockets opened with them."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.servers import TIMEOUT, Site, run_manage

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "KEYS",
    "PATH",
    "V1",
    "Attacker",
    "KeyPair",
    "Target",
    "ask",
    "assert_alive",
    "assert_closed",
    "assert_told_and_closed",
    "hear",
    "make_people",
    "make_site_env",
    "say",
]

PATH = "/ws/bridge/"
V1 = "djwsbridge.v1"
AUDIENCE, ISSUER = "chat", "https://issuer.example"

# People and their sessions, made in the site's own database by the site's own code.
PREPARE = """
import json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

def session_of(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return session.session_key

people = {}
for name in %r:
    user = User.objects.create_user(name, password="correct horse")
    people[name] = [user.pk, session_of(user)]
User.objects.filter(username="inactive").update(is_active=False)
User.objects.filter(username="deleted").delete()
print(json.dumps(people))
"""


class KeyPair:
    """An RSA key of a token issuer, as PEM."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        self.public = (
            key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )


KEYS = KeyPair()

# Loopback addresses: limits per address must not carry over from one test to the next.
_addresses = (f"127.1.{number // 250}.{number % 250 + 1}" for number in itertools.count())


def make_site_env(base: Mapping[str, str], database: Path, **settings: Any) -> dict[str, str]:
    """Return the environment of a site with RS256 tokens and further settings."""
    tokens = {
        "ALGORITHM": "RS256",
        "SIGNING_KEY": KEYS.private,
        "VERIFYING_KEY": KEYS.public,
        "AUDIENCE": AUDIENCE,
        "ISSUER": ISSUER,
    }
    return {
        **base,
        "DJANGO_SETTINGS_MODULE": "tests.security.site_settings",
        "DATABASE_URL": f"sqlite:///{database}",
        "CSRF_TRUSTED_ORIGINS": "https://example.com",
        "SITE_SETTINGS": json.dumps({"SIMPLE_JWT": tokens, **settings}),
    }


def make_people(env: Mapping[str, str], *names: str) -> dict[str, tuple[int, str]]:
    """Make people in a site's database; return the primary key and the session key of each."""
    printed = run_manage("shell", "-v", "0", "-c", PREPARE % (names,), env=env)
    return {name: tuple(value) for name, value in json.loads(printed).items()}


@dataclass
class Target:
    """A running site and the people on it."""

    site: Site
    env: Mapping[str, str]
    # Name → primary key and session key.
    people: dict[str, tuple[int, str]]

    @classmethod
    def prepare(cls, site: Site, env: Mapping[str, str], *names: str) -> Target:
        """Make people on a site."""
        return cls(site, env, make_people(env, *names))

    def id_of(self, name: str) -> int:
        return self.people[name][0]

    def cookie_of(self, name: str) -> str:
        return f"sessionid={self.people[name][1]}"

    def claims(self, name: str = "alice", **claims: Any) -> dict[str, Any]:
        """Return the claims of a good access token, changed as asked; None removes one."""
        now = int(time.time())
        good = {
            "token_type": "access",
            "exp": now + 300,
            "iat": now,
            "jti": "0123456789abcdef0123456789abcdef",
            "user_id": str(self.id_of(name)),
            "aud": AUDIENCE,
            "iss": ISSUER,
        }
        return {key: value for key, value in {**good, **claims}.items() if value is not None}

    def token(self, name: str = "alice", **claims: Any) -> str:
        """Return a token signed as the site signs its own."""
        return jwt.encode(self.claims(name, **claims), KEYS.private, algorithm="RS256")

    def shell(self, code: str) -> str:
        """Run code of the site in a process of its own."""
        return run_manage("shell", "-v", "0", "-c", code, env=self.env)


@dataclass
class Attacker:
    """Somebody at an address of their own who opens sockets on a target."""

    target: Target
    address: str = field(default_factory=lambda: next(_addresses))
    _stack: ExitStack = field(default_factory=ExitStack)

    def open(
        self,
        path: str = PATH,
        *,
        token: str | None = None,
        cookie: str | None = None,
        origin: str | None = None,
        subprotocols: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientConnection:
        """Open a socket, closed when the test ends.

        Raises:
            InvalidStatus: the handshake was answered with something else than 101.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if cookie is not None:
            sent["Cookie"] = cookie
        return self._stack.enter_context(
            connect(
                f"{self.target.site.ws_url}{path}",
                origin=origin,
                subprotocols=subprotocols,
                additional_headers=sent,
                compression=None,
                proxy=None,
                open_timeout=TIMEOUT,
                close_timeout=TIMEOUT,
                source_address=(self.address, 0),
            )
        )

    def open_v1(self, **options: Any) -> ClientConnection:
        """Open a socket that speaks v1."""
        return self.open(subprotocols=[V1], **options)

    def connect(self, name: str = "alice", *, token: str | None = None) -> ClientConnection:
        """Open a socket, send `connect` with a good token and wait for the reply."""
        socket = self.open_v1()
        reply = ask(socket, "connect", token=token or self.target.token(name))
        assert "ok" in reply, reply
        return socket

    def assert_refused(
        self, status: int, path: str = PATH, *, daphne: int = 403, **options: Any
    ) -> None:
        """Expect an HTTP status; Daphne knows only 403 for what the application refuses before accept."""
        expected = daphne if self.target.site.server == "daphne" else status
        with pytest.raises(InvalidStatus) as refused:
            self.open(path, **options)
        assert refused.value.response.status_code == expected

    def leave(self) -> None:
        """Close all sockets."""
        self._stack.close()


def hear(socket: ClientConnection, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Return the next frame that is not about who comes and goes."""
    while True:
        frame: dict[str, Any] = json.loads(socket.recv(timeout))
        if frame.get("push") != "presence.changed":
            return frame


def say(socket: ClientConnection, frame: object) -> None:
    """Send a frame: text and bytes as they are, everything else as JSON."""
    socket.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))


def ask(socket: ClientConnection, cmd: str, *, id: int = 1, **fields: Any) -> dict[str, Any]:
    """Send a command and return the next frame."""
    say(socket, {"id": id, "cmd": cmd, **fields})
    return hear(socket)


def assert_alive(socket: ClientConnection) -> None:
    """Expect that a connection goes on."""
    reply = ask(socket, "heartbeat", id=77)
    assert reply["id"] == 77
    assert "ok" in reply


def assert_told_and_closed(
    socket: ClientConnection, close_code: int, error_code: str, *, timeout: float = TIMEOUT
) -> dict[str, Any]:
    """Expect the error, in the words of the connection's dialect, and then the close code."""
    frame = hear(socket, timeout)
    data: dict[str, Any] = frame["data"] if "push" in frame else frame
    assert data["code"] == error_code, frame
    assert_closed(socket, close_code, timeout=timeout)
    return data


def assert_closed(socket: ClientConnection, close_code: int, *, timeout: float = TIMEOUT) -> None:
    """Expect nothing but the close frame."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == close_code
