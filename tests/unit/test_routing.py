"""Where the socket is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.urls import set_script_prefix

from djwsbridge import routing
from djwsbridge.consumers import UserConsumer
from djwsbridge.testing import soak
from djwsbridge.transport import registry


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("ws", "bridge", "/ws/bridge/"),
        ("/socket/", "/mychannel/", "/socket/mychannel/"),
        ("", "bridge", "/bridge/"),
        ("ws", "", "/ws/"),
        ("a/b", "c", "/a/b/c/"),
    ],
)
def test_slashes_do_not_matter(settings: Any, prefix: str, path: str, expected: str) -> None:
    settings.DJWSBRIDGE_WS_PREFIX = prefix
    settings.DJWSBRIDGE_WS_PATH = path
    assert routing.socket_path() == expected
    pattern = routing.get_websocket_urlpatterns()[0].pattern
    for tried in (expected, expected.rstrip("/")):
        assert pattern.match(tried.lstrip("/"))
    assert pattern.match("other" + expected) is None
    assert pattern.match(expected.lstrip("/") + "more") is None


@pytest.fixture
def _prefix_of_the_request() -> Iterator[None]:
    set_script_prefix("/of-the-request")
    yield
    set_script_prefix("/")


@pytest.mark.usefixtures("_prefix_of_the_request")
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "/of-the-request/ws/bridge/"),
        ("/app", "/app/ws/bridge/"),
        ("/app/", "/app/ws/bridge/"),
        ("/", "/ws/bridge/"),
        ("/büro", "/b%C3%BCro/ws/bridge/"),
    ],
)
def test_the_address_for_a_page_has_the_prefix_of_the_site_and_the_route_has_not(
    settings: Any, setting: str | None, expected: str
) -> None:
    settings.FORCE_SCRIPT_NAME = setting
    assert routing.socket_path() == expected
    assert routing.get_websocket_urlpatterns()[0].pattern.match("ws/bridge/")


@pytest.mark.parametrize(
    ("setting", "url", "expected"),
    [
        (None, "https://example.com", "wss://example.com/ws/bridge/"),
        (None, "http://example.com/other/", "ws://example.com/other/"),
        ("/app", "https://example.com", "wss://example.com/app/ws/bridge/"),
        ("/app", "https://example.com/app/", "wss://example.com/app/ws/bridge/"),
        ("/app", "wss://example.com/app/ws/bridge/", "wss://example.com/app/ws/bridge/"),
    ],
)
def test_a_soak_finds_the_socket_of_a_site(
    settings: Any, monkeypatch: pytest.MonkeyPatch, setting: str | None, url: str, expected: str
) -> None:
    settings.FORCE_SCRIPT_NAME = setting
    asked: list[str] = []

    def load(url: str, *_: object) -> None:
        asked.append(url)
        raise CommandError

    monkeypatch.setattr(soak, "Load", load)
    with pytest.raises(CommandError):
        call_command("djwsbridge_soak", url=url)
    assert asked == [expected]


def test_a_dot_in_the_path_is_a_dot(settings: Any) -> None:
    settings.DJWSBRIDGE_WS_PATH = "v1.0"
    pattern = routing.get_websocket_urlpatterns()[0].pattern
    assert pattern.match("ws/v1.0/")
    assert pattern.match("ws/v1x0/") is None


def test_apps_add_routes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_routes", {})
    registry.register_routes(lambda: ["theirs"])  # type: ignore[list-item]
    assert routing.get_websocket_urlpatterns()[1:] == ["theirs"]


def test_the_project_may_name_its_own_consumer() -> None:
    class Mine(UserConsumer):
        pass

    assert routing.get_websocket_urlpatterns(Mine)[0].callback is not None


def test_without_the_app_there_are_no_routes(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "djwsbridge"]
    with pytest.raises(ImproperlyConfigured, match=r'Add "djwsbridge" to INSTALLED_APPS'):
        routing.get_websocket_urlpatterns()
