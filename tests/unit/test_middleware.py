"""The middleware of the first seed's asgi.py, in front of Channels' router and of anything else."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished
from django.db import OperationalError
from django.urls import re_path

from djwsbridge import runtime as runtimes
from djwsbridge.consumers import UserConsumer
from djwsbridge.middleware import TokenAuthMiddleware, finish_requests
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.transport import endpoint
from djwsbridge.transport.auth.handshake import HandshakeRefused
from djwsbridge.transport.auth.identity import Identity, refusal
from tests.servers import TIMEOUT, wait_until
from tests.unit.transport.fake_server import V1, FakeClient, identity_of, make_scope, make_user


class Inner:
    """An application of the developer's own that remembers its scopes and closes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4999})


@pytest.fixture(autouse=True)
async def _node(settings: Any) -> AsyncIterator[None]:
    settings.DJWSBRIDGE_ENGINE = "memory"
    yield
    await runtimes.current().stop()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let a test decide what the handshake's credential is worth."""
    answers: list[Any] = [None]

    async def authenticate(scope: Any) -> Identity | None:
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    monkeypatch.setattr(endpoint, "authenticate_handshake", authenticate)
    return answers


async def open_client(application: Any, **scope: Any) -> FakeClient:
    client = FakeClient(TokenAuthMiddleware(application), make_scope(known=False, **scope))
    return await client.open()


async def test_the_user_is_in_the_scope(answer: list[Any]) -> None:
    answer[0] = identity_of(make_user(7))
    inner = Inner()
    client = await open_client(inner, subprotocols=[])
    await client.assert_closed(4999)
    assert inner.scopes[0]["user"].pk == 7


async def test_a_visitor_without_a_credential_is_anonymous_to_other_applications(
    answer: list[Any],
) -> None:
    inner = Inner()
    client = await open_client(inner, subprotocols=[])
    await client.assert_closed(4999)
    assert isinstance(inner.scopes[0]["user"], AnonymousUser)


async def test_our_own_route_lets_nobody_in_to_a_plain_socket(answer: list[Any]) -> None:
    client = await open_client(UserConsumer.as_asgi(), subprotocols=[])
    await client.assert_accepted()
    assert (await client.hear())["code"] == "auth_required"
    await client.assert_closed(4401)


async def test_a_v1_client_may_still_say_who_it_is(answer: list[Any]) -> None:
    inner = Inner()
    client = await open_client(inner, subprotocols=[V1])
    await client.assert_closed(4999)
    assert isinstance(inner.scopes[0]["user"], AnonymousUser)


REFUSALS = [(HandshakeRefused(403, "origin", "why"), 403), (refusal(ErrorCode.TOKEN_INVALID), None)]


@pytest.mark.parametrize(("error", "status"), REFUSALS)
async def test_our_own_route_refuses_a_bad_credential(
    answer: list[Any], error: Any, status: int | None
) -> None:
    answer[0] = error
    client = await open_client(UserConsumer.as_asgi())
    if status:
        await client.assert_denied(status)
        await client.leave()
    else:
        await client.assert_accepted()
        await client.assert_told_and_closed(4401, "token_invalid")


@pytest.mark.parametrize("error", [error for error, _ in REFUSALS])
async def test_other_applications_keep_the_user_of_an_outer_middleware(
    answer: list[Any], error: Any
) -> None:
    answer[0] = error
    inner, outer = Inner(), make_user(8)
    client = await open_client(inner, user=outer)
    await client.assert_closed(4999)
    assert inner.scopes[0]["user"] is outer


async def test_nobody_gets_in_while_the_database_cannot_tell_who_comes(answer: list[Any]) -> None:
    answer[0] = OperationalError("away")
    inner = Inner()
    client = await open_client(inner)
    await client.assert_accepted()
    await client.assert_told_and_closed(1013, "db_unavailable")
    assert inner.scopes == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_path_without_a_route_is_not_found(
    answer: list[Any],
    known: bool,  # noqa: FBT001
) -> None:
    answer[0] = identity_of(make_user(7)) if known else None
    router = URLRouter([re_path("^a/$", Inner()), re_path("^b/", URLRouter([]))])  # type: ignore[arg-type]
    client = await open_client(router, path="/c/", subprotocols=[])
    await client.assert_denied(404)
    await client.leave()


async def test_a_path_without_a_route_further_in_is_not_found(answer: list[Any]) -> None:
    answer[0] = identity_of(make_user(7))
    router = URLRouter([re_path("^b/", URLRouter([re_path("^x$", Inner())]))])  # type: ignore[arg-type]
    client = await open_client(router, path="/b/c/")
    await client.assert_denied(404)
    await client.leave()


async def test_a_mount_point_is_not_part_of_the_path(answer: list[Any]) -> None:
    answer[0] = identity_of(make_user(7))
    router = URLRouter([re_path("^a/$", Inner())])  # type: ignore[arg-type]
    client = await open_client(router, path="/mount/a/", root_path="/mount")
    await client.assert_closed(4999)


# What a site under /app is called with, for the path /a/ within it: the setting, `root_path`, and `path`.
UNDER_A_PATH = {
    "uvicorn --root-path, stripped": (None, "/app", "/app/a/"),
    "uvicorn --root-path with a slash, stripped": (None, "/app/", "/app//a/"),
    "the setting, stripped": ("/app", "", "/a/"),
    "the setting, passed on": ("/app", "", "/app/a/"),
    "the setting with a slash, stripped": ("/app/", "", "/a/"),
    "the setting with a slash, passed on": ("/app/", "", "/app/a/"),
    "both, stripped by uvicorn's proxy": ("/app", "/app", "/app/a/"),
    "both, stripped by Daphne's proxy": ("/app", "/app", "/a/"),
}


@pytest.mark.parametrize(
    ("setting", "root_path", "path"), UNDER_A_PATH.values(), ids=UNDER_A_PATH.keys()
)
async def test_a_route_is_found_under_a_path(
    answer: list[Any], settings: Any, setting: str | None, root_path: str, path: str
) -> None:
    settings.FORCE_SCRIPT_NAME = setting
    answer[0] = identity_of(make_user(7))
    router = URLRouter([re_path("^a/$", Inner())])  # type: ignore[arg-type]
    client = await open_client(router, path=path, root_path=root_path)
    await client.assert_closed(4999)


@pytest.mark.parametrize("path", ["/apple/a/", "/app/app/a/", "/other/a/"])
async def test_a_prefix_is_whole_segments_and_counts_once(
    answer: list[Any], settings: Any, path: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    router = URLRouter([re_path("^a/$", Inner())])  # type: ignore[arg-type]
    client = await open_client(router, path=path, subprotocols=[])
    await client.assert_denied(404)
    await client.leave()


@pytest.mark.parametrize(
    ("setting", "root_path", "path"), UNDER_A_PATH.values(), ids=UNDER_A_PATH.keys()
)
async def test_a_page_is_found_under_a_path(
    settings: Any, setting: str | None, root_path: str, path: str
) -> None:
    settings.FORCE_SCRIPT_NAME = setting
    inner = Inner()
    scope = {**UVICORN, "method": "GET", "path": path, "root_path": root_path}
    await finish_requests(inner)(scope, None, None)  # type: ignore[arg-type]
    request = ASGIRequest(inner.scopes[0], io.BytesIO())
    assert request.path_info == "/a/"
    assert request.path.replace("//", "/") == "/app/a/"


DAPHNE: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}}
UVICORN: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}


async def test_a_visitor_of_daphne_gets_past_no_guard_of_a_path() -> None:
    """Daphne takes `root_path` from the header Daphne-Root-Path of any visitor."""
    inner = Inner()
    scope = {**DAPHNE, "method": "GET", "path": "/admin/", "root_path": "/x"}
    await finish_requests(inner)(scope, None, None)  # type: ignore[arg-type]
    request = ASGIRequest(inner.scopes[0], io.BytesIO())
    assert (request.path, request.path_info) == ("/admin/", "/admin/")


@pytest.mark.parametrize("path", ["/a/", "/app/a/"])
async def test_a_route_is_found_whatever_root_path_daphne_has(answer: list[Any], path: str) -> None:
    answer[0] = identity_of(make_user(7))
    inner = Inner()
    router = URLRouter([re_path("^a/$", inner)])  # type: ignore[arg-type]
    asgi = DAPHNE["asgi"]
    client = await open_client(router, path=path, root_path="/app", asgi=asgi, extensions={})
    await client.assert_closed(4999)
    assert inner.scopes[0]["path"] == path


async def test_several_cookie_headers_are_one() -> None:
    inner = Inner()
    cookies = [(b"cookie", b"a=1; b=2"), (b"host", b"x"), (b"cookie", b"c=3")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": cookies}
    await finish_requests(inner)(scope, None, None)  # type: ignore[arg-type]
    request = ASGIRequest(inner.scopes[0], io.BytesIO())
    assert request.COOKIES == {"a": "1", "b": "2", "c": "3"}
    assert request.headers["Host"] == "x"


async def test_a_mistake_of_the_application_is_not_hidden(answer: list[Any]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("mine")

    answer[0] = identity_of(make_user(7))
    client = await open_client(broken)
    with pytest.raises(ValueError, match="mine"):
        await client.task


async def test_http_passes(answer: list[Any]) -> None:
    inner = Inner()
    await TokenAuthMiddleware(inner)({"type": "http"}, None, None)  # type: ignore[arg-type]
    assert inner.scopes == [{"type": "http"}]


async def test_without_the_app_nothing_is_served(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "djwsbridge"]
    with pytest.raises(ImproperlyConfigured, match=r'Add "djwsbridge" to INSTALLED_APPS'):
        TokenAuthMiddleware(Inner())


# -- the end of HTTP requests -----------------------------------------------------------------------------------------


class Defect(Exception):
    pass


def current_thread() -> str:
    return threading.current_thread().name


@pytest.fixture
def finished() -> Iterator[list[str]]:
    """In which threads requests have finished."""
    found: list[str] = []

    def note(**_: Any) -> None:
        found.append(current_thread())

    request_finished.connect(note)
    yield found
    request_finished.disconnect(note)


async def test_a_request_that_raises_finishes_in_its_own_thread(finished: list[str]) -> None:
    used: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        used.append(await sync_to_async(current_thread)())
        raise Defect

    with pytest.raises(Defect):
        await finish_requests(application)({}, None, None)  # type: ignore[arg-type]
    assert finished == used


async def test_a_request_that_ends_well_is_finished_by_django(finished: list[str]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    await finish_requests(application)({}, None, None)  # type: ignore[arg-type]
    assert finished == []


async def test_a_request_has_one_thread_of_its_own_that_ends_with_it() -> None:
    threads: list[threading.Thread] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        threads.extend([await sync_to_async(threading.current_thread)() for _ in range(3)])

    for _ in range(2):
        await finish_requests(application)({}, None, None)  # type: ignore[arg-type]
    assert len(set(threads)) == 2
    assert {thread.name for thread in threads} == {"djwsbridge page 0"}
    await asyncio.to_thread(
        wait_until, lambda: not any(map(threading.Thread.is_alive, threads)), ""
    )


async def test_a_request_that_the_server_cancels_goes_on_to_its_end() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    serving = asyncio.ensure_future(finish_requests(application)({}, None, None))  # type: ignore[arg-type]
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    may_end.set()
    await asyncio.wait_for(ended.wait(), TIMEOUT)
