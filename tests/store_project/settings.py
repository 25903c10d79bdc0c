"""Projects in the Store way: with the README's models (`plain`), or with UUID keys and a user model of their own."""

from __future__ import annotations

import os

import dj_database_url

VARIANT = os.environ["STORE_VARIANT"]

SECRET_KEY = "a key for tests only, long enough for every algorithm in use"
DEBUG = True
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "channels",
    "djwsbridge",
    f"tests.store_project.{VARIANT}",
]
ROOT_URLCONF = "tests.urls"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # None, Django's own: each transaction begins as a reader.
        "transaction_mode": os.environ.get("SQLITE_MODE") or None,
        "timeout": 30,  # seconds; a hundred writers on a busy machine
    }
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if os.environ.get("REDIS_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}]},
        }
    }

DJWSBRIDGE_CHAT_MODEL = f"{VARIANT}.Chat"
DJWSBRIDGE_MESSAGE_MODEL = f"{VARIANT}.Message"
if VARIANT == "uuids":
    AUTH_USER_MODEL = "uuids.Person"
    DJWSBRIDGE_MESSAGE_DEFAULTS = "tests.store_project.defaults.fill"
