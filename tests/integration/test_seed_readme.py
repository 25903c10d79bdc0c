"""The first seed's README, step by step, on every layer and under both servers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.integration.seed_project import LAYERS, SOCKET, SeedProject
from tests.servers import SERVERS, TIMEOUT, RedisServer, Site, serve

Open = Callable[..., ClientConnection]


@pytest.fixture(scope="module")
def build(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Callable[[str], SeedProject]:
    """Return a function that makes the project for a layer, once."""
    followed = SeedProject(tmp_path_factory.mktemp("seed"), "core", redis.port)

    @functools.cache
    def build_once(layer: str) -> SeedProject:
        return SeedProject(tmp_path_factory.mktemp("seed"), layer, redis.port, like=followed)

    return build_once


@pytest.fixture(scope="module", params=LAYERS)
def project(request: pytest.FixtureRequest, build: Callable[[str], SeedProject]) -> SeedProject:
    """Follow the README up to its first run."""
    return build(request.param)


def run_site(project: SeedProject, server: Any, settings: str) -> Any:
    return serve(
        server,
        directory=project.directory,
        cwd=project.directory,
        env={**project.env, "DJANGO_SETTINGS_MODULE": settings},
        application="your_project.asgi:application",
        ready_path="/",
    )


@pytest.fixture(scope="module", params=sorted(SERVERS))
def push_site(request: pytest.FixtureRequest, project: SeedProject) -> Iterator[Site]:
    """Serve the project as it stands: "For Signal or Backend Messaging Only"."""
    with run_site(project, request.param, "your_project.settings") as site:
        yield site


@pytest.fixture(scope="module", params=sorted(SERVERS))
def store_site(request: pytest.FixtureRequest, project: SeedProject) -> Iterator[Site]:
    """Serve the project with its two models: "For Full Chat Functionality"."""
    with run_site(project, request.param, "your_project.store_settings") as site:
        yield site


@pytest.fixture
def open_socket(project: SeedProject) -> Iterator[Open]:
    """Return a function that opens the socket of a person with their JWT in the header."""
    with ExitStack() as stack:

        def open_one(site: Site, name: str, path: str = SOCKET) -> ClientConnection:
            socket = stack.enter_context(
                connect(
                    f"{site.ws_url}{path}",
                    additional_headers={"Authorization": f"Bearer {project.people[name][1]}"},
                    proxy=None,
                )
            )
            # An answer: everything is subscribed.
            assert tell(socket, "")["code"] == "bad_json"
            return socket

        yield open_one


def say(socket: ClientConnection, frame: object) -> None:
    socket.send(frame if isinstance(frame, str) else json.dumps(frame))


def hear(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(TIMEOUT))


def tell(socket: ClientConnection, frame: object) -> Any:
    """Send a frame and return the answer."""
    say(socket, frame)
    return hear(socket)


def assert_nothing_waits(socket: ClientConnection) -> None:
    """Expect that nothing has come before the answer to a frame that is refused."""
    assert tell(socket, "{")["code"] == "bad_json"


# -- Push --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["message", "content"])
@pytest.mark.parametrize("numeric", [True, False], ids=["int", "string"])
def test_a_message_reaches_its_recipient_and_all_devices_of_its_sender(
    project: SeedProject,
    push_site: Site,
    open_socket: Open,
    key: str,
    numeric: bool,  # noqa: FBT001
) -> None:
    alice, laptop, bob = (open_socket(push_site, name) for name in ("alice", "alice", "bob"))
    (alice_id, _), (bob_id, _) = project.people["alice"], project.people["bob"]
    frame = {
        "type": "text",
        key: "Hello there!",
        "recipient": bob_id if numeric else str(bob_id),
        "id": 777,
        "extra": {"a": [1, None]},
    }
    say(alice, {**frame, "sender": bob_id})
    for socket in (alice, laptop, bob):
        assert hear(socket) == {**frame, "sender": alice_id}
        assert_nothing_waits(socket)


WRONG = {
    "type-chat": ({"type": "chat", "message": "Hello there!", "recipient": 2}, "unknown_type"),
    "no-type": ({"message": "x", "recipient": 2}, "unknown_type"),
    "type-list": ({"type": [], "message": "x", "recipient": 2}, "bad_field"),
    "recipient-list": ({"type": "text", "message": "x", "recipient": [2]}, "bad_recipient"),
    "recipient-object": ({"type": "text", "message": "x", "recipient": {}}, "bad_recipient"),
    "recipient-true": ({"type": "text", "message": "x", "recipient": True}, "bad_recipient"),
    "recipient-word": ({"type": "text", "message": "x", "recipient": "bob"}, "bad_recipient"),
    "recipient-unknown": ({"type": "text", "message": "x", "recipient": 999}, "bad_recipient"),
    "recipient-inactive": ({"type": "text", "message": "x", "recipient": 3}, "bad_recipient"),
    "body-number": ({"type": "text", "message": 5, "recipient": 2}, "bad_field"),
    "body-empty": ({"type": "text", "message": " ", "recipient": 2}, "empty_body"),
    "list": ([1, 2], "bad_frame"),
    "no-json": ("hello", "bad_json"),
}


def test_errors_are_told_and_the_socket_stays_open(
    project: SeedProject, push_site: Site, open_socket: Open
) -> None:
    alice, bob = open_socket(push_site, "alice"), open_socket(push_site, "bob")
    assert project.people["bob"][0] == 2
    assert project.people["carol"][0] == 3
    for name, (frame, code) in WRONG.items():
        answer = tell(alice, frame)
        assert answer["code"] == code, name
        assert answer["error"], name
    assert_nothing_waits(bob)
    say(alice, {"type": "text", "message": "still here", "recipient": 2})
    assert hear(bob)["message"] == "still here"


@pytest.mark.parametrize("missing", [{}, {"recipient": None}], ids=["missing", "null"])
def test_without_a_recipient_it_goes_to_the_senders_own_devices(
    push_site: Site, open_socket: Open, missing: dict[str, None]
) -> None:
    alice, laptop = open_socket(push_site, "alice"), open_socket(push_site, "alice")
    frame = {"type": "signals", "message": "note", **missing}
    assert tell(alice, frame) == {**frame, "sender": 1}
    assert hear(laptop) == {**frame, "sender": 1}


def test_the_socket_has_the_configured_path(push_site: Site, open_socket: Open) -> None:
    open_socket(push_site, "alice", SOCKET.rstrip("/"))


def test_a_view_sends(push_site: Site, open_socket: Open) -> None:
    bob = open_socket(push_site, "bob")
    assert httpx.get(f"{push_site.url}/notify/2/").text == "sent"
    assert hear(bob) == {
        "type": "text",
        "content": "Hello! This message was sent from the backend.",
    }


def test_the_shell_sends(project: SeedProject, push_site: Site, open_socket: Open) -> None:
    if project.layer == "memory":
        # One process: the README's shell hears itself only, as with Channels; it must not fail.
        project.shell(README_SHELL)
        return
    alice = open_socket(push_site, "alice")
    project.shell(README_SHELL + GROUP_SEND)
    assert hear(alice) == {"type": "signals", "content": "Test message!"}
    assert hear(alice) == {"type": "text", "content": "by hand"}


README_SHELL = """
from django.contrib.auth import get_user_model
from djwsbridge.utils import send_ws_message

User = get_user_model()
user = User.objects.get(id=1)

send_ws_message(user.id, {"type": "signals", "content": "Test message!"})
"""

# What users of Channels have always done themselves.
GROUP_SEND = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

async_to_sync(get_channel_layer().group_send)(
    "user_1", {"type": "send_message", "data": {"type": "text", "content": "by hand"}}
)
"""


def test_the_library_makes_no_tables(project: SeedProject) -> None:
    tables = [name for (name,) in project.query("SELECT name FROM sqlite_master")]
    assert not [name for name in tables if "djwsbridge" in name]
    assert "yourapp_message" in tables
    project.manage("check")


# -- Store -------------------------------------------------------------------------------------------------------------

NEWEST = "SELECT id, chat_id, sender_id, content, type, created FROM yourapp_message ORDER BY id DESC LIMIT 1"
COUNT = "SELECT count(*) FROM yourapp_message"


@pytest.mark.parametrize("key", ["message", "content"])
def test_a_message_is_stored_before_it_is_delivered(
    project: SeedProject, store_site: Site, open_socket: Open, key: str
) -> None:
    alice, laptop, bob = (open_socket(store_site, name) for name in ("alice", "alice", "bob"))
    frame = {
        "type": "image",
        key: "Hello there!",
        "recipient": "2",
        "id": 777_777,
        "chat": 777,
        "created": "2001-01-01T00:00:00Z",
    }
    say(alice, {**frame, "sender": 2})
    assert hear(bob) == {**frame, "sender": 1}
    (stored,) = project.query(NEWEST)
    assert stored[2:5] == (1, "Hello there!", "image")
    assert stored[0] != 777_777
    assert not stored[5].startswith("2001")
    members = f"SELECT user_id FROM yourapp_chat_participants WHERE chat_id = {stored[1]}"
    assert sorted(project.query(members)) == [(1,), (2,)]
    assert hear(alice) == hear(laptop) == {**frame, "sender": 1}
    say(bob, {"type": "text", key: "And back", "recipient": 1})
    assert hear(alice)["sender"] == 2
    (answer,) = project.query(NEWEST)
    assert answer[1:4] == (stored[1], 2, "And back")


def test_what_cannot_be_stored_is_refused_and_the_socket_stays_open(
    project: SeedProject, store_site: Site, open_socket: Open
) -> None:
    alice, bob = open_socket(store_site, "alice"), open_socket(store_site, "bob")
    before = project.query(COUNT)
    wrong = {
        **WRONG,
        "no-recipient": ({"type": "text", "message": "x"}, "bad_recipient"),
        "null": ({"type": "text", "message": "x", "recipient": None}, "bad_recipient"),
        "no-body": ({"type": "text", "recipient": 2}, "bad_field"),
    }
    for name, (frame, code) in wrong.items():
        assert tell(alice, frame)["code"] == code, name
    assert project.query(COUNT) == before
    assert_nothing_waits(bob)
    say(alice, {"type": "text", "message": "still here", "recipient": 2})
    assert hear(bob)["message"] == "still here"


def test_a_note_to_self_has_a_chat_of_its_own(
    project: SeedProject, store_site: Site, open_socket: Open
) -> None:
    alice = open_socket(store_site, "alice")
    assert tell(alice, {"type": "text", "message": "note", "recipient": 1})["sender"] == 1
    ((_, chat, *_),) = project.query(NEWEST)
    members = f"SELECT user_id FROM yourapp_chat_participants WHERE chat_id = {chat}"
    assert project.query(members) == [(1,)]
    assert_nothing_waits(alice)
