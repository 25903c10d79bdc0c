"""Projects whose `USERNAME_FIELD` holds no text: on the wire, in pages, in addresses and in the API a name is text."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.security.rig import V1, ask, hear, say
from tests.servers import TIMEOUT, Site, serve, wait_until
from tests.small_project import SmallProject

pytestmark = pytest.mark.slow  # whole projects

MODELS = """
import os, uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

class Phone:
    def __init__(self, digits):
        self.digits = digits
    def __str__(self):
        return f"+{self.digits[:2]} {self.digits[2:]}"

class PhoneAttribute:
    '''As in phonenumber_field: users have an object, and queries of values have the column's text.'''
    def __init__(self, field):
        self.field = field
    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__[self.field.name]
    def __set__(self, instance, value):
        instance.__dict__[self.field.name] = self.field.to_python(value)

class PhoneField(models.CharField):
    descriptor_class = PhoneAttribute
    def to_python(self, value):
        if value is None or isinstance(value, Phone):
            return value
        digits = value.replace("+", "").replace(" ", "")
        if not digits.isdecimal():
            raise ValueError(f"{value} is no phone number")
        return Phone(digits)
    def get_prep_value(self, value):
        phone = self.to_python(value)
        return None if phone is None else phone.digits

FIELDS = {
    "integer": models.PositiveIntegerField(unique=True, null=True),
    "uuid": models.UUIDField(unique=True, null=True),
    "phone": PhoneField(max_length=30, unique=True, null=True),
}

class Person(AbstractBaseUser):
    login = FIELDS[os.environ["KIND"]]
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "login"
"""
SETTINGS = """
AUTH_USER_MODEL = "people.Person"
USE_THOUSAND_SEPARATOR = True
LANGUAGE_CODE = "de"
"""
PREPARE = """
import json, os
from django.test import Client
from djwsbridge.chat import services
from people.models import Person
from rest_framework_simplejwt.tokens import AccessToken
made = {}
for key, login in json.loads(os.environ["LOGINS"]).items():
    person, client = Person.objects.create(login=login), Client()
    client.force_login(person)
    made[key] = [str(AccessToken.for_user(person)), client.cookies["sessionid"].value]
print(json.dumps(made))
"""
LOOK_ALIKES = """
from djwsbridge.chat import services
services.check_username(name="something else")
print(1)
"""

# What is stored for ann and bob, bob's name as text, and what is no name of this kind.
KINDS: dict[str, tuple[Any, Any, str, list[str]]] = {
    "integer": (1234567, 7654321, "7654321", ["abc", "1.5", "", "9" * 40, "7" * 5000]),
    "uuid": (
        str(uuid.UUID(int=1, version=4)),
        str(uuid.UUID(int=2, version=4)),
        str(uuid.UUID(int=2, version=4)),
        ["abc", "00000000-0000-4000-8000-00000000000", "7"],
    ),
    "phone": ("4930111", "4930222", "+49 30222", ["abc", "+49 xx"]),
}


class Running:
    """The project under two servers: `ann` and `bob` have a name, `carol` has None."""

    def __init__(self, kind: str, project: SmallProject, sites: list[Site]) -> None:
        self.project, self.sites = project, sites
        _, _, self.bob, self.nonsense = KINDS[kind]
        self.people: dict[str, list[str]] = project.shell(PREPARE)
        # What a test has opened, closed when it ends.
        self.stack = ExitStack()

    def open(self, who: str, *, site: int = 0, path: str = "/ws/bridge/") -> ClientConnection:
        return self.stack.enter_context(
            connect(
                f"{self.sites[site].ws_url}{path}",
                subprotocols=[V1] if "bridge" in path else None,  # type: ignore[list-item]
                additional_headers={"Authorization": f"Bearer {self.people[who][0]}"},
                proxy=None,
                open_timeout=TIMEOUT,
            )
        )

    def browse(self, who: str) -> httpx.Client:
        """Return a client with the session of a person."""
        cookies = {"sessionid": self.people[who][1], "csrftoken": "c" * 32}
        headers = {"X-CSRFToken": "c" * 32}
        client = httpx.Client(
            base_url=self.sites[0].url, cookies=cookies, headers=headers, timeout=TIMEOUT
        )
        return self.stack.enter_context(client)

    def api(self, who: str, method: str, path: str, **fields: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.people[who][0]}"}
        url = f"{self.sites[0].url}/chat/api/{path}"
        answer = httpx.request(method, url, headers=headers, timeout=TIMEOUT, **fields)
        assert answer.status_code < 300, answer.text
        return answer.json()


@pytest.fixture(scope="module", params=KINDS)
def lasting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[Running]:
    ann, bob, _, _ = KINDS[request.param]
    logins = json.dumps({"ann": ann, "bob": bob, "carol": None, "dave": None})
    env = {"KIND": request.param, "LOGINS": logins, "REDIS_URL": redis_url}
    directory = tmp_path_factory.mktemp(request.param)
    project = SmallProject(directory, models=MODELS, settings=SETTINGS, env=env)
    project.migrate()
    with serve("fast", **project.served) as one, serve("daphne", **project.served) as other:
        yield Running(request.param, project, [one, other])


@pytest.fixture
def running(lasting: Running) -> Iterator[Running]:
    lasting.stack = ExitStack()
    with lasting.stack:
        yield lasting


def hear_until(socket: ClientConnection, fits: Callable[..., bool]) -> dict[str, Any]:
    while not fits(frame := hear(socket)):
        pass
    return frame


def test_connect_and_presence_tell_texts_on_every_node(running: Running) -> None:
    room = running.api("ann", "POST", "rooms/", json={"title": f"Room {uuid.uuid4().hex}"})["id"]
    for who in ("bob", "carol"):
        running.api(who, "POST", f"rooms/{room}/join/", json={})
    sockets = {who: running.open(who, site=n % 2) for n, who in enumerate(["ann", "bob", "carol"])}
    told = {who: ask(socket, "connect")["ok"]["user"] for who, socket in sockets.items()}
    assert (told["bob"]["name"], told["carol"]["name"]) == (running.bob, "")
    expected = {told["ann"]["name"], running.bob, ""}

    def online() -> set[str]:
        say(sockets["ann"], {"id": 10, "cmd": "presence.list", "topic": f"room.{room}"})
        answer = hear_until(sockets["ann"], lambda frame: frame.get("id") == 10)
        return {person["name"] for person in answer["ok"]["users"]}

    wait_until(lambda: online() == expected, "all to be seen online")


def test_the_api_and_the_history_tell_texts(running: Running) -> None:
    room = running.api("bob", "POST", "rooms/", json={"title": f"Room {uuid.uuid4().hex}"})["id"]
    running.api("carol", "POST", f"rooms/{room}/join/", json={})
    assert running.api("bob", "GET", "me/")["name"] == running.bob
    for who in ("bob", "carol"):
        message = {"body": "hello", "client_message_id": str(uuid.uuid4())}
        running.api(who, "POST", f"rooms/{room}/messages/", json=message)
    members = running.api("carol", "GET", f"rooms/{room}/members/")["members"]
    assert [member["name"] for member in members] == [running.bob, ""]
    messages = running.api("carol", "GET", f"rooms/{room}/messages/")["messages"]
    assert [message["sender"]["name"] for message in messages] == [running.bob, ""]


def test_pages_and_addresses_hold_texts(running: Running) -> None:
    browser = running.browse("ann")
    assert browser.get("/chat/").status_code == 200
    found = browser.post("/chat/direct/", data={"username": running.bob})
    assert found.status_code == 302, found.text
    page = browser.get(found.headers["location"])
    assert page.status_code == 200
    assert f'<h1 dir="auto">{running.bob}</h1>' in page.text
    bob = running.browse("bob")
    assert f'title="Signed in as {running.bob}"' in bob.get("/chat/").text


def test_what_can_be_no_name_is_not_found(running: Running) -> None:
    browser = running.browse("ann")
    for name in running.nonsense:
        assert browser.post("/chat/direct/", data={"username": name}).status_code == 404, name[:50]
        if 0 < len(name) < 1000:
            assert browser.get(f"/chat/direct/{quote(name)}/").status_code == 404, name[:50]
    assert browser.get("/chat/direct/~/").status_code == 404  # the address of an empty name


def test_a_person_without_a_name_has_a_conversation_with_an_address(running: Running) -> None:
    peer = running.api("carol", "GET", "me/")["id"]
    running.api("carol", "POST", "rooms/", json={"title": f"Room {uuid.uuid4().hex}"})
    room = running.api("ann", "POST", "direct/", json={"user": peer})
    assert room["peer"] == {"id": peer, "name": ""}
    assert running.browse("ann").get(room["url"]).status_code == 200
    assert running.browse("carol").get("/chat/").status_code == 200


def test_the_plain_room_socket_tells_texts(running: Running) -> None:
    title = f"Room{uuid.uuid4().hex}"
    running.api("ann", "POST", "rooms/", json={"title": title})
    ann = running.open("ann", path=f"/ws/chat/{title}/")
    assert hear(ann)["type"] == "user_list"
    bob = running.open("bob", path=f"/ws/chat/{title}/")
    assert running.bob in hear(bob)["users"]
    hear_until(ann, lambda frame: frame == {"type": "user_join", "user": running.bob})
    name = running.bob.replace(" ", "")
    say(ann, {"message": f"/pm {name} between us"})
    say(ann, {"message": "/pm abc between us"})
    heard = [hear(ann), hear(ann)]
    assert heard[0] == {
        "type": "private_message_delivered",
        "target": name,
        "message": "between us",
    }
    assert heard[1]["code"] == "bad_recipient"


def test_look_alike_names_are_compared_without_an_end(running: Running) -> None:
    assert running.project.shell(LOOK_ALIKES) == 1
