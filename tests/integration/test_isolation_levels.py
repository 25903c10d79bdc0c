"""Projects on PostgreSQL with a stricter isolation level, whoever sets it: nothing is refused or made twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import PostgresServer
from tests.small_project import SmallProject

pytestmark = pytest.mark.slow  # whole projects

MODELS = """
from django.contrib.auth.models import User
from django.db import models

class Chat(models.Model):
    participants = models.ManyToManyField(User)

class Message(models.Model):
    chat = models.ForeignKey(Chat, models.CASCADE)
    sender = models.ForeignKey(User, models.CASCADE)
    content = models.TextField()
"""
SETTINGS = """
import dj_database_url
from django.db.backends.postgresql.psycopg_any import IsolationLevel
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DATABASES["default"]["OPTIONS"] = LEVELS.get(os.environ["LEVEL"], {})
DJWSBRIDGE_CHAT_MODEL, DJWSBRIDGE_MESSAGE_MODEL = "people.Chat", "people.Message"
"""
LEVELS = """
LEVELS = {
    "serializable": {"isolation_level": IsolationLevel.SERIALIZABLE},
    "repeatable-read": {"isolation_level": IsolationLevel.REPEATABLE_READ},
    "options": {"options": "-c default_transaction_isolation=serializable"},
}
"""
RACE = """
import json, threading, uuid
from concurrent.futures import ThreadPoolExecutor
from django.contrib.auth.models import User
from django.db import connections
from djwsbridge.chat import services
from djwsbridge.publish import publish
from djwsbridge.store import store_message
from people.models import Chat
ann, bob = (User.objects.create(username=name) for name in ("ann", "bob"))
room = services.create_room(actor=ann, title="General").id
services.join_room(actor=bob, room_id=room)
start = threading.Barrier(8)

def read(actor, seq):
    services.acknowledge(actor=actor, seqs={f"room.{room}": seq})
    services.mark_read(actor=actor, room_id=room, seq=seq)

def run(number):
    one, other = (ann, bob) if number % 2 else (bob, ann)
    failures = []
    start.wait()
    for _ in range(15):
        for action in (
            lambda: read(one, services.send_message(
                actor=one, room_id=room, body="x", client_message_id=uuid.uuid4()
            ).seq),
            lambda: store_message(sender=one, recipient=other, content="x", type=None, frame={}),
            lambda: publish("user.1", "note", {}, durable=True),
        ):
            try:
                action()
            except Exception as error:
                failures.append(repr(error))
    connections.close_all()
    return failures

with ThreadPoolExecutor(8) as pool:
    failures = [one for found in pool.map(run, range(8)) for one in found]
page = services.list_messages(actor=ann, room_id=room, limit=500)
seqs = [message.seq for message in page.messages]
print(json.dumps({
    "failures": failures, "chats": Chat.objects.count(),
    "dense": seqs == list(range(page.last_seq - 119, page.last_seq + 1)),
}))
"""


@pytest.fixture(params=["serializable", "repeatable-read", "options", "database", "pgoptions"])
def project(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: PostgresServer,
    counter: Iterator[int],
) -> Iterator[SmallProject]:
    name = f"level_{next(counter)}"
    env = {"DATABASE_URL": postgres.create_database(name), "LEVEL": request.param}
    level = "default_transaction_isolation"
    if request.param == "database":
        postgres.execute(f"ALTER DATABASE \"{name}\" SET {level} = 'repeatable read'")
    elif request.param == "pgoptions":
        env["PGOPTIONS"] = f"-c {level}=serializable"
    settings = SETTINGS.replace("DATABASES[", f"{LEVELS}\nDATABASES[", 1)
    project = SmallProject(tmp_path, models=MODELS, settings=settings, env=env)
    project.manage("makemigrations", "people", "--verbosity=0")
    project.migrate()
    yield project
    postgres.drop_database(name)


def test_those_who_write_at_the_same_time_are_all_served(project: SmallProject) -> None:
    assert project.shell(RACE) == {"failures": [], "chats": 1, "dense": True}
