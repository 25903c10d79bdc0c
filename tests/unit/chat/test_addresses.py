"""Whatever characters a name has: from the form to the address to the page."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import resolve, reverse
from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.chat.addresses import NameConverter, RoomNameConverter
from djwsbridge.chat.models import Room
from djwsbridge.chat.names import RESERVED_SLUGS
from tests.servers import ROOT

VECTORS: list[dict[str, str]] = json.loads((ROOT / "tests/wire/names.json").read_text())
NAMES = [vector["name"] for vector in VECTORS]
PLAIN_NAMES = [name for name in NAMES if name.strip()]
TITLES = [
    "AC/DC",
    "..",
    "50% off?",
    "#1",
    "a\\b",
    "~",
    "50%2Foff",
    'it\'s "new"',
    "api",
    "Rooms",
    "direct",
    "日本/東京",
    "x" * 128,
]


@pytest.fixture
def client(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def as_a_browser_goes(address: str) -> str:
    """Return the path that a browser asks for: it takes `..`, also when it is quoted, for a step up."""
    dots = address.replace("%2E", ".").replace("%2e", ".")
    return urlsplit(urljoin("https://example.test/", dots)).path


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"][:20])
def test_a_name_is_one_segment_and_is_read_as_it_was(vector: dict[str, str]) -> None:
    address = reverse("djwsbridge_chat:direct", args=[vector["name"]])
    assert address == f"/chat/direct/{vector['quoted']}/"
    assert unquote(address) == f"/chat/direct/{vector['segment']}/"
    assert as_a_browser_goes(address) == address
    found = resolve(unquote(address))
    assert found.url_name == "direct"
    assert found.kwargs == {"username": vector["name"]}


@given(st.text())
def test_any_name_is_one_segment_and_is_read_as_it_was(name: str) -> None:
    for converter in (NameConverter(), RoomNameConverter()):
        segment = converter.to_url(name)
        assert "/" not in segment
        assert segment not in {"", ".", ".."}
        assert converter.to_python(segment) == name
    assert RoomNameConverter().to_url(name) not in RESERVED_SLUGS


@pytest.mark.parametrize("name", ["~ada", "a~b", "~", "~~", "100%", "ann~"])
def test_an_address_that_was_written_by_hand_finds_its_name(name: str) -> None:
    assert resolve(f"/chat/direct/{name}/").kwargs == {"username": "" if name == "~" else name}


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("name", PLAIN_NAMES, ids=lambda name: name[:20])
def test_a_conversation_is_found_under_any_name(client: Client, name: str) -> None:
    User.objects.create(username=name[:150])
    opened: Any = client.post("/chat/direct/", {"username": name[:150]})
    assert opened.status_code == 302
    page: Any = client.get(opened.url)
    assert page.status_code == 200
    assert page.context["peer"].name == name[:150]
    [room] = page.context["directs"]
    assert room.url == opened.url == as_a_browser_goes(opened.url)


@pytest.mark.django_db
def test_the_form_takes_names_as_long_as_the_model_does(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'maxlength="300"' in client.get("/chat/").content.decode()
    field = cast("Any", User._meta.get_field("username"))
    monkeypatch.setattr(field, "max_length", 254)
    assert 'maxlength="508"' in client.get("/chat/").content.decode()
    monkeypatch.setattr(field, "max_length", None)
    assert (
        '<input id="username" name="username" value="" required'
        in client.get("/chat/").content.decode()
    )


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("written", ["ﬁona ", " fiona", "ｆｉｏｎａ", "fiona"])
def test_a_name_is_found_as_the_forms_of_django_store_it(client: Client, written: str) -> None:
    User.objects.create_user("fiona")
    opened: Any = client.post("/chat/direct/", {"username": written})
    assert opened.url == "/chat/direct/fiona/"


@pytest.mark.django_db
@pytest.mark.database
def test_a_name_with_blanks_at_its_ends_comes_before_the_same_without(client: Client) -> None:
    User.objects.create(username=" fiona")
    User.objects.create(username="fiona")
    opened: Any = client.post("/chat/direct/", {"username": " fiona"})
    assert client.get(opened.url).context["peer"].name == " fiona"


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("title", TITLES, ids=lambda title: title[:20])
def test_a_room_of_any_title_is_made_and_found_by_its_title(client: Client, title: str) -> None:
    made: Any = client.post("/chat/rooms/create/", {"title": title})
    assert made.status_code == 302
    by_title = reverse("djwsbridge_chat:room", args=[title])
    for address in (made.url, by_title):
        assert as_a_browser_goes(address) == address
        page: Any = client.get(address)
        assert page.status_code == 200
        assert page.context["room"].title == title
    left: Any = client.post(reverse("djwsbridge_chat:leave-room", args=[title]))
    assert left.url == "/chat/"
    joined: Any = client.post(reverse("djwsbridge_chat:join-room", args=[title]))
    assert joined.url == made.url


@pytest.mark.django_db
def test_keys_are_written_for_programs_and_not_for_people(client: Client, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    Room.objects.create(id=12_345, kind="group", title="Books", title_key="books", slug="books")
    client.force_login(User.objects.create(pk=67_890, username="carol"))
    assert client.get("/chat/").content.decode().count('data-key="12345"') == 1
    client.post("/chat/books/join/")
    assert client.get("/chat/").content.decode().count('data-key="12345"') == 2
    assert 'data-user="67890"' in client.get("/chat/books/").content.decode()
