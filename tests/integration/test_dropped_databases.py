"""The tests of a small project on PostgreSQL: each opens sockets, and then the test database is dropped.

PostgreSQL drops no database that is in use. So every thread that has served a socket must have closed its connection.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, TIMEOUT, PostgresServer, child_environment

pytestmark = pytest.mark.slow  # whole projects

FILES = {
    "manage.py": """
        import sys

        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    """,
    "pytest.ini": """
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
        python_files = test_pytest.py
        filterwarnings = error
    """,
    "mysite/settings.py": """
        import ast
        import os

        SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
        INSTALLED_APPS = [
            "daphne", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
            "django.contrib.staticfiles", "channels", "djwsbridge", "djwsbridge.log", "djwsbridge.chat",
        ]
        PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        ROOT_URLCONF = "mysite.urls"
        ASGI_APPLICATION = "mysite.asgi.application"
        STATIC_URL = "/static/"
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": "127.0.0.1",
                "PORT": os.environ["POSTGRES_PORT"],
                "USER": "djwsbridge",
                "NAME": "djwsbridge",
                "CONN_MAX_AGE": ast.literal_eval(os.environ["CONN_MAX_AGE"]),
                "TEST": {"NAME": "dropped"},  # ChannelsLiveServerTestCase wants it to be named
            }
        }
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        DJWSBRIDGE_ENGINE = "memory"
    """,
    "mysite/__init__.py": "",
    "mysite/urls.py": "urlpatterns = []",
    "mysite/asgi.py": """
        import django
        from channels.routing import ProtocolTypeRouter, URLRouter
        from django.core.asgi import get_asgi_application

        django.setup()

        from djwsbridge.middleware import TokenAuthMiddleware, finish_requests
        from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan

        application = ProtocolTypeRouter(
            {
                "lifespan": serve_lifespan,
                "http": finish_requests(get_asgi_application()),
                "websocket": TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns())),
            }
        )
    """,
    "mysite/people.py": """
        from channels.testing import WebsocketCommunicator
        from django.contrib.auth import get_user_model
        from rest_framework_simplejwt.tokens import AccessToken

        from djwsbridge.utils import asend_ws_message
        from mysite.asgi import application


        def headers_of(user):
            return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


        async def hear_oneself(user):
            headers = [(b"authorization", headers_of(user)["Authorization"].encode())]
            socket = WebsocketCommunicator(application, "/ws/bridge/", headers=headers)
            connected, _ = await socket.connect()
            assert connected
            for frame in ({"type": "ready"}, {"type": "note", "recipient": user.pk}):
                await socket.send_json_to(frame)
                answer = await socket.receive_json_from()
                assert answer.get("type") == frame["type"], answer
            await socket.disconnect()


        def make_alice():
            return get_user_model().objects.create_user("alice")


        async def amake_alice():
            return await get_user_model().objects.acreate_user("alice")
    """,
    "mysite/tests.py": """
        import asyncio
        import json

        from channels.testing import ChannelsLiveServerTestCase
        from django.test import TestCase, TransactionTestCase
        from websockets.sync.client import connect

        from djwsbridge.utils import send_ws_message
        from mysite.people import amake_alice, headers_of, hear_oneself, make_alice


        class InATransaction(TestCase):
            async def test_a_socket(self):
                await hear_oneself(await amake_alice())


        class WithCommits(TransactionTestCase):
            async def test_a_socket(self):
                await hear_oneself(await amake_alice())

            def test_a_socket_in_a_loop_of_its_own(self):
                asyncio.run(hear_oneself(make_alice()))

            def test_a_durable_push(self):
                send_ws_message(make_alice().pk, {"text": "It is done."}, durable=True)


        class OnALiveServer(ChannelsLiveServerTestCase):
            def test_a_socket(self):
                address = f"{self.live_server_ws_url}/ws/bridge/"
                headers = headers_of(make_alice())
                with connect(address, additional_headers=headers, proxy=None) as socket:
                    socket.send(json.dumps({"type": "ready"}))
                    self.assertEqual(json.loads(socket.recv(timeout=10))["type"], "ready")
    """,
    "test_pytest.py": """
        import pytest

        from mysite.people import amake_alice, hear_oneself


        @pytest.mark.django_db(transaction=True)
        async def test_a_socket():
            await hear_oneself(await amake_alice())
    """,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        lines = [line.removeprefix(" " * 8) for line in text.strip("\n").splitlines()]
        path.write_text("\n".join(lines) + "\n")
    return directory


def run(project: Path, postgres: PostgresServer, max_age: str, *arguments: str) -> str:
    """Run a program of Python in the project, fail if it does, and return what it wrote."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=child_environment(
            {
                "PYTHONPATH": f"{ROOT / 'src'}:{project}",
                "DJANGO_SETTINGS_MODULE": "mysite.settings",
                "POSTGRES_PORT": str(postgres.port),
                "CONN_MAX_AGE": max_age,
            }
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT * 3,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def databases(postgres: PostgresServer) -> set[str]:
    return set(postgres.execute("SELECT datname FROM pg_database").split())


@pytest.mark.parametrize("max_age", ["0", "60", "None"])
def test_manage_py_test_drops_its_database(
    project: Path, postgres: PostgresServer, max_age: str
) -> None:
    written = run(project, postgres, max_age, "manage.py", "test", "--noinput", "mysite")
    assert "Ran 5 tests" in written
    assert "dropped" not in databases(postgres)


@pytest.mark.parametrize("max_age", ["0", "60"])
def test_pytest_drops_its_database(project: Path, postgres: PostgresServer, max_age: str) -> None:
    written = run(project, postgres, max_age, "-m", "pytest", "-q", "test_pytest.py")
    assert "1 passed" in written
    assert "dropped" not in databases(postgres)
