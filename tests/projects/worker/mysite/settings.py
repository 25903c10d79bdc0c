"""What takes long is done by worker processes, which push when it is done: as with Celery, with its prefork pool."""

import os

from mysite.base import *

INSTALLED_APPS = [*INSTALLED_APPS, "jobs"]
ROOT_URLCONF = "mysite.urls_with_jobs"
JOBS_REDIS_URL = os.environ["REDIS_URL"]
DJWSBRIDGE_ENGINE = "redis"
DJWSBRIDGE_REDIS_URL = os.environ["REDIS_URL"]
DJWSBRIDGE_REDIS_PREFIX = "worker:"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": "worker",
    }
}
