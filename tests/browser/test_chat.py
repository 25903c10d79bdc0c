"""People chat on the real pages: real servers, headless Chromium, one browser context each."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, meet
from tests.browser_rig import save_screenshot
from tests.servers import run_manage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import MakePerson
    from tests.browser_rig import Complaints
    from tests.servers import Site

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_two_people_meet_in_a_room(
    server: str, start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    site = start_site(server, env={"DATABASE_URL": sqlite_url})
    ann, ben = person("ann", site, **DESKTOP), person("ben", site, **DESKTOP)
    ann.sign_up()
    ann.create_room("Garden & 花园")
    ben.sign_up()
    ben.join_room("Garden & 花园")
    ann.expect_online("ann", "ben")
    ben.expect_online("ann", "ben")

    ann.say("Are the tulips out?")
    ben.expect_message("Are the tulips out?")
    ben.say("All of them.")
    ben.say("<img src=x onerror=alert(1)>")
    both = ("Are the tulips out?", "All of them.", "<img src=x onerror=alert(1)>")
    ann.expect_messages(*both)
    ben.expect_messages(*both)
    save_screenshot(ann.page, f"room-{server}")

    ann.page.reload()
    ann.expect_messages(*both)


MANY = """
from django.contrib.auth.models import User
from djwsbridge.chat.models import Membership, Room
ann, ben = User.objects.get(username="ann"), User.objects.get(username="ben")
rooms = Room.objects.bulk_create(
    Room(kind="group", title=f"Room {n:04}", title_key=f"room {n:04}", slug=f"room-{n:04}") for n in range(1_100)
)
Membership.objects.bulk_create(Membership(room=room, user=ann) for room in rooms)
Membership.objects.bulk_create(Membership(room=room, user=ben) for room in rooms[-3:])
"""


def test_a_person_in_a_thousand_and_more_rooms_hears_of_all_of_them(
    start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    """The connection does not listen to the last hundred of them."""
    site = start_site("uvicorn", env={"DATABASE_URL": sqlite_url})
    ann, ben = person("ann", site, **DESKTOP), person("ben", site, **DESKTOP)
    ann.have_account()
    ben.have_account()
    run_manage("shell", "-c", MANY, env=site.env)
    rooms = {
        room["slug"]: room for room in ann.page.request.get("/chat/api/rooms/").json()["rooms"]
    }
    ann.open_room(rooms["room-1099"])
    ben.open_room(rooms["room-1099"])
    ben.say("Can you read this?")
    ann.expect_message("Can you read this?")
    ann.expect_online("ann", "ben")
    expect(ann.page.get_by_role("link", name=re.compile("^Room 1099"))).to_be_in_viewport()
    ann.say("At once.")
    ben.expect_message("At once.")

    ben.open_room(rooms["room-1098"])
    ben.say("Nobody looks here.")
    ben.say("Not yet.")
    link = ann.page.get_by_role("link", name=re.compile("^Room 1098"))
    expect(link.locator(".badge-count")).to_have_text("2")
    save_screenshot(ann.page, "many-rooms")
    link.click()
    ann.expect_messages("Nobody looks here.", "Not yet.")


def test_a_private_conversation_is_private(site: Site, person: MakePerson):
    ann, ben, cleo = (person(name, site, **DESKTOP) for name in ("ann", "ben", "cleo"))
    ann.sign_up()
    ann.create_room("Harbour")
    for other in (ben, cleo):
        other.sign_up()
        other.join_room("Harbour")

    # From the list of those who are online to a page of their own.
    ann.page.get_by_role("complementary", name="Online").get_by_role("link", name="ben").click()
    expect(ann.page.get_by_role("heading", level=1)).to_have_text("ben")
    ann.expect_status("Connected")
    ann.say("Between you and me")

    directs = ben.page.get_by_role("navigation", name="Direct messages")
    expect(directs.get_by_role("link", name=re.compile("ann.*1"))).to_be_visible()  # unread
    directs.get_by_role("link", name=re.compile("ann")).click()
    ben.expect_messages("Between you and me")
    save_screenshot(ben.page, "direct")

    cleo.say("What are you two whispering about?")
    cleo.expect_messages("What are you two whispering about?")
    expect(
        cleo.page.get_by_role("navigation", name="Direct messages").get_by_role("link")
    ).to_have_count(0)
    cleo.page.goto(f"{site.url}/chat/direct/ann/")
    expect(cleo.page.get_by_text("Between you and me")).to_have_count(0)


def test_losing_the_server_for_a_moment(site: Site, person: MakePerson, complaints: Complaints):
    complaints.allow("WebSocket connection|ERR_CONNECTION_REFUSED|Failed to load resource")
    ann, ben = meet(person, site)
    ann.say("Before")
    ben.expect_message("Before")

    site.kill()
    ann.expect_status("Reconnecting")
    ann.say("While it was down")
    expect(ann.message("While it was down")).to_be_visible()  # shown at once, though not sent
    save_screenshot(ann.page, "server-lost")
    site.start()

    for each in (ann, ben):
        each.expect_status("Connected")
        each.expect_messages("Before", "While it was down")
    expect(ann.page.get_by_text("Not sent")).to_have_count(0)


def test_history_loads_on_scrolling_up_and_stays_where_it_was(
    start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    # The limit for messages is not what is tested here.
    env = {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "tests.settings_without_limits"}
    site = start_site("uvicorn", env=env)
    ann = person("ann", site, **DESKTOP)
    ann.have_account()
    room = ann.post("rooms/", title="Diary")
    for number in range(1, 121):
        message = {"body": f"Entry {number}", "client_message_id": str(uuid.uuid4())}
        ann.post(f"rooms/{room['id']}/messages/", **message)

    ann.open_room(room)
    ann.expect_message("Entry 120")
    expect(ann.message("Entry 1")).to_have_count(0)
    log = ann.page.get_by_role("log", name="Messages")
    expect(log.locator(".message-body")).to_have_count(50)
    while ann.message("Entry 1").count() == 0:
        shown = log.locator(".message-body").count()
        log.evaluate("element => { element.scrollTop = 0 }")
        expect(log.locator(".message-body").nth(shown)).to_be_attached()
    assert log.locator(".message-body").all_inner_texts() == [f"Entry {n}" for n in range(1, 121)]


@pytest.mark.slow
def test_ones_own_rooms_come_first_the_one_spoken_in_last_on_top(site: Site, person: MakePerson):
    ann, ben = person("ann", site, **PHONE), person("ben", site, **DESKTOP)
    ann.sign_up()
    for title in ("Boats", "Yard", "Attic"):
        ann.page.goto("/chat/")
        ann.create_room(title)
        if title != "Attic":
            ann.say(f"About the {title}")
            ann.expect_message(f"About the {title}")
    ben.sign_up()
    ben.create_room("Apples")
    ben.join_room("Boats")

    ann.page.goto("/chat/")
    own, others = (
        ann.page.get_by_role("region", name=name).get_by_role("listitem")
        for name in ("Your rooms", "Rooms to join")
    )
    titles = own.locator(".card-title")
    expect(titles).to_have_text(["Yard", "Boats", "Attic"])
    expect(own.locator("time")).to_have_text(["just now", "just now", ""])
    expect(others.locator(".card-title")).to_have_text(["Apples"])
    for card in (*own.all(), *others.all()):
        expect(card).to_be_in_viewport()
    expect(ann.page.get_by_label("Create a room")).not_to_be_visible()
    ann.expect_status("Connected")
    titles.nth(1).focus()
    ben.say("They are ours")
    expect(titles).to_have_text(["Boats", "Yard", "Attic"])
    expect(titles.first).to_be_focused()
    expect(own.first).to_contain_text("ben: They are ours")
    expect(own.first.locator(".badge")).to_have_text(re.compile("1 unread"))
    save_screenshot(ann.page, "phone-lobby")
    ann.page.get_by_text("New room or message").press("Enter")
    expect(ann.page.get_by_label("Write to a person")).to_be_visible()


def test_on_a_phone(site: Site, person: MakePerson):
    ann, ben = person("ann", site, **PHONE), person("ben", site, **DESKTOP)
    ann.sign_up()
    ann.create_room("On the road")
    ann.say("No signal in the tunnel")
    ann.expect_messages("No signal in the tunnel")
    save_screenshot(ann.page, "phone")

    assert ann.page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing sticks out
    navigation = ann.page.get_by_role("navigation", name="Rooms")
    expect(navigation).not_to_be_in_viewport()
    ann.page.get_by_role("button", name="Rooms and direct messages").click()
    expect(navigation).to_be_in_viewport()
    expect(navigation.get_by_role("link", name="On the road")).to_be_in_viewport()
    save_screenshot(ann.page, "phone-rooms")
    ann.page.get_by_role("button", name="Close").click()
    expect(navigation).not_to_be_in_viewport()
    ann.page.get_by_role("button", name="People").click()
    people = ann.page.get_by_role("complementary", name="Online")
    expect(people).to_be_in_viewport()
    ann.page.get_by_role("button", name="Close").click()
    expect(people).not_to_be_in_viewport()
    expect(ann.page.get_by_role("button", name="People")).to_be_focused()
    ann.page.get_by_role("button", name="People").click()
    expect(people).to_be_in_viewport()
    ann.page.keyboard.press("Escape")

    ben.sign_up()
    ben.write_to("ann")
    ben.say("Are you there yet?")
    expect(
        ann.page.get_by_role("button", name="Rooms and direct messages, 1 unread")
    ).to_be_visible()


@pytest.mark.slow
def test_two_tabs_are_one_person_and_closing_one_keeps_them_online(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    second_tab = ben.page.context.new_page()
    second_tab.goto(ben.page.url)
    expect(second_tab.get_by_role("status").first).to_have_text(re.compile("Connected"))
    ann.expect_online("ann", "ben")

    second_tab.close()
    ben.say("Still here")
    ann.expect_message("Still here")
    ann.expect_online("ann", "ben")
    ben.page.context.close()
    offline = ann.page.get_by_role("complementary", name="Online").locator("[data-people=away]")
    expect(offline.get_by_role("listitem").filter(has_text="ben")).to_be_visible()


def test_mistakes_get_an_answer_that_says_what_to_do(
    site: Site,
    person: MakePerson,
    complaints: Complaints,
):
    complaints.allow("status of 40[0-9]")  # the browser's own word on a page that answers 4xx
    ann = person("ann", site, **DESKTOP)
    ann.sign_up()
    ann.page.get_by_label("Write to a person").fill("nobody")
    ann.page.get_by_role("button", name="Open", exact=True).click()
    expect(ann.page.locator("#username-error")).to_be_visible()
    ann.page.goto("/chat/no-such-room/")
    save_screenshot(ann.page, "no-such-room")
    ann.page.get_by_role("button", name="Create").click()
    expect(ann.page.get_by_role("heading", level=1)).to_have_text("no-such-room")
    ann.expect_status("Connected")


# Names that a project's own sign-up lets in: addresses, scripts, and what means something in a URL.
NAMES = [
    "a/b",
    "../admin",
    "50% off?#x",
    "ann@example.com",
    'o\'neill "<b>"',
    "~2f",
    "名前 山田",
    "api",
    "x" * 150,
]
MAKE_PEOPLE = (
    "from django.contrib.auth.models import User; [User.objects.create(username=n) for n in {}]"
)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_a_person_of_any_name_can_be_written_to(
    server: str, start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    site = start_site(server, env={"DATABASE_URL": sqlite_url})
    run_manage("shell", "-c", MAKE_PEOPLE.format(NAMES), env=site.env)
    ann = person("ann", site, **DESKTOP)
    ann.have_account()
    directs = ann.page.get_by_role("navigation", name="Direct messages")
    for name in NAMES:
        ann.write_to(name)
        address = ann.page.url
        ann.say(f"Hello {name}")
        ann.expect_message(f"Hello {name}")
        offline = ann.page.locator("[data-people=away]")
        offline.get_by_role("link").click()
        ann.expect_status("Connected")
        assert ann.page.url == address
        directs.get_by_role("link", name=name).click()
        ann.expect_messages(f"Hello {name}")
        assert ann.page.url == address


# What Safari reports of the key that takes over a Japanese word: the composition has ended already.
CONSUMED_KEY = """(field, key) => field.dispatchEvent(
  new KeyboardEvent("keydown", { key, keyCode: 229, isComposing: false, bubbles: true, cancelable: true }))"""


def test_a_key_that_an_input_method_has_consumed_does_nothing(site: Site, person: MakePerson):
    ann = person("ann", site, **PHONE)
    ann.have_account()
    room = ann.post("rooms/", title="Harbour")
    ann.page.goto("/chat/")
    ann.show_forms()
    for label in ("Create a room", "Write to a person"):
        field = ann.page.get_by_label(label)
        field.fill("にほんご")
        assert field.evaluate(
            CONSUMED_KEY, "Enter"
        )  # the page has not prevented the input method's own doing
        expect(field).to_have_value("にほんご")

    ann.open_room(room)
    box = ann.page.get_by_role("textbox", name="Message")
    box.fill("にほんご")
    assert box.evaluate(CONSUMED_KEY, "Enter")
    expect(box).to_have_value("にほんご")
    expect(ann.message("にほんご")).to_have_count(0)
    box.press("Enter")
    ann.expect_message("にほんご")

    ann.page.get_by_role("button", name="People").click()
    close = ann.page.get_by_role("complementary", name="Online").get_by_role("button", name="Close")
    expect(close).to_be_visible()
    close.evaluate(CONSUMED_KEY, "Escape")
    expect(close).to_be_visible()
    close.press("Escape")
    expect(close).not_to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["django", "django-report-only", "django-csp-report-only"])
def test_the_page_works_under_a_policy_of_django_or_one_that_is_only_reported(
    policy: str, start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    env = {
        "DATABASE_URL": sqlite_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings_csp",
        "POLICY": policy,
    }
    ann = person("ann", start_site("uvicorn", env=env), **DESKTOP)
    answer = ann.page.goto("/accounts/signup/")
    assert answer is not None
    header = "content-security-policy" + ("-report-only" if "report" in policy else "")
    assert "script-src" in answer.headers[header]
    ann.sign_up()  # the page's console would say what a policy has blocked, or would have
    ann.create_room("Harbour")
    ann.say("Hello")
    ann.expect_message("Hello")
