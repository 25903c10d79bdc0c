"""Small projects that a test writes to a directory: a user model, settings, and the chat at `/chat/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers import ROOT, run_manage

__all__ = ["SmallProject"]

MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.staticfiles", "rest_framework", "channels", "people", "djwsbridge",
    "djwsbridge.log", "djwsbridge.chat",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
    ]},
}]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"],
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
}}
DJWSBRIDGE_ENGINE = "redis" if os.environ.get("REDIS_URL") else "memory"
DJWSBRIDGE_REDIS_URL = os.environ.get("REDIS_URL")
ROOT_URLCONF = "project.urls"
USE_TZ = True
"""
URLS = """
from django.urls import include, path
urlpatterns = [
    path("chat/", include("djwsbridge.chat.urls")), path("djwsbridge/", include("djwsbridge.urls")),
]
"""
ASGI = """
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
"""


class SmallProject:
    """A project in a directory of its own, on SQLite unless its settings say otherwise.

    Args:
        directory: where its files go.
        models: the text of `people/models.py`.
        settings: what is added to the settings.
        urls: what is added to the URLconf.
        env: what is added to the environment.
    """

    def __init__(
        self,
        directory: Path,
        *,
        models: str = "",
        settings: str = "",
        urls: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.cwd = directory
        files = {
            "manage.py": MANAGE,
            "project/__init__.py": "",
            "project/settings.py": SETTINGS + settings,
            "project/urls.py": URLS + urls,
            "project/asgi.py": ASGI,
            "people/__init__.py": "",
            "people/models.py": models,
        }
        for name, text in files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text)
        self.env = {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONPATH": f"{directory}:{ROOT / 'src'}",
            "DATABASE": str(directory / "site.sqlite3"),
            **(env or {}),
        }

    @property
    def served(self) -> dict[str, Any]:
        """Return what `tests.servers.serve` needs besides the server's name."""
        application = "project.asgi:application"
        return {
            "directory": self.cwd,
            "env": self.env,
            "cwd": self.cwd,
            "application": application,
            "ready_path": "/",
        }

    def manage(self, *arguments: str) -> str:
        """Run `manage.py` of the project."""
        return run_manage(*arguments, env=self.env, cwd=self.cwd)

    def migrate(self) -> None:
        """Make the tables."""
        self.manage("migrate", "--run-syncdb", "--verbosity=0")

    def shell(self, code: str) -> Any:
        """Run code of the project in a process of its own and return what it printed, read as JSON."""
        printed = self.manage("shell", "-v", "0", "-c", code)
        return json.loads(printed) if printed.strip() else None
