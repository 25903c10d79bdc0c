"""What a load balancer asks: does the process live, and can it serve? `path("", include("djwsbridge.health"))`."""

from __future__ import annotations

import asyncio
import logging

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache

from djwsbridge.durable import installed_log
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.publish import apublish
from djwsbridge.transport.node import is_draining

__all__ = ["healthz", "readyz", "urlpatterns"]

logger = logging.getLogger("djwsbridge.health")

PROBE_TIMEOUT = 3.0  # seconds for the database
# No client listens to it: what counts is that the engine takes it.
PROBE_TOPIC, PROBE_TYPE = "health.probe", "probe"


@login_not_required
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


@login_not_required
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
        await asyncio.wait_for(_ask_databases(), PROBE_TIMEOUT)
    except (Error, TimeoutError, asyncio.TimeoutError):
        logger.warning("The database does not answer.", exc_info=True)
        return False
    return True


@sync_to_async(thread_sensitive=False)  # one that hangs must not stop the next
def _ask_databases() -> None:
    """Ask the default database, and the log's; none in a project that has none, as the Push way can do."""
    log = installed_log()
    aliases = {DEFAULT_DB_ALIAS} if log is None else {DEFAULT_DB_ALIAS, log.using()}
    for alias in aliases:
        if not django_settings.DATABASES.get(alias):
            continue
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            connections[alias].close()


async def _engine_answers() -> bool:
    try:
        await apublish(PROBE_TOPIC, PROBE_TYPE, {})
    except EngineUnavailable:
        logger.warning("The engine does not answer.", exc_info=True)
        return False
    return True


urlpatterns = [path("healthz", healthz, name="healthz"), path("readyz", readyz, name="readyz")]
