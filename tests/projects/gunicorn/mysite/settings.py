"""Two workers of uvicorn under gunicorn, with the engine on Redis between them."""

import os

from mysite.base import *

DJWSBRIDGE_ENGINE = "redis"
DJWSBRIDGE_REDIS_URL = os.environ["REDIS_URL"]
DJWSBRIDGE_REDIS_PREFIX = "gunicorn:"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": "gunicorn",
    }
}
