"""`manage.py djwsbridge_serve`: what it says and refuses. That it serves is in tests/integration/test_run.py."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError as ManagementError

from djwsbridge.server import run as server


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[Any]:
    """Run nothing; return what would have been run."""
    made: list[Any] = []
    monkeypatch.setattr(
        server, "run", lambda application, **options: made.append((application, options))
    )
    settings.DJWSBRIDGE_ENGINE = "redis"
    settings.ASGI_APPLICATION = "mysite.asgi.application"
    return made


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "Serving mysite.asgi:application at http://127.0.0.1:8000 (1 process)"),
        (
            ["--port", "8205", "--workers", "2"],
            "Serving mysite.asgi:application at http://127.0.0.1:8205 (2 processes)",
        ),
        (
            ["--host", "::1", "--application", "site:app"],
            "Serving site:app at http://[::1]:8000 (1 process)",
        ),
    ],
)
def test_it_says_what_it_serves_and_when_it_has_ended(
    runs: list[Any], capsys: Any, arguments: list[str], line: str
) -> None:
    call_command("djwsbridge_serve", *arguments)
    assert capsys.readouterr().out == f"{line}\nThe server has ended.\n"
    [(application, options)] = runs
    assert f"{application} " in line
    assert f":{options['port']} " in line


def test_it_says_so_too_when_the_server_hands_the_signal_on(
    runs: list[Any], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(Exception):
        pass

    def end(number: int) -> None:
        assert signal.getsignal(number) is signal.SIG_DFL
        raise Ended

    def serve(application: str, **options: object) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        handler(signal.SIGTERM, None)

    monkeypatch.setattr(server, "run", serve)
    monkeypatch.setattr(signal, "raise_signal", end)
    with pytest.raises(Ended):
        call_command("djwsbridge_serve")
    assert capsys.readouterr().out.endswith(")\nThe server has ended.\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "65536"], "--port takes a number from 1 to 65535"),
        (["--workers", "0"], "--workers takes 1 or more"),
    ],
)
def test_it_says_nothing_of_serving_when_it_cannot(
    runs: list[Any], capsys: Any, arguments: list[str], text: str
) -> None:
    with pytest.raises(ManagementError, match=text):
        call_command("djwsbridge_serve", *arguments)
    assert runs == []
    assert capsys.readouterr().out == ""


def test_it_wants_an_application(runs: list[Any], capsys: Any, settings: Any) -> None:
    settings.ASGI_APPLICATION = None
    with pytest.raises(ManagementError, match="ASGI_APPLICATION is not set"):
        call_command("djwsbridge_serve")
    assert capsys.readouterr().out == ""


def test_several_processes_want_an_engine_that_connects_them(
    runs: list[Any], settings: Any
) -> None:
    settings.DJWSBRIDGE_ENGINE = "memory"
    with pytest.raises(ManagementError, match="Several processes need an engine"):
        call_command("djwsbridge_serve", "--workers", "2")
    assert runs == []
