"""Two people in front of two browsers, on the pages of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.conftest import DESKTOP
from tests.browser.conftest import Person as Visitor
from tests.browser_rig import Complaints, run_chromium, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.projects.rig import Person, Trial

__all__ = ["chat_in_chromium"]


def chat_in_chromium(trial: Trial, picture: Path) -> None:
    """Log two people in, let them write to each other in the room, and keep a picture.

    Call it in a thread of its own: Playwright's loop holds the thread as long as the browser runs.
    """
    complaints = Complaints()
    with run_chromium() as browser:
        ann, ben = (_visit(trial, browser, complaints, person) for person in trial.people[:2])
        ann.say("Are the tulips out?")
        ben.expect_message("Are the tulips out?")
        ben.say("All of them.")
        ann.expect_message("All of them.")
        ann.expect_online(ann.name, ben.name)
        ann.page.screenshot(path=picture)
        ann.page.get_by_role("complementary", name="Online").get_by_role(
            "link", name=ben.name
        ).click()
        ann.expect_status("Connected")
        ann.say("Between you and me")
        ann.expect_message("Between you and me")
    assert complaints.unexpected == []


def _visit(trial: Trial, browser: Browser, complaints: Complaints, person: Person) -> Visitor:
    """Log a person in with the form, and open the room by the link in the list."""
    page = browser.new_context(base_url=trial.origin, **DESKTOP).new_page()
    watch(page, complaints)
    visitor = Visitor(page, person.name)
    page.goto(trial.page("/accounts/login/"))
    page.locator("[name=username]").fill(person.name)
    page.locator("[name=password]").fill(person.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{trial.page('/chat/')}")
    visitor.expect_status("Connected")
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Harbour").click()
    visitor.expect_status("Connected")
    return visitor
