"""System checks: what `manage.py check` says about a project's settings. docs/reference/checks.md lists them."""

from __future__ import annotations

import ast
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from channels.exceptions import InvalidChannelLayerError
from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Caution
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.management import get_commands
from django.db.models import ManyToManyField, Model
from django.urls import is_valid_path
from django.utils.module_loading import import_string
from rest_framework_simplejwt import settings as token_settings

from djwsbridge.conf import PREFIX, settings
from djwsbridge.documentation import see
from djwsbridge.engine import factory
from djwsbridge.protocol.codec import MAX_TYPE_LENGTH
from djwsbridge.publish import is_local_to_a_process
from djwsbridge.routing import socket_route
from djwsbridge.sources import is_missing, source_of
from djwsbridge.store_checks import must_be_filled
from djwsbridge.tenant_checks import check_tenants
from djwsbridge.transport.auth.origin import ANY, OWN_SETTING, find_fault, listed_origins
from djwsbridge.utils import get_chat_model, get_message_model

__all__ = ["check_deployment", "check_settings"]

_PATH = re.compile(r"(?:[A-Za-z0-9._~-]+/)+")
_CHAT_FIELDS = ("participants",)
_MESSAGE_FIELDS = ("chat", "sender", "content")
# Name of a setting that was removed → what to do instead.
_REMOVED_SETTINGS = {
    "RECOVERY_RATE": "Recoveries are limited by their bytes: set DJWSBRIDGE_RECOVERY_BYTES, or nothing.",
}
LEAST_PAYLOAD_BYTES = 65_536  # a message of the chat, every character of it escaped
DAPHNE_BYTES = 1_048_576  # of the largest message that Daphne sends
_RUNSERVERS_OF_DJANGO = frozenset({"django.core", "django.contrib.staticfiles"})
_LOCAL_CACHES = frozenset(
    {
        "django.core.cache.backends.locmem.LocMemCache",
        "django.core.cache.backends.dummy.DummyCache",
    }
)


@register(Tags.compatibility)
def check_settings(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return everything that is wrong, or dangerous, in the project's settings for this library."""
    parts: tuple[Callable[[], Iterable[CheckMessage]], ...] = (
        _check_installed,
        _check_models,
        _check_types,
        _check_path,
        _check_prefix,
        _check_engine,
        _check_channel_layer,
        _check_origins,
        _check_proxies,
        _check_runserver,
        _check_application,
        _check_removed,
        _check_sizes,
        check_tenants,
    )
    return [message for part in parts for message in part()]


@register(Tags.compatibility, deploy=True)
def check_deployment(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Return what is fine on the developer's machine, and not where several processes serve."""
    return [*_check_reach(), *_check_cache(), *_check_tokens()]


def _check_installed() -> Iterator[CheckMessage]:
    if not apps.is_installed("channels"):
        yield Error(
            "`djwsbridge` is in INSTALLED_APPS, but `channels` is not.",
            hint='Add "channels" before "djwsbridge".',
            id="djwsbridge.E001",
        )


def _check_models() -> Iterator[CheckMessage]:
    if bool(settings.CHAT_MODEL) != bool(settings.MESSAGE_MODEL):
        yield Error(
            "Only one of DJWSBRIDGE_CHAT_MODEL and DJWSBRIDGE_MESSAGE_MODEL is set.",
            hint="Set both to store private messages, or neither to only push them.",
            id="djwsbridge.E002",
        )
    if not (settings.CHAT_MODEL and settings.MESSAGE_MODEL):
        return
    try:
        chat, message = get_chat_model(), get_message_model()
    except ImproperlyConfigured as error:
        hint = 'Write it as "app_label.ModelName", with the app in INSTALLED_APPS.'
        yield Error(str(error), hint=hint, id="djwsbridge.E003")
        return
    yield from _check_fields(chat, _CHAT_FIELDS)
    yield from _check_fields(message, _MESSAGE_FIELDS)
    yield from _check_defaults(message)


def _check_fields(model: type[Model], names: Iterable[str]) -> Iterator[CheckMessage]:
    for name in names:
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or (name == "participants") != isinstance(field, ManyToManyField):
            kind = "many-to-many field" if name == "participants" else "field"
            yield Error(
                f"{model.__name__} has no {kind} `{name}`.",
                hint=f"Private messages are stored in it: add `{name}`. {see('How to store private messages')}",
                obj=model,
                id="djwsbridge.E004",
            )


def _check_defaults(message: type[Model]) -> Iterator[CheckMessage]:
    path = settings.MESSAGE_DEFAULTS
    if path:
        try:
            fault = "" if callable(import_string(path)) else f"{path} is no function"
        except ImportError as error:
            fault = str(error)
        if fault:
            yield Error(
                f"DJWSBRIDGE_MESSAGE_DEFAULTS cannot be used: {fault}",
                hint="It is the dotted path of a function(sender, recipient, frame) -> dict.",
                id="djwsbridge.E005",
            )
        return
    for field in message._meta.fields:
        if must_be_filled(field) and field.name not in (*_MESSAGE_FIELDS, "type"):
            yield Error(
                f"{message.__name__}.{field.name} is required, and nobody fills it.",
                hint="Give it a default, or name a function in DJWSBRIDGE_MESSAGE_DEFAULTS.",
                obj=message,
                id="djwsbridge.E006",
            )


def _check_types() -> Iterator[CheckMessage]:
    allowed = settings.ALLOWED_TYPES
    if allowed is None:
        return
    names = list(allowed) if isinstance(allowed, (list, tuple, set, frozenset)) else []
    good = all(isinstance(name, str) and 0 < len(name) <= MAX_TYPE_LENGTH for name in names)
    if not names or not good:
        yield Error(
            "DJWSBRIDGE_ALLOWED_TYPES allows nothing, or something that no message can have.",
            hint='Use a list of names, such as ["text", "image"], or leave it out to allow all.',
            id="djwsbridge.E007",
        )


def _check_path() -> Iterator[CheckMessage]:
    parts = (settings.WS_PREFIX, settings.WS_PATH)
    path = socket_route() if all(isinstance(part, str) for part in parts) else repr(parts)
    if not _PATH.fullmatch(path):
        yield Error(
            f"No WebSocket can reach /{path}: check DJWSBRIDGE_WS_PREFIX and DJWSBRIDGE_WS_PATH.",
            hint='Use plain path segments, such as "ws" and "bridge".',
            id="djwsbridge.E008",
        )


def _check_prefix() -> Iterator[CheckMessage]:
    """Warn of a site under a path whose addresses lead out of it."""
    prefix, log_in = django_settings.FORCE_SCRIPT_NAME, str(django_settings.LOGIN_URL)
    if not prefix:
        return
    if not prefix.startswith("/"):
        fault = f"FORCE_SCRIPT_NAME is {prefix!r}, and no path begins so"
        hint = f'Write it as "/{prefix}".'
    elif _is_outside(log_in, prefix):
        fault = f"LOGIN_URL is {log_in!r}, a page of this site, but not under FORCE_SCRIPT_NAME"
        hint = 'Name the route instead, such as LOGIN_URL = "login".'
    else:
        return
    yield Caution(f"Links lead out of the site: {fault}.", hint=hint, id="djwsbridge.W009")


def _is_outside(path: str, prefix: str) -> bool:
    """Say whether a path is one that the site serves, as if it were not under the prefix."""
    if not path.startswith("/") or path.startswith(f"{prefix.rstrip('/')}/"):
        return False
    return bool(is_valid_path(path))


def _check_engine() -> Iterator[CheckMessage]:
    name = settings.ENGINE
    if name is not None and name not in factory.ENGINES:
        yield Error(
            f"DJWSBRIDGE_ENGINE is {name!r}, which is no engine.",
            hint=f"It can be one of: {', '.join(sorted(factory.ENGINES))}.",
            id="djwsbridge.E009",
        )
    elif name == "redis":
        try:
            factory.build_engine()
        except (ImproperlyConfigured, TypeError, ValueError) as error:
            yield Error(
                str(error),
                hint='Write it like DJWSBRIDGE_REDIS_URL = "redis://localhost:6379/0". What is in '
                "DJWSBRIDGE_REDIS_SENTINEL_KWARGS are options of redis-py's `Redis`.",
                id="djwsbridge.E011",
            )


def _check_channel_layer() -> Iterator[CheckMessage]:
    layer: Mapping[str, Any] = getattr(django_settings, "CHANNEL_LAYERS", {}).get("default", {})
    if settings.ENGINE not in (None, "channel_layer"):
        return
    try:
        factory.build_engine()
    except (InvalidChannelLayerError, ImproperlyConfigured, TypeError, ValueError) as error:
        yield Error(
            f"The channel layer cannot be built: {error}",
            hint='Look at the BACKEND and the CONFIG of CHANNEL_LAYERS["default"].',
            id="djwsbridge.E010",
        )
        return
    if layer.get("BACKEND", "").startswith("channels_redis."):
        yield from _check_redis_timeout(layer.get("CONFIG", {}).get("hosts", []))


def _check_redis_timeout(hosts: Iterable[object]) -> Iterator[CheckMessage]:
    """Warn of redis-py 8, whose default timeout is as long as channels_redis waits for a message."""
    import redis  # noqa: PLC0415  channels_redis brings it; other layers do without

    if not redis.__version__.startswith("8."):
        return
    for host in hosts:
        if not isinstance(host, dict) or "socket_timeout" not in host:
            yield Caution(
                "channels_redis with redis-py 8 raises timeouts in idle consumers.",
                hint=(
                    "djwsbridge goes on by itself; for other consumers write each host as "
                    '{"address": "redis://…", "socket_timeout": None}.'
                ),
                id="djwsbridge.W002",
            )
            return


def _check_origins() -> Iterator[CheckMessage]:
    setting, listed = listed_origins()
    allows_any = setting == OWN_SETTING and ANY in listed
    faults = _faults_of_origins(setting, getattr(django_settings, setting, ()))
    if faults:
        yield Error(
            f"{setting} holds what no page has for its origin: {'; '.join(faults)}.",
            hint="An entry is compared with the whole Origin that the browser sends: scheme, host and port.",
            id="djwsbridge.E012",
        )
    elif allows_any and apps.is_installed("django.contrib.sessions"):
        yield Caution(
            "Any page may open a socket with its visitor's session cookie.",
            hint="List the origins in DJWSBRIDGE_ALLOWED_ORIGINS, or leave it out for the site itself.",
            id="djwsbridge.W003",
        )


def _faults_of_origins(setting: str, given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple, set, frozenset)):
        return [f'{given!r} is no list: write {setting} = ["https://app.example.com"]']
    entries = [entry for entry in given if not (entry == ANY and setting == OWN_SETTING)]
    return [fault for fault in map(find_fault, entries) if fault is not None]


def _check_proxies() -> Iterator[CheckMessage]:
    given: object = settings.TRUSTED_PROXIES
    entries = list(given) if isinstance(given, (list, tuple, set, frozenset)) else None
    faults = [given] if entries is None else [each for each in entries if not _is_network(each)]
    if faults:
        yield Error(
            f"DJWSBRIDGE_TRUSTED_PROXIES is no list of addresses: {faults[0]!r} is none.",
            hint='Write addresses or networks, such as ["127.0.0.1", "::1", "10.0.0.0/8"].',
            id="djwsbridge.E019",
        )


def _is_network(entry: object) -> bool:
    try:
        ipaddress.ip_network(entry if isinstance(entry, str) else "", strict=False)
    except ValueError:
        return False
    return True


def _check_runserver() -> Iterator[CheckMessage]:
    """Warn of Django's own `runserver`; another app's may speak WebSocket or not, who knows."""
    if not django_settings.DEBUG:
        return
    if not getattr(django_settings, "ASGI_APPLICATION", None):
        fault = "ASGI_APPLICATION is not set"
    elif get_commands()["runserver"] in _RUNSERVERS_OF_DJANGO:
        fault = 'it is Django\'s own, because "daphne" does not come first in INSTALLED_APPS'
    else:
        return
    yield Caution(
        f"`manage.py runserver` will not speak WebSocket: {fault}.",
        hint=(
            'Put "daphne" first and write ASGI_APPLICATION = "mysite.asgi.application", or serve with '
            "`manage.py djwsbridge_serve` and silence this."
        ),
        id="djwsbridge.W005",
    )


def _check_application() -> Iterator[CheckMessage]:
    """Warn of an ASGI application that does not exist, and of the one that `startproject` has written.

    It is read and not imported: that would set Django up a second time, logging included, in every command.
    """
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    if not path:
        return
    module, _, name = path.rpartition(".")
    source = source_of(module)
    if not module or is_missing(module) or _lacks(source, name):
        yield Caution(
            f"ASGI_APPLICATION is {path!r}, and there is no such thing.",
            hint='Write it as "mysite.asgi.application": a module, a dot, and a name in that module.',
            id="djwsbridge.W023",
        )
    elif _is_of_django(source, name):
        yield Caution(
            f"{path} is Django's own application: it speaks HTTP and no WebSocket.",
            hint=f"Write its ProtocolTypeRouter into this file. {see('Tutorial: a message on another screen')}",
            id="djwsbridge.W006",
        )


def _check_removed() -> Iterator[CheckMessage]:
    """Warn of a setting that an earlier version has read."""
    for name, instead in _REMOVED_SETTINGS.items():
        if hasattr(django_settings, PREFIX + name):
            yield Caution(
                f"{PREFIX}{name} is set, and nothing reads it any more.",
                hint=instead,
                id="djwsbridge.W007",
            )


def _check_sizes() -> Iterator[CheckMessage]:
    """Check that a push fits into a send queue and a message of Daphne, and what a client sends into a push.

    The send queue and Daphne also have to take what else an answer says.
    """
    least = max(LEAST_PAYLOAD_BYTES, settings.FRAME_BYTES)
    most = min(DAPHNE_BYTES, settings.SEND_QUEUE_BYTES) * 3 // 4
    if not least <= settings.PAYLOAD_BYTES <= most:
        yield Error(
            f"{PREFIX}PAYLOAD_BYTES is {settings.PAYLOAD_BYTES}: it must be from {least} to {most}.",
            hint=f"The lower bound is {LEAST_PAYLOAD_BYTES}, or {PREFIX}FRAME_BYTES, if that is more: what a client "
            "may send must fit into a push. The upper bound is three quarters of 1 MiB, the largest message that "
            f"Daphne sends, or of {PREFIX}SEND_QUEUE_BYTES, if that is less. Push where larger data can be loaded "
            "from.",
            id="djwsbridge.E018",
        )


def _lacks(source: str, name: str) -> bool:
    """Say whether a module surely does not bind a name."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    if not source or _binds(tree, "__getattr__"):
        return False
    return not _binds(tree, name)


def _binds(tree: ast.AST, name: str) -> bool:
    return any(_mentions(node, name) for node in ast.walk(tree))


def _is_of_django(source: str, name: str) -> bool:
    """Say whether the only thing that a module binds to a name is what `get_asgi_application()` returns."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    mentions = [node for node in ast.walk(tree) if _mentions(node, name)]
    made = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    return len(mentions) == 1 and f"{name} = get_asgi_application()" in made


def _mentions(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in {name, "*"}
    return name in {getattr(node, "id", None), getattr(node, "name", None)}


def _check_reach() -> Iterator[CheckMessage]:
    if is_local_to_a_process():
        yield Caution(
            "Pushes stay within one process.",
            hint="With several workers, name a channel layer on Redis in CHANNEL_LAYERS.",
            id="djwsbridge.W001",
        )


def _check_cache() -> Iterator[CheckMessage]:
    caches = getattr(django_settings, "CACHES", {})
    backend = caches.get("default", {}).get("BACKEND", "")
    if backend in _LOCAL_CACHES:
        yield Caution(
            "The default cache is not shared, so a ticket can be used once on each process.",
            hint="With several workers, use Django's Redis, Memcached or database cache.",
            id="djwsbridge.W004",
        )


def _check_tokens() -> Iterator[CheckMessage]:
    if not token_settings.api_settings.CHECK_REVOKE_TOKEN:
        yield Caution(
            "A JWT goes on opening sockets after its user has a new password, until it expires.",
            hint=(
                'Set SIMPLE_JWT["CHECK_REVOKE_TOKEN"] = True and have all users log in again; or silence this where '
                "nobody gets a JWT, or where its lifetime is short enough."
            ),
            id="djwsbridge.W008",
        )
