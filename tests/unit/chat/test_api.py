from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from django.db.backends.base import base
from django.http import HttpResponse
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken

from djwsbridge.chat import limits, services
from djwsbridge.chat.api.errors import STATUSES
from djwsbridge.chat.models import Message, Room
from djwsbridge.chat.services import rooms
from djwsbridge.chat.values import RoomView
from djwsbridge.engine.base import Engine
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.transport import admission
from tests.servers import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.database]

UNKNOWN = 10**6


@pytest.fixture
def room(alice: User, bob: User) -> RoomView:
    made = services.create_room(actor=alice, title="General")
    services.join_room(actor=bob, room_id=made.id)
    return made


@pytest.fixture
def client(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def post(client: Client, path: str, body: Any, **options: Any) -> HttpResponse:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    options.setdefault("content_type", "application/json")
    answer: Any = client.post(f"/chat/api/{path}", text, **options)
    return answer


def error_of(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) >= {"code", "message", "retryable"}
    return answer.status_code, error["code"]


class TestRooms:
    def test_are_made_and_listed(self, client: Client) -> None:
        made: Any = post(client, "rooms/", {"title": "Tea & biscuits"})
        assert made.status_code == 201
        assert made.json()["slug"] == "tea-biscuits"
        listed: Any = client.get("/chat/api/rooms/")
        assert listed.json() == {"rooms": [made.json()], "more": False}
        assert "no-store" in listed["Cache-Control"]

    def test_a_title_is_taken_once(self, client: Client, room: RoomView) -> None:
        assert error_of(post(client, "rooms/", {"title": "GENERAL"})) == (409, "conflict")

    def test_are_joined_and_left(self, client: Client, bob: User) -> None:
        other = services.create_room(actor=bob, title="Other")
        joined: Any = post(client, f"rooms/{other.id}/join/", {})
        assert joined.status_code == 200
        assert joined.json()["is_member"] is True
        left: Any = post(client, f"rooms/{other.id}/leave/", {})
        assert left.json() == {"room": other.id}
        assert error_of(post(client, f"rooms/{other.id}/leave/", {})) == (404, "not_found")

    def test_a_post_may_have_no_body(self, client: Client, bob: User) -> None:
        other = services.create_room(actor=bob, title="Other")
        answer = client.generic("POST", f"/chat/api/rooms/{other.id}/join/", content_type="")
        assert answer.status_code == 200

    def test_members(self, client: Client, room: RoomView) -> None:
        answer: Any = client.get(f"/chat/api/rooms/{room.id}/members/")
        assert [member["name"] for member in answer.json()["members"]] == ["alice", "bob"]
        assert answer.json()["count"] == 2

    def test_lists_that_end_early_say_so(
        self, client: Client, bob: User, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rooms, "MEMBERS_LISTED", 1)
        monkeypatch.setattr(rooms, "OPEN_GROUPS_LISTED", 1)
        members: Any = client.get(f"/chat/api/rooms/{room.id}/members/").json()
        assert (len(members["members"]), members["count"]) == (1, 2)
        services.create_room(actor=bob, title="Other")
        assert client.get("/chat/api/rooms/").json()["more"] is False
        services.create_room(actor=bob, title="A third")
        listed: Any = client.get("/chat/api/rooms/").json()
        assert (len(listed["rooms"]), listed["more"]) == (2, True)
        assert b"There are more rooms to join than are listed" in client.get("/chat/").content


class TestDirect:
    def test_opens_one_room(self, client: Client, bob: User) -> None:
        first: Any = post(client, "direct/", {"user": bob.pk})
        again: Any = post(client, "direct/", {"user": str(bob.pk)})
        assert first.status_code == 200
        assert first.json() == again.json()
        assert first.json()["peer"] == {"id": bob.pk, "name": "bob"}

    @pytest.mark.parametrize("user", [UNKNOWN, "abc", ""])
    def test_with_nobody(self, client: Client, user: Any) -> None:
        assert error_of(post(client, "direct/", {"user": user})) == (404, "not_found")

    @pytest.mark.parametrize("user", [None, True, 1.5, [], {}])
    def test_with_nonsense(self, client: Client, user: Any) -> None:
        assert error_of(post(client, "direct/", {"user": user})) == (400, "bad_field")


class TestMessages:
    def test_are_sent_once_and_listed(self, client: Client, room: RoomView) -> None:
        body = {"body": "hello", "client_message_id": str(uuid.uuid4())}
        sent: Any = post(client, f"rooms/{room.id}/messages/", body)
        again: Any = post(client, f"rooms/{room.id}/messages/", body)
        assert sent.status_code == 201
        assert sent.json() == again.json()
        assert sent.json()["seq"] == 2
        page: Any = client.get(f"/chat/api/rooms/{room.id}/messages/?before=3&limit=10")
        assert page.json() == {"messages": [sent.json()], "last_seq": 2, "more": False}
        assert "no-store" in page["Cache-Control"]
        other = {**body, "body": "other"}
        conflict = post(client, f"rooms/{room.id}/messages/", other)
        assert error_of(conflict) == (409, "idempotency_conflict")

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({}, "bad_field"),
            ({"body": None}, "bad_field"),
            ({"body": {}}, "bad_field"),
            ({"body": []}, "bad_field"),
            ({"body": 5}, "bad_field"),
            ({"body": True}, "bad_field"),
            ({"body": " "}, "empty_body"),
            ({"body": "a\0b"}, "bad_text"),
            ({"body": "\ud800"}, "bad_text"),
            ({"body": "a", "client_message_id": None}, "bad_field"),
            ({"body": "a", "client_message_id": ""}, "bad_field"),
            ({"body": "a", "client_message_id": "x" * 10_000}, "bad_field"),
            ({"body": "a", "client_message_id": 5}, "bad_field"),
        ],
    )
    def test_a_bad_field_is_named(
        self, client: Client, room: RoomView, fields: dict[str, Any], code: str
    ) -> None:
        body = {"client_message_id": str(uuid.uuid4()), **fields}
        answer: Any = post(client, f"rooms/{room.id}/messages/", body)
        assert error_of(answer) == (400, code)
        if code == "bad_field":
            named = "client_message_id" if fields.get("body") == "a" else "body"
            assert answer.json()["error"]["field"] == named
        assert Message.objects.count() == 0

    def test_a_long_body(self, client: Client, room: RoomView) -> None:
        body = {"body": "a" * 8001, "client_message_id": str(uuid.uuid4())}
        assert error_of(post(client, f"rooms/{room.id}/messages/", body)) == (413, "too_large")

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("before=-1", "bad_field"),
            ("after=-1", "bad_field"),
            ("before=3&after=1", "bad_field"),
            ("limit=0", "bad_field"),
            ("limit=x", "bad_field"),
            ("limit=", "bad_field"),
            ("before=1e3", "bad_field"),
            (f"before={2**53}", "bad_field"),
            (f"before={'9' * 5000}", "bad_field"),
            ("room=1", "unknown_field"),
        ],
    )
    def test_a_bad_query(self, client: Client, room: RoomView, query: str, code: str) -> None:
        answer = client.get(f"/chat/api/rooms/{room.id}/messages/?{query}")
        assert error_of(answer) == (400, code)

    def test_a_limit_that_is_too_high_is_lowered(self, client: Client, room: RoomView) -> None:
        answer = client.get(f"/chat/api/rooms/{room.id}/messages/?limit=1000000&after=99")
        assert answer.json() == {"messages": [], "last_seq": 1, "more": False}

    def test_are_limited_as_on_a_socket(
        self, client: Client, room: RoomView, settings: Any
    ) -> None:
        settings.DJWSBRIDGE_SEND_RATE = (2, 60.0)

        def send() -> Any:
            body = {"body": "hello", "client_message_id": str(uuid.uuid4())}
            return post(client, f"rooms/{room.id}/messages/", body)

        assert [send().status_code for _ in range(2)] == [201, 201]
        refused = send()
        assert error_of(refused) == (429, "rate_limited")
        assert 0 < refused.json()["error"]["retry_after_ms"] <= 60_001
        assert refused.json()["error"]["retryable"] is True
        assert Message.objects.count() == 2


def test_rooms_are_limited_over_all_nodes(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJWSBRIDGE_ROOM_RATE = (2, 60.0)
    statuses = [post(client, "rooms/", {"title": f"Room {n}"}).status_code for n in range(2)]
    assert statuses == [201, 201]
    refused = post(client, "rooms/", {"title": "Room 3"})
    assert error_of(refused) == (429, "rate_limited")
    assert 0 < refused.json()["error"]["retry_after_ms"] <= 60_001

    async def count(*_: object, **__: object) -> int:
        return 3  # of which the others have counted two

    limits._counters.clear()
    monkeypatch.setattr(Engine, "count", count)
    assert error_of(post(client, "rooms/", {"title": "Room 4"})) == (429, "rate_limited")


def test_a_node_that_cannot_count_is_busy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> float:
        raise EngineUnavailable("The node did not answer in time.")

    monkeypatch.setattr(limits, "run_on_node", fail)
    assert error_of(post(client, "rooms/", {"title": "Room"})) == (503, "busy")


def test_no_more_counters_are_kept_than_fit(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_COUNTERS", 1)
    for user in (10**9, 10**9 + 1):
        post(client, "direct/", {"user": user})
        post(client, "rooms/", {"title": f"Room {user}"})
    assert [len(counters) for counters in limits._counters.values()] == [1]


class TestMe:
    def test_is_shown_and_changed(self, client: Client, alice: User) -> None:
        shown: Any = client.get("/chat/api/me/")
        assert shown.json() == {"id": alice.pk, "name": "alice", "read_receipts": True}
        for is_on in (False, True):
            changed = self.patch(client, {"read_receipts": is_on})
            assert changed.status_code == 200
            again: Any = client.get("/chat/api/me/")
            assert again.json() == changed.json()
            assert changed.json()["read_receipts"] is is_on

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "bad_field"),
            ({"read_receipts": 1}, "bad_field"),
            ({"read_receipts": None}, "bad_field"),
            ({"read_receipts": False, "last_seen": None}, "unknown_field"),
            ({"read_receipts": False, "id": 1}, "unknown_field"),
        ],
    )
    def test_takes_nothing_else(self, client: Client, body: Any, code: str) -> None:
        assert error_of(self.patch(client, body)) == (400, code)
        shown: Any = client.get("/chat/api/me/")
        assert shown.json()["read_receipts"] is True

    def patch(self, client: Client, body: Any) -> Any:
        return client.patch("/chat/api/me/", json.dumps(body), content_type="application/json")


class TestForm:
    @pytest.mark.parametrize(
        ("text", "status", "code"),
        [
            ("", 400, "bad_field"),
            (" ", 400, "bad_json"),
            ("{", 400, "bad_json"),
            ('{"title": NaN}', 400, "bad_json"),
            ("[1]", 400, "bad_frame"),
            ("null", 400, "bad_frame"),
            ("[" * 30_000, 400, "too_deep"),
            (b'{"title": "\xff"}', 400, "bad_text"),
            ('{"title": "' + "a" * 70_000 + '"}', 413, "too_large"),
            ('{"title": 1}', 400, "bad_field"),
            ('{"title": " "}', 400, "bad_name"),
        ],
    )
    def test_a_body_that_is_none(
        self, client: Client, text: str | bytes, status: int, code: str
    ) -> None:
        assert error_of(post(client, "rooms/", text)) == (status, code)
        assert Room.objects.count() == 0

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded"]
    )
    def test_only_json_is_read(self, client: Client, kind: str) -> None:
        answer = post(client, "rooms/", "title=x", content_type=kind)
        assert error_of(answer) == (415, "bad_frame")

    def test_other_methods(self, client: Client) -> None:
        answer = client.delete("/chat/api/rooms/")
        assert error_of(answer) == (405, "unknown_type")

    @pytest.mark.parametrize(
        "field", ["is_staff", "is_superuser", "id", "owner", "sender", "created", "seq"]
    )
    def test_extra_keys_change_nothing(
        self, client: Client, alice: User, room: RoomView, field: str
    ) -> None:
        message = {"body": "a", "client_message_id": str(uuid.uuid4())}
        for path, body in (
            ("rooms/", {"title": "New"}),
            (f"rooms/{room.id}/join/", {}),
            (f"rooms/{room.id}/leave/", {}),
            (f"rooms/{room.id}/messages/", message),
            ("direct/", {"user": alice.pk}),
        ):
            answer = post(client, path, {**body, field: 1})
            assert error_of(answer) == (400, "unknown_field"), path
        assert Room.objects.count() == 1
        assert Message.objects.count() == 0
        alice.refresh_from_db()
        assert not alice.is_staff


class TestCredentials:
    def test_a_token_is_as_good_as_a_session(self, alice: User, room: RoomView) -> None:
        token = AccessToken.for_user(alice)
        answer = Client(enforce_csrf_checks=True).post(
            "/chat/api/rooms/",
            json.dumps({"title": "By token"}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 201

    @pytest.mark.parametrize("token", ["", "x", "a.b.c"])
    def test_a_bad_token(self, token: str) -> None:
        answer = Client().get("/chat/api/rooms/", headers={"Authorization": f"Bearer {token}"})
        assert error_of(answer) == (401, "token_invalid")
        assert answer["WWW-Authenticate"].startswith("Bearer")

    def test_nobody(self) -> None:
        answer = Client().get("/chat/api/rooms/")
        assert error_of(answer) == (401, "auth_required")

    def test_an_inactive_user(self, client: Client, alice: User) -> None:
        token = AccessToken.for_user(alice)
        User.objects.filter(pk=alice.pk).update(is_active=False)
        answer = Client().get("/chat/api/rooms/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert client.get("/chat/api/rooms/").status_code == 401

    def test_a_session_needs_a_csrf_token(self, alice: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)
        assert error_of(post(client, "rooms/", {"title": "x"})) == (403, "forbidden")


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (OperationalError("connection refused, password x"), "db_unavailable"),
            (InterfaceError("connection already closed, password x"), "db_unavailable"),
            (OperationalError("database is locked, password x"), "busy"),
        ],
    )
    def test_the_database_is_away(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
    ) -> None:
        answer = self.fail(client, monkeypatch, error)
        assert error_of(answer) == (503, code)
        assert answer.json()["error"]["retryable"] is True
        assert "password" not in answer.content.decode()

    @pytest.mark.django_db(transaction=True)
    def test_the_database_is_lost_in_the_commit(
        self, client: Client, room: RoomView, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @contextmanager
        def lose_link(_connection: object, operation: str) -> Iterator[None]:
            yield
            if operation == "COMMIT":
                raise OperationalError("server closed the connection unexpectedly")

        body = {"body": "hello", "client_message_id": str(uuid.uuid4())}
        with monkeypatch.context() as patch:
            patch.setattr(base, "debug_transaction", lose_link)
            answer: Any = post(client, f"rooms/{room.id}/messages/", body)
        assert error_of(answer) == (503, "commit_unknown")
        assert answer.json()["error"]["retryable"] is True
        stored = Message.objects.get()
        again: Any = post(client, f"rooms/{room.id}/messages/", body)
        assert (again.status_code, again.json()["seq"]) == (201, stored.seq)

    def test_a_mistake_of_ours(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = self.fail(client, monkeypatch, ZeroDivisionError("secret"))
        assert error_of(answer) == (500, "internal")
        assert "secret" not in answer.content.decode()
        assert "ZeroDivisionError" in caplog.text
        assert answer.json()["error"]["reference"] in caplog.text

    def fail(self, client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
        def fail(**_: Any) -> None:
            raise error

        monkeypatch.setattr(services, "list_rooms", fail)
        return client.get("/chat/api/rooms/")


def test_the_reference_knows_the_status_of_each_code() -> None:
    text = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    lines = {line[2:5]: line for line in text.splitlines() if line.startswith("| ")}
    for code, status in STATUSES.items():
        assert f"`{code.value}`" in lines[str(status)]
