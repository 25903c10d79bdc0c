"""What the tests of the store have done in a process of the project; each returns what JSON can hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.protocol.errors import CommandError
from djwsbridge.store import find_private_chat, find_user, store_message
from djwsbridge.utils import get_chat_model, get_message_model

User = get_user_model()
MESSAGES = 100
RACERS = 50  # threads, each with a database connection; PostgreSQL has a hundred for everybody


def make_people(*names: str) -> list[Any]:
    """Make users, known by name or by address."""
    return [User.objects.create(**{User.USERNAME_FIELD: name}) for name in names]


def tokens(*names: str) -> list[list[str]]:
    """Make users and return their keys and tokens."""
    people = make_people(*names)
    return [[str(user.pk), str(AccessToken.for_user(user))] for user in people]


def send(sender: Any, recipient: Any, content: str = "x", /, **frame: Any) -> Any:
    return store_message(
        sender=sender,
        recipient=recipient,
        content=content,
        type=frame.get("type"),
        frame=frame,
    )


def members(chat: Any) -> list[str]:
    return sorted(user.get_username() for user in chat.participants.all())


def race() -> dict[str, Any]:
    """Let a hundred first messages race, in both directions, and as many notes to self."""
    one, other = make_people("one@example.com", "other@example.com")
    pairs = [(one, other), (other, one), (one, one)]
    start = threading.Barrier(RACERS)

    def run(number: int) -> str | None:
        if number < RACERS:
            start.wait()
        try:
            send(*pairs[number % 3], str(number))
        except Exception as error:  # noqa: BLE001  counted by the test
            return repr(error)
        finally:
            connections.close_all()
        return None

    with ThreadPoolExecutor(RACERS) as pool:
        failures = [failure for failure in pool.map(run, range(MESSAGES)) if failure]
    chats = [members(chat) for chat in get_chat_model().objects.all()]
    messages = get_message_model().objects.count()
    return {"failures": failures, "chats": sorted(chats), "messages": messages}


def choose() -> dict[str, Any]:
    """Send where chats of other shapes exist already."""
    one, other, third = make_people("one@example.com", "other@example.com", "third@example.com")
    for people in ([one, other, third], [other], [one, third], []):
        get_chat_model().objects.create().participants.add(*people)
    first = send(one, other)
    again = send(other, one)
    note = send(one, one)
    existing = send(third, one)
    found = find_private_chat(other, one)
    return {
        "first": members(first.chat),
        "again": again.chat_id == first.chat_id,
        "note": members(note.chat),
        "existing": members(existing.chat),
        "chats": get_chat_model().objects.count(),
        "found": found is not None and found.pk == first.chat_id,
    }


def fields() -> dict[str, Any]:
    """Send with everything that a frame might try to set."""
    one, other = make_people("one@example.com", "other@example.com")
    frame = {"id": 777, "chat": 777, "sender": 777, "created": "2001-01-01", "priority": "7"}
    message = send(one, other, "hello", **frame)
    values = {
        name: str(getattr(message, name))
        for name in ("pk", "content", "sender_id", "subject", "priority", "type")
        if hasattr(message, name)
    }
    refused = [
        _code(lambda: send(one, other, "x" * 101)),
        _code(lambda: send(one, other, type="t" * 21)),
    ]
    unknown = [
        find_user(key) is None
        for key in (999_999, "abc", 2**70, -1, "00000000-0000-4000-8000-000000000000")
    ]
    return {
        "values": values,
        "one": str(one.pk),
        "refused": refused,
        "unknown": unknown,
        "messages": get_message_model().objects.count(),
    }


def _code(call: Callable[[], object]) -> str | None:
    try:
        call()
    except CommandError as error:
        return error.code.value
    return None
