"""Views that use the database in every way in which a view can, served beside the reference project's own.

`tests.settings_pages` has their settings: PostgreSQL with a pool of two connections.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from config.urls import urlpatterns as site_urlpatterns

PARTS = 40  # of a stream that its client abandons
PAUSE = 0.02  # seconds between two of them
SLOW = 1.0  # seconds


class Defect(Exception):
    """What the content of a stream raises; counted, because Daphne does not always log it."""

    raised = 0

    def __init__(self) -> None:
        super().__init__("a defect")
        Defect.raised += 1


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(User.objects.count())


def state(request: HttpRequest) -> JsonResponse:
    """Say how many connections the pool of this process has, and how many of them are free. Uses none."""
    stats = connection.pool.get_stats()  # type: ignore[attr-defined]
    pool = {"size": stats["pool_size"], "free": stats["pool_available"]}
    return JsonResponse({**pool, "defects": Defect.raised})


def rows() -> Iterator[str]:
    for user in User.objects.iterator(chunk_size=1):
        yield f"{user.username}\n"


async def arows() -> AsyncIterator[str]:
    async for user in User.objects.aiterator(chunk_size=1):
        yield f"{user.username}\n"


def long_rows() -> Iterator[str]:
    for _ in range(PARTS):
        yield from rows()
        time.sleep(PAUSE)


async def along_rows() -> AsyncIterator[str]:
    while True:
        async for row in arows():
            yield row


def failing_rows() -> Iterator[str]:
    yield from rows()
    raise Defect


async def afailing_rows() -> AsyncIterator[str]:
    async for row in arows():
        yield row
    raise Defect


def sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(rows())


def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(arows())


def long_sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(long_rows())


def long_async_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(along_rows())


def failing_sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(failing_rows())


def failing_async_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(afailing_rows())


async def async_view_with_stream(request: HttpRequest) -> StreamingHttpResponse:
    await User.objects.acount()
    return StreamingHttpResponse(arows())


def file(request: HttpRequest) -> FileResponse:
    User.objects.count()
    return FileResponse(Path(__file__).open("rb"))


def broken(request: HttpRequest) -> HttpResponse:
    User.objects.count()
    raise Defect


def broken_in_transaction(request: HttpRequest) -> HttpResponse:
    transaction.set_autocommit(False)
    User.objects.count()
    raise Defect


async def broken_async(request: HttpRequest) -> HttpResponse:
    await User.objects.acount()
    raise Defect


def slow(request: HttpRequest) -> HttpResponse:
    """Wait without the database."""
    time.sleep(SLOW)
    return HttpResponse()


async def slow_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(SLOW)
    return HttpResponse()


def slow_with_database(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [float(request.GET.get("seconds", SLOW))])
    return HttpResponse()


urlpatterns = [
    path("pages/plain", plain),
    path("pages/state", state),
    path("pages/sync-stream", sync_stream),
    path("pages/async-stream", async_stream),
    path("pages/async-view-with-stream", async_view_with_stream),
    path("pages/long-sync-stream", long_sync_stream),
    path("pages/long-async-stream", long_async_stream),
    path("pages/failing-sync-stream", failing_sync_stream),
    path("pages/failing-async-stream", failing_async_stream),
    path("pages/file", file),
    path("pages/broken", broken),
    path("pages/broken-in-transaction", broken_in_transaction),
    path("pages/broken-async", broken_async),
    path("pages/slow", slow),
    path("pages/slow-async", slow_async),
    path("pages/slow-with-database", slow_with_database),
    *site_urlpatterns,
]
