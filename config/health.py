"""What a load balancer asks: does the process live, and can it serve."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.publish import apublish
from djwsbridge.routing import is_draining

__all__ = ["healthz", "readyz"]

logger = logging.getLogger("config.health")

PROBE_TIMEOUT = 3.0  # seconds for the database
PROBE_TOPIC = "health.probe"  # nobody listens; what counts is that the engine takes it


@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether the database and the engine answer; with 503 when one does not, or when the process is to end."""
    if is_draining():
        return JsonResponse({"status": "draining"}, status=503)
    parts = {"database": await _database_answers(), "engine": await _engine_answers()}
    ready = all(parts.values())
    words = {name: "ok" if answers else "unavailable" for name, answers in parts.items()}
    return JsonResponse(
        {"status": "ok" if ready else "unavailable", **words}, status=200 if ready else 503
    )


async def _database_answers() -> bool:
    try:
        await asyncio.wait_for(_ask_database(), PROBE_TIMEOUT)
    except (Error, TimeoutError, asyncio.TimeoutError):
        logger.warning("The database does not answer.", exc_info=True)
        return False
    return True


@sync_to_async(thread_sensitive=False)  # one that hangs must not stop the next
def _ask_database() -> None:
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _engine_answers() -> bool:
    try:
        await apublish(PROBE_TOPIC, "probe", {})
    except EngineUnavailable:
        logger.warning("The engine does not answer.", exc_info=True)
        return False
    return True
