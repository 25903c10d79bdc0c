"""Projects whose settings of Django and Django REST framework differ from the defaults, several of them at once."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.security.rig import V1, ask, assert_alive, assert_told_and_closed, hear, say
from tests.servers import TIMEOUT, serve
from tests.small_project import SmallProject

pytestmark = pytest.mark.slow  # whole projects

# What a project may want of its own API, and what no page or client of the chat can bear.
API = """
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["people.models.Words"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "ALLOWED_VERSIONS": ["v7"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "1/day", "anon": "1/day"},
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "PAGE_SIZE": 1,
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "people.models.Nothing",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "people.models.handle",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "NON_FIELD_ERRORS_KEY": "wrong",
}
SIMPLE_JWT = {"AUTH_HEADER_TYPES": ("JWT", "Token"), "AUTH_HEADER_NAME": "HTTP_X_ACCESS_TOKEN"}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
DEFAULT_AUTO_FIELD = "django.db.models.SmallAutoField"
LANGUAGE_CODE, USE_THOUSAND_SEPARATOR, TIME_ZONE = "ar", True, "Asia/Kathmandu"
SESSION_COOKIE_NAME, APPEND_SLASH = "my_session", False
"""
MODELS = """
from django.contrib.auth.models import User
from django.http import HttpResponse
from djwsbridge.utils import send_ws_message
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer

class Words(BaseRenderer):
    media_type, format = "text/words", "words"
    def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"words"

class Nothing(BaseContentNegotiation):
    def select_parser(self, request, parsers):
        return None
    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], "text/words"

def handle(exc, context):
    raise exc

def tell(request):
    user = User.objects.get(username="ann")
    send_ws_message(user, {"first_name": request.GET["name"]})
    User.objects.filter(pk=user.pk).update(first_name=request.GET["name"])
    if "fail" in request.GET:
        raise ValueError("this request is rolled back")
    return HttpResponse("told")
"""
URLS = """
from people.models import tell
urlpatterns += [path("tell/", tell)]
"""
MAKE = """
import json
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken
made = {}
for name in ("ann", "bob"):
    user, client = User.objects.create_user(name, password="a first one"), Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    made[name] = [user.pk, str(AccessToken.for_user(user)), cookie]
print(json.dumps(made))
"""


class Running:
    """A project under a server, with the key, token and session cookie of its users."""

    def __init__(self, project: SmallProject, url: str, people: Any, stack: ExitStack) -> None:
        self.project, self.url, self.people = project, url, people
        self._stack = stack

    def open(self, *, plain: bool = False, **headers: str) -> ClientConnection:
        return self._stack.enter_context(
            connect(
                f"{self.url.replace('http', 'ws', 1)}/ws/bridge/",
                subprotocols=None if plain else [V1],  # type: ignore[list-item]
                additional_headers=headers,
                origin=self.url,  # type: ignore[arg-type]
                proxy=None,
                open_timeout=TIMEOUT,
            )
        )

    def browse(self, headers: dict[str, str]) -> httpx.Client:
        """Return a client of the site that is closed when the test ends."""
        client = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT)
        return self._stack.enter_context(client)

    def refused(self, **headers: str) -> dict[str, Any]:
        """Return what a socket says that is refused, before or after it has asked."""
        socket = self.open(**headers)
        with contextlib.suppress(ConnectionClosed):
            say(socket, {"id": 1, "cmd": "connect"})
        frame = hear(socket)
        error: dict[str, Any] = frame.get("error") or frame["data"]
        return error


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Start]:
    with ExitStack() as stack:

        def start_one(settings: str, *, make: str = MAKE, **files: str) -> Running:
            project = SmallProject(
                tmp_path, settings=settings, env={"REDIS_URL": redis_url}, **files
            )
            project.migrate()
            people = project.shell(make)
            site = stack.enter_context(serve("fast", **project.served))
            return Running(project, site.url, people, stack)

        yield start_one


def test_the_defaults_of_an_api_leave_the_chat_alone(start: Start) -> None:
    running = start(API, models=MODELS, urls=URLS)
    headers = {"X-Access-Token": f"JWT {running.people['ann'][1]}"}
    api = running.browse(headers)
    for number in range(3):  # more often than the throttle allows
        ticket = api.post("/djwsbridge/ticket/")
        assert ticket.status_code == 200, ticket.text
        assert ticket.headers["content-type"] == "application/json"
        made = api.post("/chat/api/rooms/", json={"title": f"Room {number}"})
        assert made.status_code == 201, made.text
    assert len(api.get("/chat/api/rooms/").json()["rooms"]) == 3
    assert api.post("/chat/api/rooms/", json={"title": ""}).json()["error"]["code"] == "bad_name"
    assert httpx.get(f"{running.url}/chat/api/rooms/").status_code == 401
    assert httpx.post(f"{running.url}/djwsbridge/ticket/").status_code == 401
    socket = running.open()
    told = ask(socket, "connect", ticket=ticket.json()["ticket"])["ok"]
    assert told["user"]["name"] == "ann"
    room = made.json()["id"]
    body = {"body": "hello", "client_message_id": str(uuid.uuid4())}
    sent = api.post(f"/chat/api/rooms/{room}/messages/", json=body)
    while (frame := hear(socket)).get("push") != "message.sent":
        pass
    assert frame["data"] == sent.json()
    cookies = {"my_session": running.people["ann"][2]}
    page = httpx.get(f"{running.url}/chat/", cookies=cookies, timeout=TIMEOUT)
    assert page.status_code == 200
    assert 'data-key="1"' in page.text


def test_tokens_come_as_simplejwt_wants_them(start: Start) -> None:
    running = start(API, models=MODELS, urls=URLS)
    _, token, cookie = running.people["ann"]
    for scheme in ("JWT", "Token", "Bearer", "jwt"):
        socket = running.open(**{"X-Access-Token": f"{scheme} {token}"})
        assert ask(socket, "connect")["ok"]["user"]["name"] == "ann"
    assert running.refused(**{"X-Access-Token": f"Digest {token}"})["code"] == "auth_required"
    # The password of a site that is not public yet, which the browser repeats beside the visitor's cookie.
    basic = f"Basic {base64.b64encode(b'guest:guest').decode()}"
    socket = running.open(Authorization=basic, Cookie=f"my_session={cookie}")
    assert ask(socket, "connect")["ok"]["user"]["name"] == "ann"


def test_the_password_of_a_proxy_is_no_token(start: Start) -> None:
    running = start("")
    basic = f"Basic {base64.b64encode(b'guest:guest').decode()}"
    cookie = f"sessionid={running.people['ann'][2]}"
    socket = running.open(Authorization=basic, Cookie=cookie)
    assert ask(socket, "connect")["ok"]["user"]["name"] == "ann"
    assert running.refused(Authorization=basic)["code"] == "auth_required"


def test_a_push_leaves_when_the_request_has_committed(start: Start) -> None:
    running = start(API, models=MODELS, urls=URLS)
    socket = running.open(plain=True, **{"X-Access-Token": f"JWT {running.people['ann'][1]}"})
    for query, status in (("name=one&fail=1", 500), ("name=two", 200)):
        answer = httpx.get(f"{running.url}/tell/?{query}", timeout=TIMEOUT)
        assert answer.status_code == status
    assert hear(socket) == {"first_name": "two"}


FILES = """
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = os.path.dirname(os.environ["DATABASE"])
"""
SERIALIZER = """
import pickle

class Serializer:
    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)
"""


@pytest.mark.parametrize(
    "settings",
    [
        'SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"\n',
        FILES,
        'SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"\n',
        'SESSION_SERIALIZER = "people.models.Serializer"\n',
    ],
    ids=["cached_db", "file", "signed_cookies", "serializer"],
)
def test_sessions_of_every_engine_open_sockets_and_end_them(start: Start, settings: str) -> None:
    running = start(settings, models=SERIALIZER)
    socket = running.open(Cookie=f"sessionid={running.people['ann'][2]}")
    assert ask(socket, "connect")["ok"]["user"]["name"] == "ann"
    running.project.shell(
        "from django.contrib.auth.models import User; u = User.objects.get(username='ann');"
        "u.set_password('another'); u.save(); print(1)"
    )
    assert_told_and_closed(socket, 4410, "revoked")
    assert (
        running.refused(Cookie=f"sessionid={running.people['ann'][2]}")["code"] == "auth_required"
    )


def test_who_is_inactive_stays_out_whatever_the_backend_lets_in(start: Start) -> None:
    make = MAKE.replace("made[name]", "user.is_active = False; user.save(); made[name]")
    backend = "AllowAllUsersModelBackend"
    running = start(
        f'AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.{backend}"]\n', make=make
    )
    cookie = f"sessionid={running.people['ann'][2]}"
    assert running.refused(Cookie=cookie)["code"] == "auth_required"


HIDING = """
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models

class Present(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(removed=False)

class Person(AbstractUser):
    removed = models.BooleanField(default=False)
    everyone = UserManager()
    objects = Present()
"""


def test_a_token_finds_whom_simplejwt_finds(start: Start) -> None:
    make = MAKE.replace(
        "from django.contrib.auth.models import User", "from people.models import Person as User"
    )
    running = start('AUTH_USER_MODEL = "people.Person"\n', models=HIDING, make=make)
    headers = {"Authorization": f"Bearer {running.people['ann'][1]}"}
    socket = running.open(**headers)
    assert ask(socket, "connect")["ok"]["user"]["name"] == "ann"
    running.project.shell(
        "from people.models import Person; p = Person.everyone.get(username='ann');"
        "p.removed = True; p.save(); print(1)"
    )
    assert_told_and_closed(socket, 4410, "revoked")
    assert running.refused(**headers)["code"] == "token_invalid"


HASHERS = """
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher", "django.contrib.auth.hashers.MD5PasswordHasher",
]
CACHES = {"default": {
    "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"],
}}
"""
LOG_IN = """
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
print(int(authenticate(username="ann", password="a first one").password.startswith("pbkdf2")))
"""
ASSIGN = """
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
user = User.objects.get(username="{name}")
user.password = make_password("a second one", hasher="{hasher}")
user.save(update_fields=["password"])
print(1)
"""


def test_a_login_that_hashes_anew_ends_no_socket_by_token(start: Start) -> None:
    make = MAKE.replace(
        "User.objects.create_user(name, password",
        "User.objects.create(username=name, password=make_password",
    ).replace(
        'password=make_password="a first one")',
        'password=make_password("a first one", hasher="md5"))',
    )
    make = "from django.contrib.auth.hashers import make_password\n" + make
    running = start(HASHERS, make=make)
    by_token = {
        name: running.open(Authorization=f"Bearer {running.people[name][1]}")
        for name in ("ann", "bob")
    }
    by_session = running.open(Cookie=f"sessionid={running.people['ann'][2]}")
    for socket in (*by_token.values(), by_session):
        assert "ok" in ask(socket, "connect")
    assert running.project.shell(LOG_IN) == 1
    # Django itself ends the other sessions then. Both sockets are looked at in one query.
    assert_told_and_closed(by_session, 4410, "revoked")
    assert_alive(by_token["ann"])
    # A new password is one, also when it is written in the same way.
    running.project.shell(ASSIGN.format(name="ann", hasher="default"))
    assert_told_and_closed(by_token["ann"], 4410, "revoked")
    running.project.shell(ASSIGN.format(name="bob", hasher="default"))
    assert_told_and_closed(by_token["bob"], 4410, "revoked")
