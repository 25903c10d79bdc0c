"""Two tenants in one process, chosen by the host of a request: user 1 of both never meets the other."""

from __future__ import annotations

import json
import socket
import textwrap
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import StartSite
from tests.servers import ROOT, TIMEOUT, ServerName, Site, run_manage

FILES = {
    "manage.py": """
        import sys

        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    """,
    "mysite/__init__.py": "",
    "mysite/settings.py": """
        from pathlib import Path

        BASE_DIR = Path(__file__).resolve().parent.parent
        SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
        ALLOWED_HOSTS = ["acme", "globex", "127.0.0.1"]
        INSTALLED_APPS = [
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
            "rest_framework", "channels", "djwsbridge",
        ]
        MIDDLEWARE = []
        ROOT_URLCONF = "mysite.urls"
        ASGI_APPLICATION = "mysite.asgi.application"
        DATABASES = {
            alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / f"{alias}.sqlite3"}
            for alias in ("acme", "globex")
        }
        DATABASES["default"] = {}
        DATABASE_ROUTERS = ["mysite.customers.Router"]
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        DJWSBRIDGE_ENGINE = "memory"
    """,
    "mysite/customers.py": """
        from contextvars import ContextVar

        current = ContextVar("customer", default="acme")


        class Router:
            def db_for_read(self, model, **hints):
                return current.get()

            db_for_write = db_for_read


        def by_host(application):
            async def serve(scope, receive, send):
                host = dict(scope.get("headers", ())).get(b"host", b"").decode().partition(":")[0]
                current.set("globex" if host == "globex" else "acme")
                await application(scope, receive, send)

            return serve
    """,
    "mysite/urls.py": """
        from django.http import HttpResponse
        from django.urls import path

        from djwsbridge.utils import send_ws_message


        def push(request):
            send_ws_message(1, {"text": request.get_host()})
            return HttpResponse(status=204)


        urlpatterns = [path("push/", push), path("", lambda request: HttpResponse())]
    """,
    "mysite/asgi.py": """
        import django
        from channels.routing import ProtocolTypeRouter, URLRouter
        from django.core.asgi import get_asgi_application

        django.setup()

        from djwsbridge.middleware import TokenAuthMiddleware, finish_requests
        from djwsbridge.routing import get_websocket_urlpatterns, serve_lifespan
        from mysite.customers import by_host

        application = ProtocolTypeRouter(
            {
                "lifespan": serve_lifespan,
                "http": by_host(finish_requests(get_asgi_application())),
                "websocket": by_host(TokenAuthMiddleware(URLRouter(get_websocket_urlpatterns()))),
            }
        )
    """,
}
MAKE_USER_1 = """
from django.contrib.auth.models import User
from mysite.customers import current
for tenant in ("acme", "globex"):
    current.set(tenant)
    assert User.objects.create_user(f"one of {tenant}").pk == 1
"""
TOKEN = """
from rest_framework_simplejwt.tokens import AccessToken
token = AccessToken()
token["user_id"] = "1"
print("token", token)
"""
ENV = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tenants")
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    for alias in ("acme", "globex"):
        run_manage("migrate", "-v0", f"--database={alias}", env=env_of(directory), cwd=directory)
    run_manage("shell", "-v0", "-c", MAKE_USER_1, env=env_of(directory), cwd=directory)
    return directory


@pytest.fixture(scope="module")
def token(project: Path) -> str:
    """Return a token of user 1: simplejwt signs no tenant."""
    written = run_manage("shell", "-v0", "-c", TOKEN, env=env_of(project), cwd=project)
    return written.split("token ")[1].strip()


@pytest.fixture
def site(project: Path, start_site: StartSite, server: ServerName) -> Site:
    return start_site(
        server,
        env=env_of(project),
        cwd=project,
        application="mysite.asgi:application",
        ready_path="/",
    )


def env_of(directory: Path) -> dict[str, str]:
    return {**ENV, "PYTHONPATH": f"{ROOT / 'src'}:{directory}"}


def open_socket(site: Site, host: str, token: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"}
    uri = f"ws://{host}:{site.port}/ws/bridge/"
    link = socket.create_connection(("127.0.0.1", site.port), TIMEOUT)
    return connect(uri, sock=link, additional_headers=headers, proxy=None)


@pytest.mark.parametrize("server", ["fast", "daphne"])
def test_one_process_serves_one_tenant(site: Site, token: str) -> None:
    with open_socket(site, "acme", token) as acme, open_socket(site, "globex", token) as globex:
        acme.send(json.dumps({"type": "ready"}))
        assert json.loads(acme.recv(TIMEOUT))["type"] == "ready"
        assert json.loads(globex.recv(TIMEOUT)).get("code") == "forbidden"
        with pytest.raises(ConnectionClosed) as refused:
            globex.recv(TIMEOUT)
        assert refused.value.rcvd is not None
        assert refused.value.rcvd.code == 4403
        pushed = [
            httpx.get(f"{site.url}/push/", headers={"Host": host}, timeout=TIMEOUT).status_code
            for host in ("globex", "acme")
        ]
        assert pushed == [500, 204]
        assert json.loads(acme.recv(TIMEOUT)) == {"text": "acme"}
    assert "serves the users of `acme`, and refuses those of `globex`" in site.log


def test_check_suspects_the_router(project: Path) -> None:
    with pytest.raises(RuntimeError, match=r"djwsbridge\.W022") as failed:
        run_manage("check", "--fail-level=WARNING", env=env_of(project), cwd=project)
    assert "mysite.customers.Router reads what belongs to the current request" in str(failed.value)
