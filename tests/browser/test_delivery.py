"""What people see of each other's doings, and what becomes of a message when something fails in between."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, Person, meet
from tests.browser_rig import save_screenshot, watch
from tests.servers import run_manage, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, WebSocket

    from tests.browser.conftest import MakePerson
    from tests.browser_rig import Complaints
    from tests.servers import Site

SERVER_LOST = "WebSocket connection|ERR_CONNECTION_REFUSED|Failed to load resource"


def count_sends(page: Page) -> list[str]:
    """Return a list that grows with the text of every message that the page hands to the server."""
    sent: list[str] = []

    def hear(frame: str | bytes) -> None:
        command = json.loads(frame)
        if command["cmd"] == "message.send":
            sent.append(command["body"])

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", hear)

    page.on("websocket", opened)
    return sent


def count_seen(site: Site) -> int:
    """Return of how many users the server has stored when they were last here."""
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        seen = "SELECT count(last_seen) FROM djwsbridge_chat_profile"
        return int(database.execute(seen).fetchone()[0])


def test_typing_is_seen_and_passes(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    line = ann.page.get_by_text("ben is typing…")
    composer = ann.page.get_by_role("textbox", name="Message")
    before = composer.bounding_box()
    ben.page.get_by_role("textbox", name="Message").press_sequentially("Tulips")
    expect(line).to_be_visible()
    assert composer.bounding_box() == before  # nothing jumps
    save_screenshot(ann.page, "typing")
    expect(line).not_to_be_visible()  # nothing more was typed

    ben.page.get_by_role("textbox", name="Message").press_sequentially(" and roses")
    expect(line).to_be_visible()
    ben.page.keyboard.press("Enter")
    ann.expect_message("Tulips and roses")
    expect(line).not_to_be_visible()
    expect(ben.page.get_by_text("is typing…")).not_to_be_visible()  # never oneself


def test_a_message_is_sent_then_delivered_then_read(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    room = ben.page.url
    ben.page.goto("about:blank")  # not here at all
    ann.say("First")
    ann.expect_mark("First", "Sent")
    ben.page.goto(room.split("/chat/")[0] + "/chat/")  # here, but elsewhere
    ann.expect_mark("First", "Delivered")
    ann.say("Second")
    ann.expect_mark("Second", "Delivered")
    save_screenshot(ann.page, "delivered")
    ben.page.goto(room)
    ann.expect_mark("First", "Read")
    ann.expect_mark("Second", "Read")
    ann.page.reload()
    ann.expect_mark("Second", "Read")


@pytest.mark.slow
def test_who_does_not_tell_what_they_read_is_shown_as_having_it(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    ben.page.get_by_role("button", name="Settings").click()
    ben.page.get_by_label("Send read receipts").uncheck()
    expect(ben.page.get_by_text("Saved.")).to_be_visible()
    save_screenshot(ben.page, "settings")
    ben.page.reload()
    ben.expect_status("Connected")
    ben.page.get_by_role("button", name="Settings").click()
    expect(ben.page.get_by_label("Send read receipts")).not_to_be_checked()
    ben.page.keyboard.press("Escape")

    ann.say("Have you seen this?")
    ben.expect_message("Have you seen this?")
    ann.expect_mark("Have you seen this?", "Delivered")
    ben.say("Seen what?")
    ann.expect_message("Seen what?")
    ann.expect_mark("Have you seen this?", "Delivered")
    ben.expect_mark("Seen what?", "Read")


def test_a_room_opens_at_the_first_unread_message(
    start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    env = {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "tests.settings_without_limits"}
    ann, ben = meet(person, start_site("uvicorn", env=env))
    room = ben.page.url
    ann.say("Read at once")
    ben.expect_message("Read at once")
    ann.expect_mark("Read at once", "Read")
    ben.page.goto(room.split("/chat/")[0] + "/chat/")
    ben.expect_status("Connected")
    for number in range(1, 31):
        ann.say(f"News {number}")
    rooms = ben.page.get_by_role("navigation", name="Rooms")
    link = rooms.get_by_role("link", name="Harbour 30 unread")
    expect(link).to_be_visible()
    expect(ben.page).to_have_title(re.compile(r"^\(30\) "))

    link.click()
    mark = ben.page.get_by_text("New messages", exact=True)
    expect(mark).to_be_in_viewport()
    expect(ben.message("News 1")).to_be_in_viewport()
    expect(ben.message("News 30")).not_to_be_in_viewport()
    order = ben.page.locator(".log-items > *").all_inner_texts()
    assert "News 1" in order[order.index("New messages") + 1]
    save_screenshot(ben.page, "first-unread")
    ben.page.get_by_role("button", name="30 new messages").click()
    ann.say("While it moves")
    expect(ben.message("While it moves")).to_be_in_viewport()
    expect(rooms.get_by_role("link", name="Harbour", exact=True)).to_be_visible()
    expect(ben.page).to_have_title(re.compile("^Harbour"))
    ann.expect_mark("While it moves", "Read")  # a page says how far it is read every two seconds
    ben.page.reload()
    ben.expect_message("While it moves")
    expect(mark).to_have_count(0)


@pytest.mark.slow
def test_who_is_away_was_last_seen(
    start_site: Callable[..., Site], sqlite_url: str, person: MakePerson
):
    # A process of its own: one that has written who was here may take a minute to write it again.
    site = start_site("uvicorn", env={"DATABASE_URL": sqlite_url})
    ann, ben = meet(person, site)
    wait_until(lambda: count_seen(site) == 2, "the server to notice both")
    ben.page.context.close()
    offline = ann.page.get_by_role("complementary", name="Online").locator("[data-people=away]")
    entry = offline.get_by_role("listitem").filter(has_text="ben")
    expect(entry).to_contain_text("Last seen just now")
    ann.page.reload()  # now as the server remembers it
    expect(entry).to_contain_text(re.compile("Last seen (just now|1 minute ago)"))
    ann.write_to("ben")
    expect(ann.page.locator(".peer-state")).to_have_text(re.compile("Last seen"))
    save_screenshot(ann.page, "last-seen")


def test_what_was_written_without_a_server_outlives_the_page_and_is_sent_once(
    site: Site, person: MakePerson, complaints: Complaints
):
    complaints.allow(SERVER_LOST)
    ann, ben = meet(person, site)
    room = ann.page.url
    site.kill()
    ann.expect_status("Reconnecting")
    ann.say("Written")
    ann.say("in the dark")
    ann.expect_mark("in the dark", "Waiting to be sent")
    expect(ann.page.locator(".banner")).to_contain_text("No connection.")
    save_screenshot(ann.page, "offline")
    ann.page.goto("about:blank")  # no question whether to leave: nothing is lost
    site.start()

    ann.page.goto(room)
    ann.expect_messages("Written", "in the dark")
    ben.expect_messages("Written", "in the dark")
    ann.expect_mark("in the dark", "Read")
    ann.page.reload()
    ann.expect_messages("Written", "in the dark")


def test_a_network_that_is_gone_is_noticed_at_once_and_what_was_written_goes_out_later(
    site: Site, person: MakePerson, complaints: Complaints
):
    complaints.allow("ERR_INTERNET_DISCONNECTED|WebSocket connection")
    ann, ben = meet(person, site)
    ann.page.context.set_offline(True)
    ann.expect_status("Checking")  # the browser's word alone proves nothing
    ann.say("Into the tunnel")
    save_screenshot(ann.page, "checking")
    ann.expect_status("Offline")
    ann.expect_mark("Into the tunnel", "Waiting to be sent")
    ann.page.context.set_offline(False)
    ann.expect_status("Connected")
    ben.expect_messages("Into the tunnel")


def test_a_browser_that_is_wrong_about_the_network_is_not_believed(site: Site, person: MakePerson):
    ann = person("ann", site)
    ann.sign_up()
    said = ann.page.evaluate(
        """async () => {
            const said = [], line = document.querySelector(".status-text");
            const seen = new Promise((resolve) => new MutationObserver(() => {
                said.push(line.textContent);
                if (said.length === 2) resolve(said);
            }).observe(line, { childList: true }));
            dispatchEvent(new Event("offline"));
            return await seen;
        }"""
    )
    assert said == ["Checking…", "Connected"]


def test_a_browser_that_keeps_nothing_can_be_written_in(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    # As in a sandboxed frame, or where the person allows sites to keep no data.
    ben.page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {"
        " get() { throw new DOMException('Access is denied.', 'SecurityError'); } });"
    )
    ben.page.reload()
    ben.expect_status("Connected")
    box = ben.page.get_by_role("textbox", name="Message")
    expect(box).to_be_focused()
    box.press_sequentially("Tulips")
    expect(ann.page.get_by_text("ben is typing…")).to_be_visible()
    ben.page.keyboard.press("Enter")
    ann.expect_messages("Tulips")


def test_a_text_that_is_too_long_says_so_until_it_is_shorter(site: Site, person: MakePerson):
    ann = person("ann", site, **DESKTOP)
    ann.sign_up()
    ann.create_room("Essays")
    box = ann.page.get_by_role("textbox", name="Message")
    send = ann.page.get_by_role("button", name="Send")
    box.fill("a" * 8100)
    problem = ann.page.get_by_role("alert").filter(has_text="at most 8,000 characters")
    expect(problem).to_contain_text("8,100")
    expect(send).to_be_disabled()
    assert box.get_attribute("aria-invalid") == "true"
    box.press("Enter")
    expect(box).not_to_have_value("")
    save_screenshot(ann.page, "too-long")
    box.fill("a" * 8000)
    expect(problem).to_have_count(0)
    expect(send).to_be_enabled()
    box.press("Enter")
    expect(box).to_have_value("")
    ann.expect_message("a" * 8000)


@pytest.mark.slow
def test_in_a_group_a_mark_tells_how_many_have_the_message(site: Site, person: MakePerson):
    ann, ben = meet(person, site)
    cleo = person("cleo", site, **DESKTOP)
    cleo.sign_up()
    cleo.join_room("Harbour")
    ann.expect_online("cleo")
    cleo.page.context.close()
    ben.page.goto("/chat/")
    ben.expect_status("Connected")
    ann.say("Who is here?")
    ann.expect_mark("Who is here?", "Delivered to 1 of 2")
    ben.page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Harbour").click()
    ann.expect_mark("Who is here?", "Delivered to 1 of 2, read by 1")


@pytest.mark.slow
def test_what_is_being_read_stays_in_its_place_while_there_is_no_connection(
    start_site: Callable[..., Site], sqlite_url: str, person: MakePerson, complaints: Complaints
):
    complaints.allow(SERVER_LOST)
    env = {"DATABASE_URL": sqlite_url, "DJANGO_SETTINGS_MODULE": "tests.settings_without_limits"}
    site = start_site("uvicorn", env=env)
    ann = person("ann", site, **DESKTOP)
    ann.sign_up()
    ann.create_room("Diary")
    for number in range(1, 41):
        ann.say(f"Entry {number}")
    ann.expect_mark("Entry 40", "Sent")
    ann.page.get_by_role("log", name="Messages").evaluate("log => { log.scrollTop = 400 }")
    box = ann.message("Entry 15").bounding_box()
    site.kill()
    banner = ann.page.locator(".banner")
    expect(banner).to_be_visible()
    log = ann.page.get_by_role("log", name="Messages").bounding_box()
    below = banner.bounding_box()
    assert log
    assert below
    assert below["y"] + below["height"] <= log["y"]  # it covers nothing
    assert ann.message("Entry 15").bounding_box() == box
    site.start()
    ann.expect_status("Connected")
    expect(banner).not_to_be_visible()
    assert ann.message("Entry 15").bounding_box() == box


def test_two_tabs_send_what_waits_once(site: Site, person: MakePerson, complaints: Complaints):
    complaints.allow(SERVER_LOST)
    ann, ben = meet(person, site)
    first, second = ann, Person(ann.page.context.new_page(), "ann")
    watch(second.page, complaints)
    sent = [count_sends(each.page) for each in (first, second)]
    first.page.reload()
    second.page.goto(first.page.url)
    for each in (first, second):
        each.expect_status("Connected")
    site.kill()
    for each in (first, second):
        each.expect_status("Reconnecting")
    first.say("One")
    second.say("Two")
    first.say("Three")
    for each in (first, second):
        each.expect_messages("One", "Two", "Three")
    site.start()

    for each in (first, second, ben):
        each.expect_messages("One", "Two", "Three")
    for each in (first, second):
        each.expect_mark("Three", "Read")
    assert sorted(sent[0] + sent[1]) == ["One", "Three", "Two"]


@pytest.mark.slow
def test_logging_out_takes_unsent_texts_along(
    site: Site, person: MakePerson, complaints: Complaints
):
    complaints.allow(SERVER_LOST)
    ann, _ = meet(person, site)
    room = ann.page.url
    site.kill()
    ann.expect_status("Reconnecting")
    ann.say("Not for the next one")
    ann.expect_mark("Not for the next one", "Waiting to be sent")
    asked: list[str] = []
    ann.page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    ann.page.get_by_role("button", name="Log out").click()
    ann.expect_mark("Not for the next one", "Waiting to be sent")
    assert asked == ["One message was not sent yet. Log out and discard it?"]
    ann.page.once("dialog", lambda dialog: dialog.accept())
    ann.page.get_by_role("button", name="Log out").click()
    expect(ann.message("Not for the next one")).to_have_count(0)
    site.start()
    ann.page.goto(room)
    ann.expect_status("Connected")
    expect(ann.message("Not for the next one")).to_have_count(0)


def test_an_erased_message_leaves_its_place(
    site: Site,
    person: MakePerson,
):
    ann, ben = meet(person, site)
    ann.say("The code is 1234")
    ann.say("Oh no")
    ben.expect_messages("The code is 1234", "Oh no")
    room, seq = ben.page.evaluate(
        "async () => { const { rooms } = await (await fetch('/chat/api/rooms/')).json();"
        " return [rooms[0].id, rooms[0].last_seq - 1]; }"
    )
    run_manage("djwsbridge_scrub", f"room.{room}", str(seq), env=site.env)
    for each in (ann, ben):
        each.page.reload()
        each.expect_status("Connected")
        each.expect_messages("This message was erased.", "Oh no")
    save_screenshot(ben.page, "erased")
