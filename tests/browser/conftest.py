"""What people do on the pages, in their own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.lasting_site import vacate
from tests.servers import TIMEOUT

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.conftest import StartSite
    from tests.servers import Site

PASSWORD = "correct horse battery"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
expect.set_options(timeout=TIMEOUT * 1000)


class Person:
    """Somebody in front of a browser of their own."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name

    def sign_up(self) -> None:
        """Create an account; that logs in, too."""
        self.page.goto("/accounts/signup/")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_label("Password confirmation").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign up").click()
        self.page.wait_for_url("**/chat/")
        self.expect_status("Connected")

    def have_account(self) -> None:
        """Create an account and be logged in, without the pages that other tests are about."""
        self.page.request.get("/accounts/signup/")
        passwords = {"password1": PASSWORD, "password2": PASSWORD}
        form = {"csrfmiddlewaretoken": self.csrf_token, "username": self.name, **passwords}
        answer = self.page.request.post("/accounts/signup/", form=form, max_redirects=0)
        assert answer.status == 302, answer.text()

    @property
    def csrf_token(self) -> str:
        """The token that goes with what changes something."""
        cookies = {one["name"]: one["value"] for one in self.page.context.cookies()}
        return cookies["csrftoken"]

    def post(self, path: str, **fields: object) -> Any:
        """Have the chat's API do something, as this person's browser would."""
        headers = {"X-CSRFToken": self.csrf_token}
        answer = self.page.request.post(f"/chat/api/{path}", data=fields, headers=headers)
        assert answer.ok, answer.text()
        return answer.json()

    def open_room(self, room: dict[str, Any]) -> None:
        """Open the page of a room that this person is in."""
        self.page.goto(f"/chat/{room['slug']}/")
        self.expect_status("Connected")

    def create_room(self, title: str) -> None:
        """Create a group and be in it."""
        self.show_forms()
        self.page.get_by_label("Create a room").fill(title)
        self.page.get_by_role("button", name="Create").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)
        self.expect_status("Connected")

    def show_forms(self) -> None:
        """Have the forms for a new room or conversation in sight, where the page does not show them by itself."""
        field = self.page.get_by_label("Create a room")
        if not field.is_visible():
            self.page.get_by_text("New room or message").click()
        expect(field).to_be_visible()

    def join_room(self, title: str) -> None:
        """Find a group in the list and join it."""
        self.page.goto("/chat/")
        self.page.get_by_role("button", name=f"Join {title}").click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)
        self.expect_status("Connected")

    def write_to(self, name: str) -> None:
        """Open the private conversation with somebody."""
        self.page.goto("/chat/")
        self.show_forms()
        self.page.get_by_label("Write to a person").fill(name)
        self.page.get_by_role("button", name="Open", exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(name)
        self.expect_status("Connected")

    def say(self, text: str) -> None:
        """Write a message and press Enter."""
        box = self.page.get_by_role("textbox", name="Message")
        box.fill(text)
        box.press("Enter")
        expect(box).to_have_value("")

    def message(self, text: str) -> Locator:
        """Return the message with this text."""
        return self.page.get_by_role("log", name="Messages").get_by_text(text, exact=True)

    def expect_message(self, text: str) -> None:
        """Wait until a message is shown, once."""
        expect(self.message(text)).to_have_count(1)
        expect(self.message(text)).to_be_visible()

    def expect_messages(self, *texts: str) -> None:
        """Wait until exactly these messages are shown, in this order."""
        log = self.page.get_by_role("log", name="Messages")
        expect(log.locator(".message-body")).to_have_text(list(texts))

    def expect_mark(self, text: str, mark: str) -> None:
        """Wait until one's own message says how far it has come."""
        log = self.page.get_by_role("log", name="Messages")
        message = log.locator(".message").filter(has=self.page.get_by_text(text, exact=True))
        expect(message.get_by_role("img", name=mark, exact=True)).to_be_visible()

    def expect_status(self, text: str) -> None:
        """Wait until the status line of the connection begins so."""
        expect(self.page.get_by_role("status").first).to_have_text(re.compile(rf"^\s*{text}"))

    def expect_online(self, *names: str) -> None:
        """Wait until these people are listed as online."""
        region = self.page.get_by_role("complementary", name="Online")
        for name in names:
            expect(region.get_by_role("listitem").filter(has_text=name)).to_be_visible()


MakePerson = Callable[..., Person]


def meet(person: MakePerson, site: Site) -> tuple[Person, Person]:
    """Return two people who are in one room, Harbour, and it is open before both."""
    ann, ben = person("ann", site, **DESKTOP), person("ben", site, **DESKTOP)
    ann.have_account()
    room = ann.post("rooms/", title="Harbour")
    ben.have_account()
    ben.post(f"rooms/{room['id']}/join/")
    for each in (ann, ben):
        each.open_room(room)
    ann.expect_online("ann", "ben")
    return ann, ben


@pytest.fixture(scope="module")
def lasting_site(start_lasting_site: StartSite) -> Site:
    """Serve one site to all tests of a module that need no settings of their own."""
    return start_lasting_site("uvicorn")


@pytest.fixture
def site(lasting_site: Site) -> Site:
    """Return that site with nobody on it; a test may kill it and start it again."""
    return vacate(lasting_site)


@pytest.fixture
def person(open_page: Callable[..., Page]) -> MakePerson:
    """Return a function that gives somebody a browser: `person("alice", site)`."""

    def make(name: str, site: Site, **options: object) -> Person:
        return Person(open_page(base_url=site.url, **options), name)

    return make
