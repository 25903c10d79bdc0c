"""Settings of the reference project: SQLite and nothing else unless the environment says so.

| variable | meaning | default |
|---|---|---|
| `SECRET_KEY` | Django's secret; whoever names it is in production | a file in `.local/` |
| `DEBUG` | Django's debug mode | on without `SECRET_KEY` |
| `ALLOWED_HOSTS` | host names, separated by commas | this machine |
| `CSRF_TRUSTED_ORIGINS` | origins that forms and sockets are accepted from | the site itself |
| `DATABASE_URL` | `postgres://…` | `db.sqlite3` |
| `REDIS_URL` | `redis://…`; needed for more than one process | memory |
| `HTTPS` | the site is reached by HTTPS: secure cookies, HSTS, redirects | on without `DEBUG` |
| `TRUST_PROXY` | a proxy of ours sets `X-Forwarded-Proto` | off |
| `LOG_LEVEL` | from which level on messages are written | `INFO` |
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config.environment import read_flag, read_list, read_local_secret

BASE_DIR = Path(__file__).resolve().parent.parent

# What the site is and who may reach it

DEBUG = read_flag("DEBUG", default="SECRET_KEY" not in os.environ)
SECRET_KEY = os.environ.get("SECRET_KEY") or (
    read_local_secret(BASE_DIR / ".local") if DEBUG else ""
)
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY must be set to a long random text when DEBUG is off.")
ALLOWED_HOSTS = read_list("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = read_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "daphne",
    "servestatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "rest_framework_simplejwt",
    "channels",
    "djwsbridge",
    "djwsbridge.log",
    "djwsbridge.chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# Where messages are kept, and what connects the processes

SQLITE_OPTIONS = {
    # A transaction that begins by reading and goes on to write fails at once in SQLite's own mode.
    "transaction_mode": "IMMEDIATE",
    "timeout": 5,  # seconds to wait for another writer
    # WAL lets readers read while one writes; FULL keeps what was acknowledged through a power cut.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
POSTGRES_OPTIONS = {
    "connect_timeout": 3,  # seconds
    # What is sent and not confirmed for so long was sent to nobody (milliseconds); and an idle link is looked at.
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    # A process that hangs must not hold the locks of the others. For a long migration, name other values in
    # DATABASE_URL: `?options=-c%20statement_timeout%3D0`.
    "options": "-c statement_timeout=15s -c lock_timeout=5s "
    "-c idle_in_transaction_session_timeout=15s",
    # The few statements of every message are planned once per connection. Not behind a pooler that gives each
    # transaction another connection, unless it knows prepared statements (PgBouncer does from 1.21 on).
    "prepare_threshold": 5,
    # Threads share these connections; who finds none free waits three seconds and is told so. The pool doubles its
    # pauses while it cannot connect, for five minutes unless told otherwise, and lets nobody else try: after an outage
    # of half a minute it would be another half until the first message is stored.
    "pool": {"min_size": 1, "max_size": 16, "timeout": 3, "reconnect_timeout": 2},
}

BAD_DATABASE_URL = (
    "DATABASE_URL is no address that this site knows: "
    "write postgres://user:password@host:5432/name or sqlite:////path/of/the/file."
)


def database(url: str) -> dict[str, Any]:
    """Return Django's settings of the database at a URL.

    Raises:
        ImproperlyConfigured: the URL names no database of a kind that is tested. It is not quoted: it holds a password.
    """
    is_sqlite = url.startswith("sqlite:")
    if not (is_sqlite or url.startswith(("postgres:", "postgresql:"))):
        raise ImproperlyConfigured(BAD_DATABASE_URL)
    # A thread keeps its connection: the last one that closes would write back and delete SQLite's log each time.
    max_age = 60 if is_sqlite else 0
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=max_age))
    except ValueError as error:
        raise ImproperlyConfigured(BAD_DATABASE_URL) from error
    options = SQLITE_OPTIONS if is_sqlite else POSTGRES_OPTIONS
    parsed["OPTIONS"] = {**options, **parsed.get("OPTIONS", {})}
    return parsed


DATABASES = {
    "default": database(os.environ.get("DATABASE_URL") or f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # redis-py's own timeout ends idle receives with an error; bursts need connections.
            "hosts": [{"address": REDIS_URL, "socket_timeout": None, "max_connections": 1_000}],
            "capacity": 10_000,  # messages that may wait for one process
        },
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
# One process needs no layer between itself and itself, which costs more than all the rest of a push.
DJWSBRIDGE_ENGINE = None if REDIS_URL else "memory"
# Tickets are redeemed once, and tries are counted: over all processes where they share a cache.
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        # Nobody waits for a Redis that hangs (seconds).
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# People

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "djwsbridge_chat:index"
LOGOUT_REDIRECT_URL = "login"

# Security

HTTPS = read_flag("HTTPS", default=not DEBUG)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0  # a year
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come from inside, by HTTP
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = ["djwsbridge.W008"]  # this site gives JWTs to nobody
if read_flag("TRUST_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],  # the nonce is the import map's
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# Pages, files, languages

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Files are served as they lie in the apps: nothing to collect, and module paths stay as written.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_ALLOW_ALL_ORIGINS = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

# The log of the program

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
    },
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        # Their own handlers would write each line a second time, without its time, or mail it.
        "django": {"handlers": [], "propagate": True},
        "uvicorn": {"handlers": [], "propagate": True},
        # At INFO they write query strings, and at DEBUG the first one writes cookies and tokens: headers and frames.
        "uvicorn.error": {"level": "WARNING"},
        "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
        # At DEBUG they write frames, and the keys of sessions in SQL.
        "websockets": {"level": "INFO"},
        "django.db.backends": {"level": "INFO"},
        # A client asked for a host that is not ours; a stack for each of these helps no operator.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
