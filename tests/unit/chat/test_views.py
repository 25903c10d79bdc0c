from __future__ import annotations

import json
import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client

from djwsbridge.chat import limits, services
from djwsbridge.chat.models import Membership, Room
from djwsbridge.chat.templatetags.djwsbridge_chat import badge, tone
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def client(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def chat_data(answer: Any) -> dict[str, Any]:
    found = re.search(r'<script id="chat-data" type="application/json">(.*?)</script>', answer.text)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


class TestIndex:
    def test_shows_what_there_is(self, client: Client, alice: User, bob: User) -> None:
        services.create_room(actor=bob, title="Books")
        services.open_direct(actor=alice, user_id=bob.pk)
        answer: Any = client.get("/chat/")
        assert answer.status_code == 200
        assert [room.title for room in answer.context["rooms"]] == ["Books"]
        assert [room.title for room in answer.context["directs"]] == ["bob"]
        assert answer.context["room"] is None
        assert answer.context["is_member"] is False
        data = chat_data(answer)
        assert data["socket_path"] == "/ws/bridge/"
        assert data["api"] == "/chat/api/"
        assert data["user"] == {"id": alice.pk, "name": "alice", "read_receipts": True}
        assert len(data["rooms"]) == 2
        assert (data["room"], data["peer"], data["messages"], data["last_seq"]) == (
            None,
            None,
            [],
            0,
        )
        assert "no-store" in answer["Cache-Control"]

    def test_nobody_is_sent_to_the_login(self) -> None:
        answer: Any = Client().get("/chat/")
        assert answer.status_code == 302
        assert answer.url == "/accounts/login/?next=/chat/"


class TestCreateRoom:
    def test_leads_to_the_room(self, client: Client) -> None:
        answer: Any = client.post("/chat/rooms/create/", {"title": "Книжный клуб"})
        assert answer.status_code == 302
        assert answer.url == quote("/chat/книжный-клуб/")
        assert client.get(answer.url).status_code == 200

    @pytest.mark.parametrize("title", ["", "General"])
    def test_says_why_not(self, client: Client, alice: User, title: str) -> None:
        services.create_room(actor=alice, title="General")
        answer: Any = client.post("/chat/rooms/create/", {"title": title})
        assert answer.status_code == 400
        assert answer.context["title"] == title
        assert answer.context["title_error"] in answer.text
        assert Room.objects.count() == 1

    def test_nobody_makes_rooms_without_end(self, client: Client, settings: Any) -> None:
        settings.DJWSBRIDGE_ROOM_RATE = (2, 60.0)
        answers: list[Any] = [
            client.post("/chat/rooms/create/", {"title": f"Room {number}"}) for number in range(3)
        ]
        assert [answer.status_code for answer in answers] == [302, 302, 429]
        assert answers[2].context["title_error"] in answers[2].text
        assert Room.objects.count() == 2

    def test_needs_a_post(self, client: Client) -> None:
        assert client.get("/chat/rooms/create/").status_code == 405


class TestRoom:
    def test_a_member_reads(self, client: Client, alice: User) -> None:
        room = services.create_room(actor=alice, title="General")
        services.send_message(
            actor=alice,
            room_id=room.id,
            body="</script><img src=x onerror=alert(1)>",
            client_message_id=uuid.uuid4(),
        )
        answer: Any = client.get("/chat/general/")
        assert answer.context["is_member"] is True
        assert "<img" not in answer.text
        data = chat_data(answer)
        assert data["messages"][0]["body"] == "</script><img src=x onerror=alert(1)>"
        assert data["last_seq"] == 1
        assert data["members"] == [{"id": alice.pk, "name": "alice"}]
        assert "no-store" in answer["Cache-Control"]

    def test_anybody_else_may_join(self, client: Client, alice: User, bob: User) -> None:
        room = services.create_room(actor=bob, title="General")
        services.send_message(
            actor=bob, room_id=room.id, body="inside", client_message_id=uuid.uuid4()
        )
        answer: Any = client.get("/chat/general/")
        assert answer.context["is_member"] is False
        assert "inside" not in answer.text
        joined: Any = client.post("/chat/general/join/")
        assert joined.url == "/chat/general/"
        assert "inside" in client.get("/chat/general/").content.decode()
        left: Any = client.post("/chat/general/leave/")
        assert left.url == "/chat/"
        assert not Membership.objects.filter(user=alice).exists()
        assert client.post("/chat/general/leave/").status_code == 404

    @pytest.mark.parametrize("path", ["a%00b", "%ff", "%ED%A0%80", "..%2f", "x" * 2000])
    def test_a_strange_address_is_none(self, client: Client, path: str) -> None:
        for address in (f"/chat/{path}/", f"/chat/direct/{path}/"):
            assert client.get(address).status_code == 404
        for address in (f"/chat/{path}/join/", f"/chat/{path}/leave/"):
            assert client.post(address).status_code == 404
        assert client.post("/chat/direct/", {"username": "a\0b"}).status_code == 404
        assert client.post("/chat/rooms/create/", {"title": "a\0b"}).status_code == 400

    def test_there_is_none(self, client: Client) -> None:
        for method in (client.get, client.head):
            assert method("/chat/nowhere/").status_code == 404
        assert client.post("/chat/nowhere/join/").status_code == 404

    def test_a_conversation_has_its_own_page(
        self, client: Client, alice: User, bob: User, carol: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        answer: Any = client.get(f"/chat/{room.slug}/")
        assert answer.url == "/chat/direct/bob/"
        assert client.post(f"/chat/{room.slug}/leave/").status_code == 404
        client.force_login(carol)
        assert client.get(f"/chat/{room.slug}/").status_code == 404

    def test_a_conversation_with_a_deleted_account_can_be_read(
        self, client: Client, alice: User, bob: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        bob.delete()
        answer: Any = client.get(f"/chat/{room.slug}/")
        assert answer.status_code == 200
        assert "Deleted user" in answer.text


class TestDirect:
    def test_looking_makes_nothing(self, client: Client, bob: User) -> None:
        answer: Any = client.get("/chat/direct/bob/")
        assert answer.status_code == 200
        assert answer.context["room"] is None
        assert answer.context["peer"].name == "bob"
        assert chat_data(answer)["peer"] == {"id": bob.pk, "name": "bob"}
        assert Room.objects.count() == 0

    def test_a_conversation_is_for_two(
        self, client: Client, alice: User, bob: User, carol: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        services.send_message(
            actor=alice, room_id=room.id, body="psst", client_message_id=uuid.uuid4()
        )
        assert "psst" in client.get("/chat/direct/bob/").content.decode()
        client.force_login(carol)
        for path in ("/chat/direct/bob/", "/chat/direct/alice/", "/chat/"):
            assert "psst" not in client.get(path).content.decode()

    def test_nobody(self, client: Client) -> None:
        assert client.get("/chat/direct/nobody/").status_code == 404

    def test_stays_readable_when_the_other_person_was_deactivated(
        self, client: Client, alice: User, bob: User, carol: User
    ) -> None:
        room = services.open_direct(actor=alice, user_id=bob.pk)
        services.send_message(
            actor=bob, room_id=room.id, body="farewell", client_message_id=uuid.uuid4()
        )
        User.objects.filter(pk__in=(bob.pk, carol.pk)).update(is_active=False)
        answer: Any = client.get(f"/chat/{room.slug}/", follow=True)
        assert answer.status_code == 200
        assert "farewell" in answer.text
        opened: Any = client.post("/chat/direct/", {"username": "bob"})
        assert opened.url == "/chat/direct/bob/"
        assert client.get("/chat/direct/carol/").status_code == 404
        assert client.post("/chat/direct/", {"username": "carol"}).status_code == 404

    @pytest.mark.parametrize("names", [("bob", "nobody"), ("nobody", "bob")])
    def test_nobody_can_find_out_who_is_here(
        self, client: Client, alice: User, bob: User, carol: User, names: tuple[str, str]
    ) -> None:
        services.open_direct(actor=alice, user_id=carol.pk)
        for _ in range(limits.SEARCHES.count):
            assert client.get(f"/chat/direct/{names[0]}/").status_code in {200, 404}
        for name in names:
            answers: list[Any] = [
                client.get(f"/chat/direct/{name}/"),
                client.post("/chat/direct/", {"username": name}),
            ]
            for answer in answers:
                assert answer.status_code == 429
                assert answer.context["username_error"] in answer.text
        answers = [
            client.post("/chat/api/direct/", {"user": user}, "application/json")
            for user in (bob.pk, 10**9)
        ]
        assert [answer.status_code for answer in answers] == [429, 429]
        assert client.get("/chat/direct/carol/").status_code == 200, "one's own can be read"

    def test_who_begins_too_many_conversations_is_told(
        self, client: Client, bob: User, carol: User, settings: Any
    ) -> None:
        settings.DJWSBRIDGE_DIRECT_RATE = (1, 3600.0)
        assert client.post("/chat/direct/", {"username": "bob"}).status_code == 302
        refused: Any = client.post("/chat/direct/", {"username": "carol"})
        assert refused.status_code == 429
        assert refused.context["username_error"] in refused.text

    def test_a_post_opens_it(self, client: Client, bob: User) -> None:
        answer: Any = client.post("/chat/direct/", {"username": " bob "})
        assert answer.url == "/chat/direct/bob/"
        assert Room.objects.count() == 1

    def test_a_post_with_nobody_says_so(self, client: Client) -> None:
        answer: Any = client.post("/chat/direct/", {"username": "nobody"})
        assert answer.status_code == 404
        assert answer.context["username"] == "nobody"
        assert answer.context["username_error"] in answer.text


def test_an_error_that_no_page_explains_is_not_hidden(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise CommandError(ErrorCode.BUSY)

    monkeypatch.setattr(services, "find_direct", fail)
    with pytest.raises(CommandError):
        client.get("/chat/direct/bob/")


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        (1, "tone-2"),
        (2, "tone-3"),
        (42, "tone-5"),
        (None, "tone-3"),
        ("6fa459ea-ee8a-3ca4-894e-db77e160355e", "tone-5"),
    ],
)
def test_the_tone_of_a_person_is_the_one_that_the_page_chooses(
    user_id: object, expected: str
) -> None:
    """`tests/js/dom.test.js` has the same rows."""
    assert tone(user_id) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0"), (99, "99"), (100, "99+"), ("", "")])
def test_a_count_of_unread_messages_has_two_digits(count: Any, expected: str) -> None:
    assert badge(count) == expected
