"""System checks: each with a project that it complains about, and one that it leaves in peace."""

# ruff: noqa: DJ008  nobody reads the rows of these models
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, run_checks
from django.db import models
from django.test.utils import isolate_apps

from djwsbridge import checks
from djwsbridge.checks import check_deployment, check_settings
from tests.servers import ROOT, TIMEOUT, child_environment, run_manage

IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REDIS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1", "socket_timeout": None}]},
    }
}
SHARED_CACHE = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}}

with isolate_apps("tests"):

    class Chat(models.Model):
        participants = models.ManyToManyField(django_settings.AUTH_USER_MODEL)

        class Meta:
            app_label = "tests"

    class Message(models.Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        sender = models.ForeignKey(django_settings.AUTH_USER_MODEL, models.CASCADE)
        content = models.TextField()
        type = models.CharField(max_length=20)
        note = models.TextField(blank=True)
        created = models.DateTimeField(auto_now_add=True)
        changed = models.DateTimeField(auto_now=True)
        rank = models.IntegerField(default=0)
        place = models.IntegerField(null=True)
        stamp = models.IntegerField(db_default=1)

        class Meta:
            app_label = "tests"

    class DemandingMessage(models.Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        sender = models.ForeignKey(django_settings.AUTH_USER_MODEL, models.CASCADE)
        content = models.TextField()
        tenant = models.IntegerField()

        class Meta:
            app_label = "tests"

    class PoorMessage(models.Model):
        chat = models.ForeignKey(Chat, models.CASCADE)
        content = models.TextField()

        class Meta:
            app_label = "tests"

    class LonelyChat(models.Model):
        participants = models.TextField()

        class Meta:
            app_label = "tests"


def fill(**_: object) -> dict[str, object]:
    """Fill nothing."""
    return {}


@pytest.fixture(autouse=True)
def _sound_project(settings: Any) -> None:
    settings.DEBUG = False
    settings.CHANNEL_LAYERS = REDIS
    settings.CACHES = SHARED_CACHE
    settings.SIMPLE_JWT = {"CHECK_REVOKE_TOKEN": True}


@pytest.fixture
def use_models(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(chat: type[models.Model], message: type[models.Model]) -> None:
        settings.DJWSBRIDGE_CHAT_MODEL = f"tests.{chat.__name__}"
        settings.DJWSBRIDGE_MESSAGE_MODEL = f"tests.{message.__name__}"
        monkeypatch.setattr(checks, "get_chat_model", lambda: chat)
        monkeypatch.setattr(checks, "get_message_model", lambda: message)

    return use


def complaints() -> dict[str, CheckMessage]:
    found = [*check_settings(None), *check_deployment(None)]
    assert len({message.id for message in found}) == len(found)
    return {str(message.id).removeprefix("djwsbridge."): message for message in found}


def assert_complains(code: str, text: str, hint: str, *others: str) -> None:
    found = complaints()
    assert set(found) == {code, *others}
    assert re.search(text, found[code].msg)
    assert hint in str(found[code].hint)


def test_a_sound_project_is_left_in_peace() -> None:
    assert complaints() == {}


def test_the_checks_are_registered(settings: Any) -> None:
    settings.DJWSBRIDGE_WS_PREFIX = "a b"
    assert "djwsbridge.E008" in {message.id for message in run_checks()}


def test_what_matters_in_production_is_said_before_a_deployment(settings: Any) -> None:
    settings.CHANNEL_LAYERS = IN_MEMORY
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    said = {message.id for message in run_checks()}
    asked = {message.id for message in run_checks(include_deployment_checks=True)}
    assert said & {"djwsbridge.W001", "djwsbridge.W004", "djwsbridge.W008"} == set()
    assert asked >= {"djwsbridge.W001", "djwsbridge.W004"}


def test_every_check_says_what_and_what_to_do() -> None:
    ids = re.findall(r'id="djwsbridge\.(\w+)"', Path(checks.__file__).read_text())
    tests = Path(__file__).read_text()
    assert len(ids) == len(set(ids))
    for code in ids:
        assert f'assert_complains("{code}"' in tests.replace("\n        ", ""), code


def test_channels_is_missing(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "channels"]
    assert_complains("E001", "`channels` is not", 'Add "channels" before "djwsbridge".')


@pytest.mark.parametrize("name", ["DJWSBRIDGE_CHAT_MODEL", "DJWSBRIDGE_MESSAGE_MODEL"])
def test_one_of_two_models(settings: Any, name: str) -> None:
    setattr(settings, name, "auth.Group")
    assert_complains("E002", "Only one of DJWSBRIDGE_CHAT_MODEL", "Set both")


@pytest.mark.parametrize("path", ["nowhere.Chat", "Chat", "auth.Nothing", "a.b.c"])
def test_a_model_that_does_not_exist(settings: Any, path: str) -> None:
    settings.DJWSBRIDGE_CHAT_MODEL, settings.DJWSBRIDGE_MESSAGE_MODEL = "auth.Group", path
    assert_complains("E003", "DJWSBRIDGE_MESSAGE_MODEL is", '"app_label.ModelName"')


def test_the_models_of_the_seed(use_models: Any) -> None:
    use_models(Chat, Message)
    assert complaints() == {}


@pytest.mark.parametrize(
    ("chat", "message", "text"),
    [
        (LonelyChat, Message, "LonelyChat has no many-to-many field `participants`"),
        (Chat, PoorMessage, "PoorMessage has no field `sender`"),
    ],
)
def test_a_field_that_is_missing(use_models: Any, chat: Any, message: Any, text: str) -> None:
    use_models(chat, message)
    assert_complains("E004", text, 'See "How to store private messages" in the documentation')


@pytest.mark.parametrize(
    ("path", "text"),
    [("nowhere.fill", "nowhere"), ("tests.unit.test_checks.IN_MEMORY", "is no function")],
)
def test_a_function_that_cannot_be_called(
    settings: Any, use_models: Any, path: str, text: str
) -> None:
    use_models(Chat, DemandingMessage)
    settings.DJWSBRIDGE_MESSAGE_DEFAULTS = path
    assert_complains("E005", text, "function(sender, recipient, frame)")


def test_a_required_field_that_nobody_fills(settings: Any, use_models: Any) -> None:
    use_models(Chat, DemandingMessage)
    assert_complains("E006", "DemandingMessage.tenant is required", "DJWSBRIDGE_MESSAGE_DEFAULTS")
    settings.DJWSBRIDGE_MESSAGE_DEFAULTS = "tests.unit.test_checks.fill"
    assert complaints() == {}


@pytest.mark.parametrize("allowed", [[], (), "text", [""], ["x" * 101], [5], [None], 5, {}])
def test_types_that_allow_nothing(settings: Any, allowed: object) -> None:
    settings.DJWSBRIDGE_ALLOWED_TYPES = allowed
    assert_complains("E007", "allows nothing", "leave it out to allow all")


@pytest.mark.parametrize("allowed", [None, ["text"], ("text", "image"), {"text"}])
def test_types_that_allow_something(settings: Any, allowed: object) -> None:
    settings.DJWSBRIDGE_ALLOWED_TYPES = allowed
    assert complaints() == {}


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("", ""), ("a b", "x"), ("ws", "?x"), ("ws", "a//b"), ("^ws", "x"), (None, "x"), ("/", "/")],
)
def test_a_path_that_cannot_match(settings: Any, prefix: str, path: str) -> None:
    settings.DJWSBRIDGE_WS_PREFIX, settings.DJWSBRIDGE_WS_PATH = prefix, path
    assert_complains("E008", "No WebSocket can reach", "plain path segments")


@pytest.mark.parametrize(
    ("prefix", "path"), [("ws", "bridge"), ("", "bridge"), ("/ws/", "/v1/b/"), ("a-b.c~d", "")]
)
def test_a_path_that_matches(settings: Any, prefix: str, path: str) -> None:
    settings.DJWSBRIDGE_WS_PREFIX, settings.DJWSBRIDGE_WS_PATH = prefix, path
    assert complaints() == {}


def test_an_engine_that_is_none(settings: Any) -> None:
    settings.DJWSBRIDGE_ENGINE = "carrier_pigeon"
    assert_complains("E009", "'carrier_pigeon', which is no engine", "channel_layer, memory")


@pytest.mark.parametrize(
    "layers",
    [
        {"default": {"BACKEND": "nowhere.Layer"}},
        {"default": {**REDIS["default"], "CONFIG": {"wrong": 1}}},
        {"default": {**REDIS["default"], "CONFIG": {"hosts": "redis://127.0.0.1"}}},
    ],
)
def test_a_layer_that_cannot_be_built(settings: Any, layers: object) -> None:
    settings.CHANNEL_LAYERS = layers
    assert_complains("E010", "The channel layer cannot be built: .", "BACKEND and the CONFIG")


def test_no_layer_for_the_engine_that_needs_one(settings: Any) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.CHANNEL_LAYERS = "channel_layer", {}
    assert_complains("E010", "names no default layer", "CHANNEL_LAYERS", "W001")


@pytest.mark.parametrize(
    ("engine", "layers"), [(None, {}), (None, IN_MEMORY), ("memory", REDIS), ("memory", {})]
)
def test_pushes_that_stay_in_one_process(settings: Any, engine: str, layers: object) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.CHANNEL_LAYERS = engine, layers
    assert_complains("W001", "stay within one process", "channel layer on Redis")


@pytest.mark.parametrize("layers", [{}, IN_MEMORY])
def test_the_redis_engine_needs_no_layer(settings: Any, layers: object) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.CHANNEL_LAYERS = "redis", layers
    settings.DJWSBRIDGE_REDIS_URL = "redis://127.0.0.1:1"
    assert complaints() == {}


@pytest.mark.parametrize(
    ("url", "text"), [(None, "DJWSBRIDGE_REDIS_URL is not set"), ("localhost:6379", "schemes")]
)
def test_the_redis_engine_needs_an_address(settings: Any, url: str | None, text: str) -> None:
    settings.DJWSBRIDGE_ENGINE, settings.DJWSBRIDGE_REDIS_URL = "redis", url
    assert_complains("E011", text, 'DJWSBRIDGE_REDIS_URL = "redis://')


@pytest.mark.parametrize(
    ("payload", "queue", "most"),
    [(1_000, 1_048_576, 786_432), (786_433, 4_000_000, 786_432), (262_144, 200_000, 150_000)],
)
def test_a_push_must_fit_into_what_carries_it(
    settings: Any, payload: int, queue: int, most: int
) -> None:
    settings.DJWSBRIDGE_PAYLOAD_BYTES, settings.DJWSBRIDGE_SEND_QUEUE_BYTES = payload, queue
    assert_complains("E018", f"must be from 65536 to {most}", "Push where larger data")
    settings.DJWSBRIDGE_PAYLOAD_BYTES = most
    assert complaints() == {}


def test_a_frame_must_fit_into_a_push(settings: Any) -> None:
    settings.DJWSBRIDGE_FRAME_BYTES, settings.DJWSBRIDGE_PAYLOAD_BYTES = 100_001, 100_000
    assert_complains("E018", "PAYLOAD_BYTES is 100000: it must be from 100001", "FRAME_BYTES")
    settings.DJWSBRIDGE_FRAME_BYTES = 100_000
    assert complaints() == {}


def test_a_layer_whose_receives_time_out(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis  # noqa: PLC0415

    settings.CHANNEL_LAYERS = {
        "default": {**REDIS["default"], "CONFIG": {"hosts": ["redis://127.0.0.1:1", ("h", 1)]}}
    }
    monkeypatch.setattr(redis, "__version__", "8.0.1")
    assert_complains("W002", "redis-py 8", '"socket_timeout": None')
    monkeypatch.setattr(redis, "__version__", "7.4.0")
    assert complaints() == {}


def test_the_pub_sub_layer_is_found_without_a_loop(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            **REDIS["default"],
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        }
    }
    assert complaints() == {}


def test_any_origin_with_cookies(settings: Any) -> None:
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["*"]
    assert_complains("W003", "Any page may open a socket", "DJWSBRIDGE_ALLOWED_ORIGINS")
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["https://example.com"]
    assert complaints() == {}


@pytest.mark.parametrize("setting", ["DJWSBRIDGE_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"])
def test_an_origin_that_no_page_can_have(settings: Any, setting: str) -> None:
    good = ["https://example.com:8443", "https://*.example.com", "capacitor://localhost", "app://."]
    setattr(settings, setting, good)
    assert complaints() == {}
    setattr(settings, setting, [*good, "https://app.example.com/", "null"])
    named = f"{setting} holds .*'https://app.example.com/' goes on .* write 'https://app.example.com'; 'null' is"
    assert_complains("E012", named, "scheme, host and port")
    setattr(settings, setting, "https://*.example.com")
    assert_complains("E012", f"'https://\\*.example.com' is no list: write {setting} = ", "scheme")


def test_a_star_is_an_origin_of_ours_alone(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["*"]
    assert_complains("E012", r"CSRF_TRUSTED_ORIGINS holds .*'\*' has no scheme", "whole Origin")
    settings.DJWSBRIDGE_ALLOWED_ORIGINS = ["https://example.com"]  # then the other is not read
    assert complaints() == {}


@pytest.mark.parametrize(
    ("proxies", "named"),
    [
        (["127.0.0.1", "localhost"], "'localhost'"),
        (["10.0.0.0/99"], "'10.0.0.0/99'"),
        (["127.0.0.1:8000"], "'127.0.0.1:8000'"),
        ("127.0.0.1", "'127.0.0.1'"),  # a text is no list of its characters
        ([None], "None"),
    ],
)
def test_a_proxy_that_is_no_address(settings: Any, proxies: object, named: str) -> None:
    """Without the check, each handshake fails with a ValueError."""
    settings.DJWSBRIDGE_TRUSTED_PROXIES = proxies
    assert_complains("E019", f"{named} is none", '"10.0.0.0/8"')
    settings.DJWSBRIDGE_TRUSTED_PROXIES = ["127.0.0.1", "::1", "10.0.0.1/8"]
    assert complaints() == {}


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_a_cache_of_one_process(settings: Any, backend: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert_complains("W004", "cache is not shared", "Redis, Memcached or database cache")


@pytest.mark.parametrize("tokens", [{}, {"CHECK_REVOKE_TOKEN": False}])
def test_tokens_that_outlive_a_password(settings: Any, tokens: object) -> None:
    settings.SIMPLE_JWT = tokens
    assert_complains("W008", "after its user has a new password", "CHECK_REVOKE_TOKEN")
    assert "djwsbridge.W008" in {
        message.id for message in run_checks(include_deployment_checks=True)
    }


def test_a_runserver_without_websocket(settings: Any) -> None:
    apps = [app for app in settings.INSTALLED_APPS if app not in {"daphne", "servestatic"}]
    settings.INSTALLED_APPS = [*apps, "daphne"]  # Django's own comes before it
    assert complaints() == {}
    settings.DEBUG = True
    assert_complains("W005", '"daphne" does not come first', 'Put "daphne" first')
    settings.INSTALLED_APPS = ["daphne", *apps]
    assert complaints() == {}
    settings.ASGI_APPLICATION = None
    assert_complains("W005", "ASGI_APPLICATION is not set", 'ASGI_APPLICATION = "mysite.asgi')


def test_a_runserver_of_somebody_else_is_not_judged(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(checks, "get_commands", lambda: {"runserver": "theirs"})
    assert complaints() == {}


OF_DJANGO = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_asgi_application()
"""


@pytest.fixture
def write_asgi(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives the project another asgi.py, which fails when it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    settings.ASGI_APPLICATION = "their_asgi.application"

    def write(source: str) -> None:
        (tmp_path / "their_asgi.py").write_text(f"{source}\n1 / 0\n")

    return write


def test_the_application_of_a_new_project(write_asgi: Any) -> None:
    write_asgi(OF_DJANGO)
    assert_complains("W006", "their_asgi.application is Django's own", "ProtocolTypeRouter")


def test_a_setting_that_is_gone_is_named(settings: Any) -> None:
    settings.DJWSBRIDGE_RECOVERY_RATE = (30, 60.0)
    assert_complains("W007", "DJWSBRIDGE_RECOVERY_RATE is set", "DJWSBRIDGE_RECOVERY_BYTES")


@pytest.mark.parametrize(
    ("prefix", "log_in", "text", "hint"),
    [
        ("app", "login", "FORCE_SCRIPT_NAME is 'app'", '"/app"'),
        ("/app", "/accounts/login/", "LOGIN_URL is '/accounts/login/'", 'LOGIN_URL = "login"'),
        ("/acc", "/accounts/login/", "LOGIN_URL is '/accounts/login/'", 'LOGIN_URL = "login"'),
    ],
)
def test_links_that_lead_out_of_a_site_under_a_path_are_named(
    settings: Any, prefix: str, log_in: str, text: str, hint: str
) -> None:
    settings.ROOT_URLCONF = "config.urls"
    settings.FORCE_SCRIPT_NAME, settings.LOGIN_URL = prefix, log_in
    assert_complains("W009", text, hint)


@pytest.mark.parametrize(
    ("prefix", "log_in"),
    [
        (None, "/accounts/login/"),
        ("/app", "login"),
        ("/app/", "/app/accounts/login/"),
        ("/app", "/single-sign-on/"),  # of another site
        ("/app", "https://accounts.example.com/"),
    ],
)
def test_links_that_stay_in_a_site_are_no_fault(
    settings: Any, prefix: str | None, log_in: str
) -> None:
    settings.ROOT_URLCONF = "config.urls"
    settings.FORCE_SCRIPT_NAME, settings.LOGIN_URL = prefix, log_in
    assert complaints() == {}


@pytest.mark.parametrize(
    "source",
    [
        "application = (",
        f"{OF_DJANGO}\napplication = Router(application)",
        f"{OF_DJANGO}\nfrom mysite.routing import router as application",
        f"{OF_DJANGO}\nfrom mysite.routing import *",
        f"{OF_DJANGO}\ndef application(scope, receive, send): ...",
        OF_DJANGO.replace("get_asgi_application()", "wrap(get_asgi_application())"),
        "def __getattr__(name): ...",
        "\0",
    ],
)
def test_an_application_that_may_be_another_is_not_judged(write_asgi: Any, source: str) -> None:
    write_asgi(source)
    assert complaints() == {}


@pytest.mark.parametrize(
    "path", ["nowhere.asgi.application", "tests.nowhere.application", "application"]
)
def test_an_application_in_no_module_does_not_exist(settings: Any, path: str) -> None:
    settings.ASGI_APPLICATION = path
    assert_complains("W023", f"{path!r}, and there is no such thing", "a module, a dot, and a name")


@pytest.mark.parametrize("source", ["", OF_DJANGO.replace("application = ", "http = ")])
def test_a_module_without_the_application(write_asgi: Any, source: str) -> None:
    write_asgi(source)
    assert_complains("W023", "their_asgi.application", "a name in that module")


@pytest.mark.parametrize("path", ["", None, "sys.path"])
def test_an_application_that_cannot_be_read_is_not_judged(settings: Any, path: str | None) -> None:
    settings.ASGI_APPLICATION = path
    assert complaints() == {}


# -- as a project sees it --------------------------------------------------------------------------------------------

PROJECT = """
SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
DEBUG = True
INSTALLED_APPS = [
    "daphne", "django.contrib.auth", "django.contrib.contenttypes", "channels", "djwsbridge"
]
ASGI_APPLICATION = "push_asgi.application"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
USE_TZ = True
CHANNEL_LAYERS = {layers!r}
"""


def run_admin(directory: Path, *arguments: str, layers: object = IN_MEMORY) -> tuple[int, str]:
    (directory / "push_settings.py").write_text(PROJECT.format(layers=layers))
    (directory / "push_asgi.py").write_text("from mysite.elsewhere import application")
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments, "--settings=push_settings"],
        cwd=directory,
        env={**child_environment({}), "PYTHONPATH": f"{directory}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_migrate_makes_no_table_for_the_library(tmp_path: Path) -> None:
    status, printed = run_admin(tmp_path, "migrate", "--plan")
    assert status == 0
    assert "djwsbridge" not in printed
    status, printed = run_admin(tmp_path, "makemigrations", "--check", "--dry-run", "djwsbridge")
    assert (status, printed.strip()) == (0, "No changes detected in app 'djwsbridge'")


def test_the_reference_project_has_all_its_migrations(site_env: Any, sqlite_url: str) -> None:
    env = {**site_env, "DATABASE_URL": sqlite_url}
    assert "No changes detected" in run_manage("makemigrations", "--check", "--dry-run", env=env)


@pytest.mark.parametrize("config", [{"wrong": 1}, {"hosts": "redis://127.0.0.1"}])
def test_a_wrong_layer_is_a_complaint_and_no_traceback(tmp_path: Path, config: object) -> None:
    layers = {"default": {**REDIS["default"], "CONFIG": config}}
    status, printed = run_admin(tmp_path, "check", layers=layers)
    assert status == 1
    assert "djwsbridge.E010" in printed
    assert "Traceback" not in printed
