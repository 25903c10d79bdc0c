"""A queue of jobs in Redis."""

import json
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings

NAME = "worker-jobs"


def put(job: dict[str, Any]) -> None:
    """Add a job."""
    redis.Redis.from_url(settings.JOBS_REDIS_URL).rpush(NAME, json.dumps(job))


def jobs() -> Iterator[dict[str, Any]]:
    """Return one job after the other, and wait for them, for ever."""
    link = redis.Redis.from_url(settings.JOBS_REDIS_URL, socket_timeout=None)
    while True:
        _, job = link.blpop([NAME])
        yield json.loads(job)
