"""A project whose users have texts for primary keys: what reaches a user reaches these, over two processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.security.rig import V1, ask, assert_told_and_closed, hear, say
from tests.servers import ROOT, TIMEOUT, Site, run_manage, serve, wait_until

# The person who writes to the others.
SENDER = "sam"
KEYS = {
    "word": "bob",
    "long-word": "w" * 75,
    "number": "7",
    "number-with-zeros": "007",
    "uuid": "7E57D004-2B97-0E7A-B45F-5387367791CD",
    "e-mail": "ann@example.com",
    "slashes": "eu/berlin/ann",
    "dots": "..",
    "spaces": "ann  of the lake ",
    "colon": "a:b",
    "escape": "a%2Fb",
    "script": "Жанна-女-🙂",
    "digest": ".9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "long": "k" * 254,
    "long-script": "ж" * 254,
}

FILES = {
    "manage.py": """
import os, sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "project/__init__.py": "",
    "project/settings.py": """
import os
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "rest_framework", "channels", "people", "djwsbridge", "djwsbridge.log", "djwsbridge.chat",
]
AUTH_USER_MODEL = "people.Person"
SIMPLE_JWT = {"USER_ID_FIELD": "key"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"],
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
}}
DJWSBRIDGE_ENGINE = os.environ["ENGINE"]
DJWSBRIDGE_REDIS_URL = os.environ["REDIS_URL"]
DJWSBRIDGE_SEND_RATE = (1000, 10.0)
CHANNEL_LAYERS = {"default": {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}]},
}}
ROOT_URLCONF = "project.urls"
USE_TZ = True
""",
    "project/urls.py": """
from django.urls import include, path
urlpatterns = [path("chat/", include("djwsbridge.chat.urls"))]
""",
    "project/asgi.py": """
import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
django.setup()
from djwsbridge.middleware import TokenAuthMiddleware
from djwsbridge.routing import get_websocket_urlpatterns
application = ProtocolTypeRouter({
    "http": get_asgi_application(),
    "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns())),
})
""",
    "people/__init__.py": "",
    "people/models.py": """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

class Person(AbstractBaseUser):
    key = models.CharField(max_length=254, primary_key=True)
    name = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "name"
""",
}

PREPARE = """
import json, os
from people.models import Person
from rest_framework_simplejwt.tokens import AccessToken
made = {}
for number, key in enumerate(json.loads(os.environ["KEYS"])):
    person = Person.objects.create(key=key, name=f"person {number}")
    made[key] = str(AccessToken.for_user(person))
print(json.dumps(made))
"""
PUSH = """
import json, os
from djwsbridge.utils import send_ws_message
from people.models import Person
for key in json.loads(os.environ["KEYS"]):
    send_ws_message(key, {"to": key})
    send_ws_message(Person(key=key), {"again": key}, durable=True)
"""
CHANGE_PASSWORDS = """
from people.models import Person
for person in Person.objects.exclude(pk="sam"):
    person.set_password("another one")
    person.save()
"""


class Project:
    """The project under two servers, with the tokens of its users by key."""

    def __init__(self, sites: list[Site], env: dict[str, str], cwd: Path) -> None:
        self.sites, self.env, self.cwd = sites, env, cwd
        self.tokens: dict[str, str] = json.loads(self.shell(PREPARE))
        # What a test has opened, closed when it ends.
        self.stack = ExitStack()

    def shell(self, code: str) -> str:
        """Run code of the project in a process of its own."""
        return run_manage("shell", "-v", "0", "-c", code, env=self.env, cwd=self.cwd)

    def open(self, key: str, *, site: int, plain: bool = False, **fields: Any) -> Any:
        """Open a socket of a user; return it with the answer to `connect`, alone when it is plain."""
        socket = self.stack.enter_context(
            connect(
                f"{self.sites[site].ws_url}/ws/bridge/",
                subprotocols=None if plain else [V1],  # type: ignore[list-item]
                additional_headers={"Authorization": f"Bearer {self.tokens[key]}"},
                compression=None,
                proxy=None,
                open_timeout=TIMEOUT,
            )
        )
        if plain:
            return socket
        answer = ask(socket, "connect", **fields)
        assert answer["ok"]["user"]["id"] == key
        return socket, answer["ok"]

    def post(self, key: str, path: str, body: object) -> Any:
        """Call the chat's API as a user."""
        headers = {"Authorization": f"Bearer {self.tokens[key]}"}
        return httpx.post(f"{self.sites[0].url}/chat/api/{path}", json=body, headers=headers)


@pytest.fixture(scope="module", params=["channel_layer", "redis"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[Project]:
    cwd = tmp_path_factory.mktemp("text-keys")
    for name, text in FILES.items():
        (cwd / name).parent.mkdir(exist_ok=True)
        (cwd / name).write_text(text)
    env = {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "PYTHONPATH": f"{cwd}:{ROOT / 'src'}",
        "DATABASE": str(cwd / "site.sqlite3"),
        "ENGINE": request.param,
        "REDIS_URL": redis_url,
        "KEYS": json.dumps([SENDER, *KEYS.values()]),
    }
    run_manage("migrate", "--run-syncdb", "--verbosity=0", env=env, cwd=cwd)
    served = {"directory": cwd, "env": env, "cwd": cwd, "application": "project.asgi:application"}
    with (
        serve("uvicorn", **served) as one,  # type: ignore[arg-type]
        serve("daphne", **served) as other,  # type: ignore[arg-type]
    ):
        yield Project([one, other], env, cwd)


@pytest.fixture
def project(running: Project) -> Iterator[Project]:
    with running.stack:
        yield running
    running.stack = ExitStack()


each_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())


def pushed(socket: ClientConnection, type: str) -> dict[str, Any]:
    """Return the data of the next push of a type."""
    data: dict[str, Any] = hear_until(socket, lambda frame: frame.get("push") == type)["data"]
    return data


def hear_until(socket: ClientConnection, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while True:
        frame = hear(socket)
        if fits(frame):
            return frame


def test_what_the_server_sends_reaches_this_user_alone_and_is_recovered(project: Project) -> None:
    sockets = {key: project.open(key, site=n % 2) for n, key in enumerate(KEYS.values())}
    plain = {
        key: project.open(key, site=(n + 1) % 2, plain=True) for n, key in enumerate(KEYS.values())
    }
    topics = {key: set(answer["topics"]) for key, (_, answer) in sockets.items()}
    for key, socket in plain.items():  # a plain socket is there when it hears itself
        say(socket, {"content": "ready"})
        assert json.loads(socket.recv(TIMEOUT))["sender"] == key
    project.shell(PUSH)
    for key, (socket, _) in sockets.items():
        assert pushed(socket, "user.message")["sender"] == key
        assert [pushed(socket, "signal"), pushed(socket, "signal")] == [{"to": key}, {"again": key}]
        frames = [json.loads(plain[key].recv(TIMEOUT)) for _ in range(2)]
        assert frames == [{"to": key}, {"again": key}]
    for key, (_, before) in sockets.items():
        (topic,) = (name for name in topics[key] if name.startswith("user."))
        cursor = [before["topics"][topic]["epoch"], before["topics"][topic]["seq"]]
        _, after = project.open(key, site=0, cursors={topic: cursor})
        recovered = after["topics"][topic]
        assert recovered["recovered"]
        assert [event["data"] for event in recovered["events"]] == [{"again": key}]


@each_key
def test_one_user_writes_to_another(project: Project, key: str) -> None:
    receiver, _ = project.open(key, site=1)
    sender, _ = project.open(SENDER, site=0)
    plain = project.open(SENDER, site=0, plain=True)
    assert "ok" in ask(sender, "user.send", id=2, recipient=key, content="by v1")
    frame = {"type": "text", "content": "by v1", "recipient": key, "sender": SENDER}
    assert pushed(receiver, "user.message") == frame
    say(plain, {"message": "plainly", "recipient": key})
    assert pushed(receiver, "user.message") == {
        "message": "plainly",
        "recipient": key,
        "sender": SENDER,
    }


@each_key
def test_a_direct_room_connects_two_users_and_shows_who_is_here(project: Project, key: str) -> None:
    receiver, _ = project.open(key, site=1)
    sender, _ = project.open(SENDER, site=0)
    answer = project.post(SENDER, "direct/", {"user": key})
    assert answer.status_code == 200, answer.text
    room = answer.json()
    assert room["peer"]["id"] == key
    assert project.post(key, "direct/", {"user": SENDER}).json()["id"] == room["id"]
    assert pushed(receiver, "room.joined")["room"]["id"] == room["id"]
    fields = {"room": room["id"], "body": "hello", "client_message_id": str(uuid.uuid4())}
    say(sender, {"id": 3, "cmd": "message.send", **fields})
    assert pushed(receiver, "message.sent")["sender"]["id"] == SENDER

    def online() -> set[str]:
        say(sender, {"id": 4, "cmd": "presence.list", "topic": f"room.{room['id']}"})
        answer = hear_until(sender, lambda frame: frame.get("id") == 4)
        return {person["id"] for person in answer["ok"]["users"]}

    wait_until(lambda: online() == {SENDER, key}, "both to be seen online")


def test_a_new_password_ends_the_sockets_of_this_user(project: Project) -> None:
    sockets = [project.open(key, site=n % 2)[0] for n, key in enumerate(KEYS.values())]
    other, _ = project.open(SENDER, site=1)
    project.shell(CHANGE_PASSWORDS)
    for socket in sockets:
        assert_told_and_closed(socket, 4410, "revoked")
    assert "ok" in ask(other, "heartbeat", id=9)
