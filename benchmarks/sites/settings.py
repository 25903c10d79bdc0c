"""Settings of the site that is measured: the environment says which database, engine and apps.

Limits are on, and so high that the load does not meet them.
"""

from __future__ import annotations

import os
from typing import Any

import dj_database_url

SECRET_KEY = os.environ.get("BENCH_SECRET", "a secret that everybody knows, for measuring only")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.sites.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# "push": users, groups and nothing stored. "chat": the whole chat with its log.
WITH_CHAT = os.environ.get("BENCH_SITE") == "chat"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework_simplejwt",
    "channels",
    "djwsbridge",
]
if WITH_CHAT:
    INSTALLED_APPS += ["djwsbridge.log", "djwsbridge.chat"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# As in the reference project: what is acknowledged is on the disk.
_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    },
    "postgresql": {
        "connect_timeout": 3,
        "options": "-c statement_timeout=15s -c lock_timeout=5s",
        "pool": {"min_size": 1, "max_size": 16, "timeout": 3},
        "prepare_threshold": 5,
    },
}
_database: dict[str, Any] = dict(dj_database_url.parse(os.environ["DATABASE_URL"]))
_database["OPTIONS"] = _OPTIONS["sqlite" if "sqlite" in _database["ENGINE"] else "postgresql"]
if "sqlite" in _database["ENGINE"]:
    # Whoever closes a database last writes its log back and deletes it: with Django's default after every message.
    _database["CONN_MAX_AGE"] = 60
DATABASES = {"default": _database}

if os.environ.get("BENCH_REDIS"):
    DJWSBRIDGE_ENGINE = "redis"
    DJWSBRIDGE_REDIS_URL = os.environ["BENCH_REDIS"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
    ],
}

_HIGH = (100_000, 1.0)
DJWSBRIDGE_FRAME_RATE = _HIGH
DJWSBRIDGE_SEND_RATE = _HIGH
DJWSBRIDGE_HANDSHAKE_RATE = (int(os.environ.get("BENCH_HANDSHAKES", "100000")), 1.0)
DJWSBRIDGE_RECOVERY_BYTES = (10**12, 1.0)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
