"""A site whose router reads from a replica that stopped following: what decides is current."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.security.rig import V1, ask, assert_told_and_closed, hear, say
from tests.servers import TIMEOUT, Site, serve
from tests.small_project import SmallProject

MODELS = """
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

class Person(AbstractUser):
    pass

class Chat(models.Model):
    participants = models.ManyToManyField(settings.AUTH_USER_MODEL)

class Message(models.Model):
    chat = models.ForeignKey(Chat, models.CASCADE)
    sender = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    content = models.TextField()

class Replica:
    def db_for_read(self, model, **hints):
        return "replica"
    def db_for_write(self, model, **hints):
        return "default"
"""
SETTINGS = """
INSTALLED_APPS.insert(0, "rest_framework_simplejwt.token_blacklist")
AUTH_USER_MODEL = "people.Person"
DJWSBRIDGE_CHAT_MODEL, DJWSBRIDGE_MESSAGE_MODEL = "people.Chat", "people.Message"
SIMPLE_JWT = {
    "CHECK_REVOKE_TOKEN": True,
    "AUTH_TOKEN_CLASSES": [
        "rest_framework_simplejwt.tokens.AccessToken", "rest_framework_simplejwt.tokens.SlidingToken",
    ],
}
DATABASES["replica"] = {**DATABASES["default"], "NAME": os.environ["DATABASE"] + ".replica"}
if os.path.exists(DATABASES["replica"]["NAME"]):
    DATABASE_ROUTERS = ["people.models.Replica"]
"""
MAKE = """
from people.models import Person
for name in ("ann", "bob", "cleo", "dan"):
    Person.objects.create_user(name, password="first")
print(1)
"""
# A password that the replica does not know makes tokens that only the primary can check.
LOG_IN = """
import json
from django.test import Client
from djwsbridge.chat import services
from djwsbridge.transport.auth.ticket import issue_ticket
from people.models import Person
from rest_framework_simplejwt.tokens import AccessToken, SlidingToken
made = {}
for person in Person.objects.using("default"):
    person.set_password("second")
    person.save(using="default")
    client = Client()
    client.force_login(person)
    cookie = client.cookies["sessionid"].value
    made[person.username] = {
        "id": person.pk, "token": str(AccessToken.for_user(person)), "cookie": cookie,
        "sliding": str(SlidingToken.for_user(person)),
    }
print(json.dumps(made))
"""
STORED = """
import json
from people.models import Chat, Message
print(json.dumps([Chat.objects.using("default").count(), Message.objects.using("default").count()]))
"""
DEACTIVATE = """
from people.models import Person
person = Person.objects.using("default").get(username="{name}")
person.is_active = False
person.save(using="default")
print(1)
"""
BLACKLIST = """
from rest_framework_simplejwt.tokens import SlidingToken
SlidingToken("{token}").blacklist()
print(1)
"""


class Running:
    def __init__(self, project: SmallProject, site: Site, people: dict[str, Any]) -> None:
        self.project, self.site, self.people = project, site, people
        self.stack = ExitStack()

    def open(self, *, plain: bool = False, query: str = "", **headers: str) -> ClientConnection:
        return self.stack.enter_context(
            connect(
                f"{self.site.ws_url}/ws/bridge/{query}",
                subprotocols=None if plain else [V1],  # type: ignore[list-item]
                additional_headers=headers,
                origin=self.site.url,  # type: ignore[arg-type]
                proxy=None,
                open_timeout=TIMEOUT,
            )
        )

    def bearer(self, name: str, kind: str = "token") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.people[name][kind]}"}

    def cookie(self, name: str) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.people[name]['cookie']}"}

    def api(self, name: str, method: str, path: str, **body: Any) -> Any:
        url = f"{self.site.url}/{path}"
        answer = httpx.request(method, url, json=body, headers=self.bearer(name), timeout=TIMEOUT)
        assert answer.status_code < 300, answer.text
        return answer.json()


@pytest.fixture
def running(tmp_path: Path, redis_url: str) -> Iterator[Running]:
    env = {"REDIS_URL": redis_url}
    project = SmallProject(tmp_path, models=MODELS, settings=SETTINGS, env=env)
    project.migrate()
    project.shell(MAKE)
    shutil.copy(project.env["DATABASE"], project.env["DATABASE"] + ".replica")
    people = project.shell(LOG_IN)
    with serve("fast", **project.served) as site, ExitStack() as stack:
        running = Running(project, site, people)
        running.stack = stack
        yield running


def test_three_messages_to_one_person_make_one_chat(running: Running) -> None:
    socket = running.open(plain=True, **running.bearer("ann"))
    for text in ("one", "two", "three"):
        say(socket, {"type": "text", "message": text, "recipient": running.people["bob"]["id"]})
        assert hear(socket)["message"] == text
    assert running.project.shell(STORED) == [1, 3]


def test_the_chat_is_read_where_it_is_written(running: Running) -> None:
    room = running.api("ann", "POST", "chat/api/rooms/", title="General")["id"]
    running.api("bob", "POST", f"chat/api/rooms/{room}/join/")
    socket = running.open(**running.bearer("bob"))
    assert f"room.{room}" in ask(socket, "connect")["ok"]["topics"]
    sent = {"room": room, "body": "hello", "client_message_id": str(uuid.uuid4())}
    say(socket, {"id": 2, "cmd": "message.send", **sent})
    while (frame := hear(socket)).get("id") != 2:
        pass
    say(socket, {"id": 3, "cmd": "message.send", **sent})
    while (again := hear(socket)).get("id") != 3:
        pass
    assert frame["ok"] == again["ok"]
    directs = {
        running.api("ann", "POST", "chat/api/direct/", user=running.people["bob"]["id"])["id"]
        for _ in "12"
    }
    assert len(directs) == 1


@pytest.mark.parametrize("way", ["token", "cookie", "ticket"])
def test_who_is_deactivated_is_sent_away_and_stays_out(running: Running, way: str) -> None:
    def attempt() -> ClientConnection:
        if way == "cookie":
            return running.open(**running.cookie("cleo"))
        return running.open(**(running.bearer("cleo") if way == "token" else {}))

    ticket = lambda: running.api("cleo", "POST", "djwsbridge/ticket/")["ticket"]  # noqa: E731
    tickets = [ticket(), ticket()] if way == "ticket" else []
    socket = attempt()
    fields = {"ticket": tickets.pop()} if tickets else {}
    assert ask(socket, "connect", **fields)["ok"]["user"]["name"] == "cleo"
    running.project.shell(DEACTIVATE.format(name="cleo"))
    assert_told_and_closed(socket, 4410, "revoked")
    socket = attempt()
    fields = {"ticket": tickets.pop()} if tickets else {}
    assert "ok" not in first_words(socket, **fields)


def test_a_token_that_was_blacklisted_a_moment_ago_opens_nothing(running: Running) -> None:
    headers = running.bearer("dan", "sliding")
    assert "ok" in ask(running.open(**headers), "connect")
    running.project.shell(BLACKLIST.format(token=running.people["dan"]["sliding"]))
    assert "ok" not in first_words(running.open(**headers))


def first_words(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    """Return the first frame that a socket says, which may have been refused before it could ask."""
    with contextlib.suppress(ConnectionClosed):
        say(socket, {"id": 1, "cmd": "connect", **fields})
    return hear(socket)
