"""A project made by following the first seed's README to the letter; only the address of Redis is this machine's."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers import ROOT, run_manage

__all__ = ["LAYERS", "SOCKET", "SeedProject"]

SOCKET = "/socket/mychannel/"

LAYERS = {
    "memory": "channels.layers.InMemoryChannelLayer",
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}

# "Add the following to your settings.py"; its `...` stands for what startproject has written there.
SETTINGS = """
INSTALLED_APPS = [
    "daphne",
    *INSTALLED_APPS,
    "rest_framework",
    "rest_framework_simplejwt",
    "channels",
    "djwsbridge",
    "yourapp",
]

ASGI_APPLICATION = "your_project.asgi.application"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": %(backend)r,
        "CONFIG": %(config)s,
    },
}

# Customizable settings:

# WebSocket URL prefix (protocol).
DJWSBRIDGE_WS_PREFIX = "socket"

# WebSocket URL path.
DJWSBRIDGE_WS_PATH = "mychannel"

# Optional: Allowed message types
DJWSBRIDGE_ALLOWED_TYPES = ["text", "message", "image", "signals"]
"""

ASGI = """
import os
import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "your_project.settings")
django.setup()

from djwsbridge.routing import get_websocket_urlpatterns
from djwsbridge.middleware import TokenAuthMiddleware

application = ProtocolTypeRouter({
    "http": get_asgi_application(),
    "websocket": TokenAuthMiddleware(
        URLRouter(
            get_websocket_urlpatterns()
        )
    ),
})
"""

MODELS = """
from django.db import models
from django.contrib.auth import get_user_model

User = get_user_model()


class Chat(models.Model):
    participants = models.ManyToManyField(User, related_name="chats")
    created = models.DateTimeField(auto_now_add=True)


class Message(models.Model):
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="messages")
    sender = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sent_messages")
    content = models.TextField()
    type = models.CharField(max_length=20, default="text")
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return f"{self.sender} -> Chat {self.chat.id}: {self.content[:30]}"
"""

# "With Database": the two lines that turn the Push way into the Store way.
STORE_SETTINGS = """
from your_project.settings import *

DJWSBRIDGE_CHAT_MODEL = "yourapp.Chat"
DJWSBRIDGE_MESSAGE_MODEL = "yourapp.Message"
"""

# A view of the developer, who sends from a request.
URLS = """
from django.http import HttpResponse
from django.urls import path
from djwsbridge.utils import send_ws_message


def notify(request, user_id):
    send_ws_message(
        user_id=user_id,
        data={"type": "text", "content": "Hello! This message was sent from the backend."}
    )
    return HttpResponse("sent")


urlpatterns = [path("notify/<int:user_id>/", notify)]
"""

PEOPLE = """
import json
from django.contrib.auth import get_user_model
from rest_framework_simplejwt.tokens import AccessToken

User = get_user_model()
users = [User.objects.create_user(name) for name in ("alice", "bob", "carol")]
tokens = {user.username: [user.pk, str(AccessToken.for_user(user))] for user in users}
users[2].is_active = False
users[2].save()
print(json.dumps(tokens))
"""


class SeedProject:
    """The project in a directory.

    Args:
        directory: an empty one.
        layer: a key of LAYERS.
        redis_port: where Redis answers.
        like: a project to make a copy of, so that the README's steps are taken once; only the layer differs.
    """

    def __init__(
        self, directory: Path, layer: str, redis_port: int, *, like: SeedProject | None = None
    ) -> None:
        self.directory = directory
        self.layer = layer
        self.env = {
            "PYTHONPATH": f"{ROOT / 'src'}:{directory}",
            "DJANGO_SETTINGS_MODULE": "your_project.settings",
        }
        package = directory / "your_project"
        config = "{}" if layer == "memory" else f'{{"hosts": [("localhost", {redis_port})]}}'
        added = SETTINGS % {"backend": LAYERS[layer], "config": config}
        if like is not None:
            shutil.copytree(like.directory, directory, dirs_exist_ok=True)
            (package / "settings.py").write_text(like.given_settings + added)
            self.given_settings, self.people = like.given_settings, like.people
            return
        self._django_admin("startproject", "your_project", ".")
        self._django_admin("startapp", "yourapp")
        # What startproject has written.
        self.given_settings = (package / "settings.py").read_text()
        (package / "settings.py").write_text(self.given_settings + added)
        (package / "store_settings.py").write_text(STORE_SETTINGS)
        (package / "asgi.py").write_text(ASGI)
        (package / "urls.py").write_text(URLS)
        (directory / "yourapp" / "models.py").write_text(MODELS)
        self.manage("makemigrations", "--verbosity=0")
        self.manage("migrate", "--verbosity=0")
        people: dict[str, tuple[int, str]] = json.loads(self.shell(PEOPLE))
        # Name → primary key and token.
        self.people = people

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed."""
        return run_manage(*arguments, env=self.env, cwd=self.directory)

    def shell(self, code: str) -> str:
        """Run code as `python manage.py shell` does, in a process of its own."""
        return self.manage("shell", "-v", "0", "-c", code)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the project's database."""
        link = sqlite3.connect(self.directory / "db.sqlite3")
        try:
            return link.execute(statement).fetchall()
        finally:
            link.close()

    def _django_admin(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "django", *arguments]
        subprocess.run(command, cwd=self.directory, check=True)
