"""Who may reach which address: the list is the URLconf's own (PROMISES: W1 to W4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from djwsbridge.chat import services
from djwsbridge.chat.models import Membership, Room

pytestmark = [pytest.mark.django_db, pytest.mark.database]

# For everybody: what leads in, what says that the site lives, what asks for a WebSocket.
PUBLIC = frozenset(
    {"/", "/accounts/login/", "/accounts/signup/", "/accounts/logout/", "/admin/login/"}
)
PROBES = frozenset({"/healthz", "/readyz", "/ws/"})


def list_paths(resolver: URLResolver, prefix: str = "/") -> Iterator[str]:
    """Yield every path of a URLconf, without Django's own admin."""
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLPattern):
            yield path
        elif pattern.namespace != "admin":
            yield from list_paths(pattern, path)


PATHS = sorted(set(list_paths(get_resolver("config.urls"))) - PUBLIC - PROBES)
OBJECT_PATHS = [path for path in PATHS if "<" in path]


def fill(path: str, room: Any) -> str:
    values = {
        "<int:room_id>": str(room.id),
        "<djwsbridge_room:slug>": room.slug,
        "<djwsbridge_name:username>": "nobody",
    }
    for name, value in values.items():
        path = path.replace(name, value)
    assert "<" not in path, "this sweep does not know that kind of address yet"
    return path


def test_the_sweep_has_something_to_sweep() -> None:
    assert len(PATHS) >= 14
    assert len(OBJECT_PATHS) >= 8


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
def test_nobody_gets_in(path: str, method: str, alice: User, bob: User) -> None:
    room = services.open_direct(actor=alice, user_id=bob.pk)
    answer: Any = getattr(Client(), method)(fill(path, room))
    if answer.status_code == 302:
        assert answer.url.startswith("/accounts/login/?next=")
    else:
        assert answer.status_code in (401, 403, 405)


@pytest.mark.parametrize("path", OBJECT_PATHS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_belongs_to_others_does_not_exist(
    path: str, method: str, client: Client, alice: User, bob: User, carol: User
) -> None:
    private = services.open_direct(actor=alice, user_id=bob.pk)
    client.force_login(carol)
    answers = []
    for room in (private, Room(id=10**6, slug="nowhere"), Room(id=10**30, slug="x" * 500)):
        body = {"data": "{}", "content_type": "application/json"} if method == "post" else {}
        answer: Any = getattr(client, method)(fill(path, room), **body)
        assert answer.status_code in (404, 405, 400), answer.content
        if "/api/" in path:
            answers.append(answer.json())
    assert all(answer == answers[0] for answer in answers)
    assert not Membership.objects.filter(user=carol).exists()


@pytest.mark.parametrize("path", PATHS)
def test_a_session_alone_changes_nothing(path: str, alice: User, bob: User) -> None:
    """Every unsafe method wants the CSRF token."""
    room = services.create_room(actor=alice, title="General")
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for method in ("post", "put", "patch", "delete"):
        for token in ({}, {"X-CSRFToken": "x" * 64}):
            answer: Any = getattr(client, method)(fill(path, room), headers=token)
            assert answer.status_code in (403, 405), (method, answer.content)
    assert Room.objects.count() == 1
    assert Membership.objects.count() == 1
