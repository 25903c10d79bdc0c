"""The primary key of a user is a text with slashes; PostgreSQL and the engine on Redis."""

import os

import dj_database_url
from mysite.base import *

INSTALLED_APPS = ["accounts", *INSTALLED_APPS]
AUTH_USER_MODEL = "accounts.User"
SIMPLE_JWT["USER_ID_FIELD"] = "key"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
DJWSBRIDGE_ENGINE = "redis"
DJWSBRIDGE_REDIS_URL = os.environ["REDIS_URL"]
DJWSBRIDGE_REDIS_PREFIX = "text_keys:"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": "text_keys",
    }
}
