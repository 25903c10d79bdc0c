"""Where the socket is."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from djwsbridge import routing
from djwsbridge.consumers import UserConsumer
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
