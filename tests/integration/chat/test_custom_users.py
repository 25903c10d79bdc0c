"""The chat in a project whose users have UUIDs for keys and log in by e-mail address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ROOT, TIMEOUT

MODELS = """
import uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "email"
"""

SETTINGS = """
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "rest_framework", "channels", "people", "djwsbridge", "djwsbridge.log", "djwsbridge.chat",
]
AUTH_USER_MODEL = "people.Person"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
ROOT_URLCONF = "djwsbridge.chat.urls"
USE_TZ = True
"""

PROGRAM = """
import uuid
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)

import msgspec
from djwsbridge.chat import services
from djwsbridge.transport import registry
from people.models import Person

ann, ben = (Person.objects.create(email=f"{name}@example.com") for name in ("ann", "ben"))
room = services.create_room(actor=ann, title="General")
services.join_room(actor=ben, room_id=room.id)
direct = services.open_direct(actor=ann, user_id=str(ben.pk))
assert services.open_direct(actor=ben, user_id=str(ann.pk)).id == direct.id
assert direct.peer.id == str(ben.pk)
notes = services.open_direct(actor=ann, user_id=str(ann.pk))
assert notes.id != direct.id
for target in (room, direct, notes):
    sent = services.send_message(
        actor=ann, room_id=target.id, body="hello", client_message_id=uuid.uuid4()
    )
    assert sent.seq == (2 if target.id == room.id else 1)  # ben has joined the room
    assert sent.sender.id == str(ann.pk)
    msgspec.json.encode(services.list_messages(actor=ann, room_id=target.id))
assert {view.unread for view in services.list_rooms(actor=ben).rooms} == {1}
assert len(registry.topics_of([ann])[0]) == 3
for user_id in ("x", 5, str(uuid.uuid4())):
    try:
        services.open_direct(actor=ann, user_id=user_id)
    except services_error:
        continue
    raise AssertionError(user_id)
services.check_username(name="cleo@example.com")
print("done")
""".replace(
    "services_error", "__import__('djwsbridge.protocol.errors').protocol.errors.CommandError"
)


def test_everything_works_with_their_keys(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "__init__.py").touch()
    (tmp_path / "people" / "models.py").write_text(MODELS)
    (tmp_path / "project.py").write_text(SETTINGS)
    path = os.pathsep.join((str(tmp_path), str(ROOT / "src")))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "project"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.stdout == "done\n", done.stderr
