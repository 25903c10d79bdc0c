"""The Store way with models that need more than people and a text, through real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.security.rig import hear, say
from tests.servers import TIMEOUT, serve
from tests.small_project import SmallProject

pytestmark = pytest.mark.slow  # whole projects

MODELS = """
from django.contrib.auth.models import User
from django.db import models
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

class Team(models.Model):
    name = models.CharField(max_length=9)

class Profile(models.Model):
    user = models.OneToOneField(User, models.CASCADE)

class TeamChat(models.Model):
    participants = models.ManyToManyField(User)
    team = models.ForeignKey(Team, models.CASCADE)

class TeamMessage(models.Model):
    chat = models.ForeignKey(TeamChat, models.CASCADE)
    sender = models.ForeignKey(User, models.CASCADE)
    content = models.TextField()

def team_of_chat(sender, recipient, frame):
    return {"team": Team.objects.get(name="first")}

class Advert(models.Model):
    owner = models.ForeignKey(User, models.CASCADE)

class AdvertChat(models.Model):
    advert = models.ForeignKey(Advert, models.CASCADE)
    participants = models.ManyToManyField(Profile, through="Part")

class Part(models.Model):
    chat = models.ForeignKey(AdvertChat, models.CASCADE)
    profile = models.ForeignKey(Profile, models.CASCADE)
    role = models.IntegerField()

class AdvertMessage(models.Model):
    chat = models.ForeignKey(AdvertChat, models.CASCADE)
    sender = models.ForeignKey(Profile, models.CASCADE)
    content = models.TextField()

def chat_of_advert(sender, recipient, frame):
    advert = Advert.objects.filter(pk=frame.get("advert"), owner__in=[sender, recipient]).first()
    if advert is None:
        raise CommandError(ErrorCode.BAD_FIELD, field="advert")
    people = {user.pk: user.profile for user in (sender, recipient)}
    chat = AdvertChat.objects.filter(advert=advert)
    for profile in people.values():
        chat = chat.filter(participants=profile)
    found = chat.first()
    if found is None:
        found = AdvertChat.objects.create(advert=advert)
        for profile in people.values():
            found.participants.add(profile, through_defaults={"role": 1})
    return found

def profile_of_sender(sender, recipient, frame):
    return {"sender": sender.profile}
"""
TEAMS = """
DJWSBRIDGE_CHAT_MODEL, DJWSBRIDGE_MESSAGE_MODEL = "people.TeamChat", "people.TeamMessage"
DJWSBRIDGE_CHAT_DEFAULTS = "people.models.team_of_chat"
"""
ADVERTS = """
DJWSBRIDGE_CHAT_MODEL, DJWSBRIDGE_MESSAGE_MODEL = "people.AdvertChat", "people.AdvertMessage"
DJWSBRIDGE_GET_CHAT = "people.models.chat_of_advert"
DJWSBRIDGE_MESSAGE_DEFAULTS = "people.models.profile_of_sender"
"""
MAKE = """
import json
from django.contrib.auth.models import User
from people.models import Advert, Profile, Team
from rest_framework_simplejwt.tokens import AccessToken
Profile.objects.create(user=User.objects.create(username="no part of it"))  # keys differ from users'
Profile.objects.all().delete()
Team.objects.create(name="first")
tokens = {}
for name in ("ann", "bob", "cleo"):
    user = User.objects.create(username=name)
    Profile.objects.create(user=user)
    tokens[name] = [user.pk, str(AccessToken.for_user(user))]
for _ in "12":
    Advert.objects.create(owner=user)
print(json.dumps(tokens))
"""
TEAMS_STORED = """
import json
from people.models import TeamChat, TeamMessage
print(json.dumps([[chat.team.name for chat in TeamChat.objects.all()], TeamMessage.objects.count()]))
"""
ADVERTS_STORED = """
import json
from people.models import AdvertMessage
rows = AdvertMessage.objects.order_by("pk").values_list("chat__advert", "sender__user__username", "content")
print(json.dumps([*map(list, rows), AdvertMessage.objects.values("chat").distinct().count()]))
"""


class Running:
    def __init__(self, project: SmallProject, url: str, stack: ExitStack) -> None:
        self.project, self._url, self._stack = project, url, stack
        self.people: dict[str, tuple[int, str]] = project.shell(MAKE)

    def open(self, name: str) -> ClientConnection:
        headers = {"Authorization": f"Bearer {self.people[name][1]}"}
        url = f"{self._url}/ws/bridge/"
        return self._stack.enter_context(
            connect(url, additional_headers=headers, proxy=None, open_timeout=TIMEOUT)
        )

    def send(self, socket: ClientConnection, to: str, text: str, **more: Any) -> None:
        say(socket, {"type": "text", "message": text, "recipient": self.people[to][0], **more})


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    with ExitStack() as stack:

        def start(settings: str) -> Running:
            project = SmallProject(tmp_path, models=MODELS, settings=settings)
            project.migrate()
            site = stack.enter_context(serve("fast", **project.served))
            return Running(project, site.ws_url, stack)

        yield start


def test_a_function_fills_the_fields_of_a_chat(run: Callable[[str], Running]) -> None:
    running = run(TEAMS)
    assert "no issues" in running.project.manage("check")
    ann, bob = running.open("ann"), running.open("bob")
    running.send(ann, "bob", "hello")
    assert hear(bob)["message"] == "hello"
    running.send(bob, "ann", "back")
    assert [hear(ann)["message"], hear(ann)["message"]] == ["hello", "back"]
    assert running.project.shell(TEAMS_STORED) == [["first"], 2]


def test_a_function_chooses_among_several_chats_of_two_people(
    run: Callable[[str], Running],
) -> None:
    running = run(ADVERTS)
    assert "no issues" in running.project.manage("check")
    ann, cleo = running.open("ann"), running.open("cleo")
    for socket, to, text, advert in (
        (ann, "cleo", "is the first one for sale?", 1),
        (ann, "cleo", "and the second?", 2),
        (cleo, "ann", "the first is", 1),
    ):
        running.send(socket, to, text, advert=advert)
        assert hear(ann)["message"] == hear(cleo)["message"] == text
    running.send(ann, "bob", "that is neither yours nor mine", advert=1)
    assert (hear(ann).items()) >= {"code": "bad_field"}.items()
    assert running.project.shell(ADVERTS_STORED) == [
        [1, "ann", "is the first one for sale?"],
        [2, "ann", "and the second?"],
        [1, "cleo", "the first is"],
        2,
    ]


def test_first_messages_that_race_make_one_chat_of_an_advert(run: Callable[[str], Running]) -> None:
    running = run(ADVERTS)
    sockets = {name: [running.open(name) for _ in "12345"] for name in ("ann", "cleo")}
    for ann, cleo in zip(*sockets.values(), strict=True):
        running.send(ann, "cleo", "first", advert=1)
        running.send(cleo, "ann", "first", advert=1)
    for socket in [*sockets["ann"], *sockets["cleo"]]:
        assert {hear(socket)["message"] for _ in range(10)} == {"first"}
    *rows, chats = running.project.shell(ADVERTS_STORED)
    assert (len(rows), chats) == (10, 1)


def test_without_the_functions_the_check_says_what_is_missing(tmp_path: Path) -> None:
    project = SmallProject(
        tmp_path, models=MODELS, settings=ADVERTS.split("DJWSBRIDGE_GET", maxsplit=1)[0]
    )
    with pytest.raises(RuntimeError) as caught:
        project.manage("check")
    said = str(caught.value)
    for text in (
        "AdvertChat.advert is required",
        "Part.role is required",
        "AdvertChat.participants does not lead to User",
        "AdvertMessage.sender does not lead to User",
    ):
        assert text in said
