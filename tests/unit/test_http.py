"""Django's HTTP in one visit to a thread: what views, signals and clients notice of it, and what they do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished, request_started
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from djwsbridge.http import HTTPHandler, get_http_application
from tests.servers import TIMEOUT, wait_until

SOURCE = Path(__file__)
STREAMED = b"one, two, three"
# Django reads such a stream whole before it sends it, here as well, and says so.
reads_sync_stream = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


def view_thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(threading.current_thread().name)


def view_count(request: HttpRequest) -> HttpResponse:
    return HttpResponse(User.objects.count())


@csrf_exempt
def view_body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body[::-1])


def view_broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a defect")


async def view_async(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"{await User.objects.acount()}")


class Slow:
    """A view that waits in the event loop, and what has become of it."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.has_ended = False

    async def view(self, request: HttpRequest) -> HttpResponse:
        self.begun.set()
        await self.may_end.wait()
        self.has_ended = True
        return HttpResponse()


async def view_slow(request: ASGIRequest) -> HttpResponse:
    return await cast(Slow, request.scope["slow"]).view(request)


def view_sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"one, ", b"two, ", b"three"]))


def view_async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one, ", b"two, ", b"three"):
            await asyncio.sleep(0)
            yield part

    return StreamingHttpResponse(parts())


def view_file(request: HttpRequest) -> FileResponse:
    return FileResponse(SOURCE.open("rb"))


def view_endless(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(0)

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("thread/", view_thread),
    path("count/", view_count),
    path("body/", view_body),
    path("broken/", view_broken),
    path("async/", view_async),
    path("slow/", view_slow),
    path("sync-stream/", view_sync_stream),
    path("async-stream/", view_async_stream),
    path("file/", view_file),
    path("endless/", view_endless),
]

pytestmark = pytest.mark.urls("tests.unit.test_http")
uses_database = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    handler = HTTPHandler(threads=1)
    transport = httpx.ASGITransport(handler)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client
    handler._pool.submit(connections.close_all).result(TIMEOUT)


@pytest.fixture
def signals() -> Iterator[list[str]]:
    """What happened, and in which thread."""
    found: list[str] = []

    def started(**_: Any) -> None:
        found.append(f"started in {threading.current_thread().name}")

    def finished(**_: Any) -> None:
        found.append(f"finished in {threading.current_thread().name}")

    request_started.connect(started)
    request_finished.connect(finished)
    yield found
    request_started.disconnect(started)
    request_finished.disconnect(finished)


async def test_a_request_is_one_visit_to_a_thread_that_stays(
    client: httpx.AsyncClient, signals: list[str]
) -> None:
    first, second = [(await client.get("/thread/")).text for _ in range(2)]
    assert first == second
    assert first.startswith("djwsbridge http")
    assert signals == [f"started in {first}", f"finished in {first}"] * 2


@uses_database
async def test_a_thread_keeps_its_database_connection(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def note(connection: Any, **_: Any) -> None:
        made.append(connection)

    connection_created.connect(note)
    try:
        with monkeypatch.context() as patch:
            patch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
            for _ in range(3):
                assert (await client.get("/count/")).text == "0"
        await client.get("/count/")  # closes it
    finally:
        connection_created.disconnect(note)
    assert len(made) == 1


async def test_the_body_arrives(client: httpx.AsyncClient) -> None:
    body = bytes(range(256)) * 1_000
    assert (await client.post("/body/", content=body)).content == body[::-1]


async def test_a_body_that_is_too_large_is_refused(
    client: httpx.AsyncClient, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert (await client.post("/body/", content=b"eleven byte")).status_code == 400


async def test_a_defect_is_a_500(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken/")
    assert answer.status_code == 500
    assert "a defect" not in answer.text


@uses_database
async def test_an_async_view_runs_in_the_loop(client: httpx.AsyncClient) -> None:
    assert (await client.get("/async/")).text == "0"


@reads_sync_stream
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_stream_is_sent_whole_and_closed(
    client: httpx.AsyncClient, signals: list[str], kind: str
) -> None:
    assert (await client.get(f"/{kind}-stream/")).content == STREAMED
    assert [signal.split()[0] for signal in signals] == ["started", "finished"]


@reads_sync_stream
async def test_a_file_is_sent_whole(client: httpx.AsyncClient) -> None:
    assert (await client.get("/file/")).content == SOURCE.read_bytes()  # noqa: ASYNC240


def http_scope(target: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": target,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }


async def test_a_stream_ends_when_its_client_leaves(signals: list[str]) -> None:
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    events.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    parts = 0

    async def send(message: Any) -> None:
        nonlocal parts
        parts += message["type"] == "http.response.body"
        if parts == 3:
            events.put_nowait({"type": "http.disconnect"})

    await asyncio.wait_for(HTTPHandler()(http_scope("/endless/"), events.get, send), 10)
    assert parts >= 3
    assert [signal.split()[0] for signal in signals] == ["started", "finished"]


async def test_the_request_has_finished_when_its_answer_leaves(signals: list[str]) -> None:
    before: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        before.append(len(signals))

    await HTTPHandler()(http_scope("/thread/"), receive, send)
    assert before == [2, 2]  # the head and the body, each after both signals


async def test_who_leaves_before_the_request_is_whole_is_not_served(signals: list[str]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    await HTTPHandler()(http_scope("/thread/"), receive, send)
    assert signals == []


async def test_requests_are_served_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def wait(**_: Any) -> None:
        both.wait()

    request_started.connect(wait)
    try:
        transport = httpx.ASGITransport(HTTPHandler(threads=2))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answers = await asyncio.gather(client.get("/thread/"), client.get("/thread/"))
    finally:
        request_started.disconnect(wait)
    assert len({answer.text for answer in answers}) == 2


async def test_who_comes_while_all_threads_are_busy_waits() -> None:
    gate, begun = threading.Event(), list[str]()

    def hold(scope: dict[str, Any], **_: Any) -> None:
        begun.append(scope["query_string"].decode())
        gate.wait(TIMEOUT)

    request_started.connect(hold)
    try:
        handler = HTTPHandler(threads=1)
        transport = httpx.ASGITransport(handler)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            answers = asyncio.gather(client.get("/thread/?first"), client.get("/thread/?second"))
            await asyncio.to_thread(wait_until, lambda: handler._pool._waiting, "a second request")
            assert begun == ["first"]
            gate.set()
            assert [answer.status_code for answer in await answers] == [200, 200]
    finally:
        gate.set()
        request_started.disconnect(hold)
    assert begun == ["first", "second"]


async def test_an_async_view_goes_on_when_its_client_leaves() -> None:
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    events.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Any) -> None: ...

    slow = Slow()
    scope = {**http_scope("/slow/"), "slow": slow}
    serving = asyncio.ensure_future(HTTPHandler()(scope, events.get, send))
    await asyncio.wait_for(slow.begun.wait(), TIMEOUT)
    events.put_nowait({"type": "http.disconnect"})
    for _ in range(10):
        await asyncio.sleep(0)  # Django's own handler would hear of it, and cancel the view
    slow.may_end.set()
    await asyncio.wait_for(serving, TIMEOUT)
    assert slow.has_ended


def test_the_application_is_ready_for_requests() -> None:
    assert isinstance(get_http_application(), HTTPHandler)


async def test_only_http_is_served() -> None:
    with pytest.raises(ValueError, match="websocket"):
        await HTTPHandler()({"type": "websocket"}, None, None)
