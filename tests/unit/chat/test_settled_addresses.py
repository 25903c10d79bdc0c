"""What is stored and published has the addresses of the settings; a page has those of its own request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase
from django.test import Client
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils.translation import activate, deactivate, get_language

from djwsbridge.chat import services
from djwsbridge.log.models import Event
from tests.unit.chat.conftest import Capture

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LANGUAGES = "tests.urls_by_language"


def by_prefix() -> None:
    set_script_prefix("/of-the-request")


def by_language() -> None:
    activate("de")


def by_urlconf() -> None:
    set_urlconf("tests.urls_elsewhere")


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    """End the request that a test is in the middle of."""
    yield
    set_script_prefix("/")
    deactivate()
    set_urlconf(None)


@pytest.mark.parametrize("begin_request", [by_prefix, by_language, by_urlconf])
@pytest.mark.parametrize("urlconf", ["config.urls", LANGUAGES])
@pytest.mark.parametrize("prefix", [None, "/app", "/app/"])
def test_nothing_of_a_request_is_in_what_is_stored_and_published(
    settings: Any,
    alice: User,
    bob: User,
    capture_pushes: Capture,
    begin_request: Callable[[], None],
    urlconf: str,
    prefix: str | None,
) -> None:
    settings.ROOT_URLCONF, settings.FORCE_SCRIPT_NAME = urlconf, prefix
    begin_request()
    before = (get_script_prefix(), get_language(), get_urlconf())
    with capture_pushes() as pushed:
        services.create_room(actor=alice, title="Books")
        services.open_direct(actor=alice, user_id=bob.pk)
    site = (prefix or "").rstrip("/")
    expected = [f"{site}/chat/books/", f"{site}/chat/direct/alice/", f"{site}/chat/direct/bob/"]
    published = [frame["data"]["room"]["url"] for _, frame in pushed if "push" in frame]
    payloads = " ".join(Event.objects.values_list("payload", flat=True))
    stored = re.findall(r'"url":"([^"]*)"', payloads)
    assert sorted(published) == sorted(stored) == expected
    assert (get_script_prefix(), get_language(), get_urlconf()) == before


def set_elsewhere(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    """Give every request a URLconf of its own, as a middleware for subdomains does."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        request.urlconf = "tests.urls_elsewhere"  # type: ignore[attr-defined]
        return get_response(request)

    return answer


@pytest.fixture
def client(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def addresses_in(page: Any) -> set[str]:
    """Return what the links and the modules of a page lead to, but for files."""
    found = re.findall(r'(?:href|action|data-[a-z]+-url)="(/[^"]+)"', page.text)
    data = page.context["chat_data"]
    urls = {room["url"] for room in data["rooms"]} | {data["api"], data["socket_path"]}
    return {url for url in {*found, *urls} if not url.startswith("/static/")}


def test_a_page_stays_in_its_language(
    client: Client, settings: Any, alice: User, bob: User
) -> None:
    settings.ROOT_URLCONF = LANGUAGES
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    room = services.create_room(actor=alice, title="Books")
    services.open_direct(actor=alice, user_id=bob.pk)
    page: Any = client.get("/de/chat/books/")
    inside = {url for url in addresses_in(page) if "/chat/" in url}
    assert {"/de/chat/books/", "/de/chat/direct/bob/", "/de/chat/api/"} <= inside
    assert {url for url in inside if not url.startswith("/de/chat/")} == set()
    joined: Any = client.post("/de/chat/books/join/")
    assert joined.url == "/de/chat/books/"
    # An address without a language leads each reader to their own.
    answer: Any = client.get(room.url, headers={"Accept-Language": "fr"})
    assert (room.url, answer.url) == ("/chat/books/", "/fr/chat/books/")


def test_a_page_stays_in_the_urlconf_of_its_request(
    client: Client, settings: Any, alice: User, bob: User
) -> None:
    settings.MIDDLEWARE = [f"{__name__}.set_elsewhere", *settings.MIDDLEWARE]
    services.create_room(actor=alice, title="Books")
    services.open_direct(actor=alice, user_id=bob.pk)
    page: Any = client.get("/elsewhere/books/")
    found = addresses_in(page) - {"/ws/bridge/"}
    assert {"/elsewhere/books/", "/elsewhere/direct/bob/", "/elsewhere/api/"} <= found
    assert {url for url in found if not url.startswith("/elsewhere/")} == set()


def test_a_page_stays_under_the_prefix_of_its_request(
    client: Client, alice: User, bob: User
) -> None:
    services.create_room(actor=alice, title="Books")
    services.open_direct(actor=alice, user_id=bob.pk)
    by_prefix()
    site = "/of-the-request"
    found = addresses_in(client.get("/chat/books/"))
    assert {f"{site}/chat/books/", f"{site}/chat/direct/bob/", f"{site}/ws/bridge/"} <= found
    assert {url for url in found if not url.startswith(f"{site}/")} == set()


@pytest.mark.parametrize("slash", [True, False])
def test_addresses_need_no_redirect(
    client: Client,
    settings: Any,
    alice: User,
    slash: bool,  # noqa: FBT001
) -> None:
    settings.APPEND_SLASH = slash
    room = services.create_room(actor=alice, title="Books")
    for url in (room.url, "/chat/", "/chat/api/rooms/"):
        assert client.get(url).status_code == 200
