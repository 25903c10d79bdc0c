"""People, and a look at what is pushed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User

from djwsbridge import runtime
from djwsbridge.chat import limits
from djwsbridge.transport import admission

Pushed = list[tuple[str, dict[str, Any]]]
Capture = Callable[[], AbstractContextManager[Pushed]]


@pytest.fixture(autouse=True)
def _nobody_has_sent_too_much() -> None:
    """Forget what earlier tests have counted; their users have the same keys."""
    admission._admissions.clear()
    limits._counters.clear()


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="correct horse")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password="correct horse")


@pytest.fixture
def carol(db: None) -> User:
    return User.objects.create_user("carol", password="correct horse")


@pytest.fixture
def capture_pushes(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> Capture:
    """Return a block that collects what leaves after commit: (topic, frame)."""

    @contextmanager
    def capture() -> Iterator[Pushed]:
        pushed: Pushed = []
        monkeypatch.setattr(
            runtime,
            "hand_over_all",
            lambda pushes: pushed.extend((topic, json.loads(text)) for topic, text in pushes),
        )
        with django_capture_on_commit_callbacks(execute=True):
            yield pushed

    return capture
