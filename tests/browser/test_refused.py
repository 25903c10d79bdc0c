"""A page whose socket the server refuses says so, instead of "Reconnecting…" for ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP
from tests.browser_rig import save_screenshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import MakePerson
    from tests.browser_rig import Complaints
    from tests.servers import ServerName, Site

OTHER = "https://other.example.com"
TOLD = {
    "1": ["HTTP 403", OTHER, "add its origin to DJWSBRIDGE_ALLOWED_ORIGINS"],
    "0": ["The site does not let this page connect. Please tell the people who run it."],
}


@pytest.mark.parametrize(("server", "debug"), [("fast", "1"), ("daphne", "1"), ("fast", "0")])
def test_a_page_that_is_not_let_in_says_so(
    start_site: Callable[..., Site],
    sqlite_url: str,
    person: MakePerson,
    complaints: Complaints,
    server: ServerName,
    debug: str,
) -> None:
    complaints.allow("WebSocket connection to .* failed")
    env = {
        "DATABASE_URL": sqlite_url,
        "DJANGO_SETTINGS_MODULE": "tests.security.site_settings",
        "SITE_SETTINGS": json.dumps({"DJWSBRIDGE_ALLOWED_ORIGINS": [OTHER]}),
        "DEBUG": debug,
        "HTTPS": "0",
    }
    site = start_site(server, env=env)
    ann = person("ann", site, **DESKTOP)
    ann.have_account()
    ann.page.goto("/chat/")
    ann.expect_status("Not let in")
    banner = ann.page.locator(".banner")
    for words in TOLD[debug]:
        expect(banner).to_contain_text(words)
    assert debug == "1" or OTHER not in ann.page.content()
    save_screenshot(ann.page, f"not-let-in-{server}-{debug}")
    assert f"a session cookie came from a page of '{site.url}'" in site.log


def test_a_page_that_has_lost_the_network_is_not_told_so(
    start_site: Callable[..., Site],
    sqlite_url: str,
    person: MakePerson,
    complaints: Complaints,
) -> None:
    complaints.allow("WebSocket connection|ERR_CONNECTION_REFUSED|Failed to load resource")
    site = start_site("fast", env={"DATABASE_URL": sqlite_url})
    ann = person("ann", site, **DESKTOP)
    ann.have_account()
    ann.page.goto("/chat/")
    ann.expect_status("Connected")
    with ann.page.expect_event(
        "requestfailed", predicate=lambda request: "/chat/api/socket/" in request.url
    ):
        site.kill()
    ann.expect_status("Reconnecting")
    site.start()
    ann.expect_status("Connected")
