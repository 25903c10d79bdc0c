"""Settings of the ordinary stack: those of our own site, with Channels' layer on Redis and a model for messages."""

from __future__ import annotations

import os

from benchmarks.sites.settings import *  # noqa: F403
from benchmarks.sites.settings import REST_FRAMEWORK, SECRET_KEY  # noqa: F401

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework_simplejwt",
    "channels",
    "benchmarks.peers.ordinary_site.talk",
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "benchmarks.peers.ordinary_site.urls"
WITH_CHAT = False

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # Without these two, redis-py 8 ends idle consumers with an error and runs out of connections under load.
            "hosts": [
                {
                    "address": os.environ["BENCH_REDIS"],
                    "socket_timeout": None,
                    "max_connections": 10_000,
                }
            ],
        },
    }
}
