"""The crossing from async to sync: services talk to the database in a bounded pool of threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from djwsbridge.conf import settings

__all__ = ["run_service"]

P = ParamSpec("P")
T = TypeVar("T")


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.SERVICE_THREADS, thread_name_prefix="djwsbridge service")


async def run_service(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a sync service in a thread and return what it returns; what it raises is raised here.

    At most DJWSBRIDGE_SERVICE_THREADS run at once in a process; more callers wait their turn. Each thread keeps its
    database connection within Django's own rules (CONN_MAX_AGE, health checks).
    """

    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await sync_to_async(call, thread_sensitive=False, executor=_pool())()
