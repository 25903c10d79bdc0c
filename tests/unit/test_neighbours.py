"""Two server processes that cannot hear each other are noticed, and nothing else is."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from djwsbridge import neighbours, publish
from djwsbridge.durable import NewEvent
from djwsbridge.log.log import SERVERS, Log
from djwsbridge.log.models import Event
from djwsbridge.neighbours import _Beats, _Lock
from tests.servers import TIMEOUT


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_processes_that_live_at_the_same_time_find_each_other() -> None:
    one, other = _Beats(Log()), _Beats(Log())
    assert [one.look(), other.look(), one.look()] == [False, False, False]
    assert [other.look(), one.look(), one.look()] == [True, True, False]


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_process_that_has_ended_and_one_that_only_publishes_are_not_found() -> None:
    one, ended = _Beats(Log()), _Beats(Log())
    ended.look()
    for _ in range(3):
        with transaction.atomic():
            Log().append([NewEvent("user.7", "signal", lambda _seq, _now: {})])
        assert not one.look()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_what_is_noted_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "INTERVAL", 0.0)
    one = _Beats(Log())
    for _ in range(5):
        one.look()
    assert Event.objects.filter(topic__name=SERVERS).count() <= 1


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(neighbours.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_without_a_log_processes_of_one_machine_find_each_other(directory: Path) -> None:
    one, other = _Lock(), _Lock()
    assert [one.look(), other.look(), one.look(), other.look()] == [False, False, False, True]
    assert one._held is not None
    os.close(one._held)  # it ends
    assert not other.look()
    assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600]


def test_other_sites_of_one_machine_are_not_found(directory: Path, settings: Any) -> None:
    one = _Lock()
    settings.SECRET_KEY = "another site"
    other = _Lock()
    assert not any([one.look(), other.look(), one.look(), other.look()])


@pytest.mark.parametrize(
    ("serves", "engine", "watches"),
    [(True, "memory", True), (False, "memory", False), (True, "redis", False)],
)
def test_only_a_process_that_serves_and_is_alone_with_its_engine_watches(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    *,
    serves: bool,
    watches: bool,
) -> None:
    started = threading.Semaphore(0)
    monkeypatch.setattr(neighbours, "_run", started.release)
    monkeypatch.setattr(neighbours, "_watching_pid", 0)
    monkeypatch.setattr(publish, "_serves", serves)
    monkeypatch.delattr(mail, "outbox")
    settings.DJWSBRIDGE_ENGINE = engine
    for _ in range(2):
        publish.watch_neighbours()
    assert started.acquire(timeout=TIMEOUT if watches else 0) is watches
    assert not started.acquire(blocking=False)


def test_whether_to_watch_is_asked_once_in_a_process_and_again_with_other_settings(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(publish, "is_local_to_a_process", lambda: asked.append("again"))
    monkeypatch.setattr(publish, "_settled_pid", 0)
    monkeypatch.setattr(publish, "_serves", False)
    publish.watch_neighbours()
    assert len(asked) == 0
    monkeypatch.setattr(publish, "_serves", True)
    for _ in range(3):
        publish.watch_neighbours()
    assert len(asked) == 1
    settings.DJWSBRIDGE_ENGINE = "memory"
    for _ in range(3):
        publish.watch_neighbours()
    assert len(asked) == 2


def test_a_forked_process_watches_on_its_own(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Semaphore(0)
    monkeypatch.setattr(neighbours, "_run", started.release)
    monkeypatch.setattr(neighbours, "_watching_pid", 0)
    monkeypatch.setattr(publish, "_serves", True)
    monkeypatch.delattr(mail, "outbox")
    settings.DJWSBRIDGE_ENGINE = "memory"
    publish.watch_neighbours()
    assert started.acquire(timeout=TIMEOUT)
    monkeypatch.setattr(
        os, "getpid", lambda: -1
    )  # as in a child, which has no threads of its parent
    publish.watch_neighbours()
    assert started.acquire(timeout=TIMEOUT)
