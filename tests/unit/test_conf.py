"""The settings: read when they are needed, with their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from djwsbridge.conf import PREFIX, Setting, Settings
from djwsbridge.conf import settings as ours
from djwsbridge.protocol.server import Limits, RateLimit

NAMES = sorted(name for name, value in vars(Settings).items() if isinstance(value, Setting))


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_read_when_it_is_needed(settings: Any, name: str) -> None:
    marker = object()
    setattr(settings, PREFIX + name, marker)
    assert getattr(ours, name) is marker


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_is_left_out_has_its_default(settings: Any, name: str) -> None:
    if hasattr(settings, PREFIX + name):
        delattr(settings, PREFIX + name)
    assert getattr(ours, name) == vars(Settings)[name].default


def test_the_defaults_are_those_that_were_promised() -> None:
    defaults = {name: vars(Settings)[name].default for name in NAMES}
    promised = {
        "WS_PREFIX": "ws",
        "WS_PATH": "bridge",
        "FRAME_BYTES": 64 * 1024,
        "CONNECT_TIMEOUT": 5.0,
        "HEARTBEAT_INTERVAL": 25.0,
        "SILENCE_TIMEOUT": 60.0,
        "FRAME_RATE": (120, 60.0),
        "SEND_RATE": (20, 10.0),
        "CONNECTIONS_PER_USER": 10,
        "CONNECTIONS_PER_ADDRESS": 50,
        "SUBSCRIPTIONS": 1_000,
        "CURSORS": 200,
        "SEND_QUEUE_BYTES": 1024 * 1024,
        "TICKET_TTL": 30.0,
        "TOKEN_LEEWAY": 30.0,
        "TOKEN_WARNING": 60.0,
        "REVALIDATE_INTERVAL": 60.0,
        "ALLOWED_TYPES": None,
        "ALLOW_QUERY_TICKET": False,
    }
    assert {name: defaults[name] for name in promised} == promised


def test_the_limits_of_a_connection_follow_the_settings(settings: Any) -> None:
    assert ours.limits == Limits()
    settings.DJWSBRIDGE_FRAME_BYTES = 10
    settings.DJWSBRIDGE_FRAME_RATE = [5, 1.0]
    settings.DJWSBRIDGE_CONNECT_TIMEOUT = 1.0
    settings.DJWSBRIDGE_SILENCE_TIMEOUT = 2.0
    assert ours.limits == Limits(
        frame_bytes=10, connect_timeout=1.0, silence_timeout=2.0, frames=RateLimit(5, 1.0)
    )
