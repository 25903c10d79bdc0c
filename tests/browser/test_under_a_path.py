"""A site under /app, behind a real nginx that passes the prefix on or takes it away: docs/howto/under-a-path.md."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from tests.browser.conftest import PASSWORD, Person
from tests.deploy_rig import Nginx
from tests.servers import ROOT, ServerName, run_manage, serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = (ROOT / "docs" / "howto" / "under-a-path.md").read_text()
(SETTINGS,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PASSED_ON, TAKEN_AWAY = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
# Where nothing but the server's command line names the path.
WITHOUT_SETTING = 'LOGIN_URL = "login"\nSTATIC_URL = "/app/static/"\n'
ROOT_PATH = ("--root-path", "/app")
# Debian's nginx.conf has these; the shipped one serves no files.
TYPES = "types { text/javascript js; text/css css; image/svg+xml svg; }\n"


class Way(NamedTuple):
    """One way to have a site under a path."""

    server: ServerName
    settings: str
    locations: str
    options: tuple[str, ...] = ()


WAYS = {
    "setting-passed_on": Way("fast", SETTINGS, PASSED_ON),
    "setting-taken_away": Way("fast", SETTINGS, TAKEN_AWAY),
    "root_path-taken_away": Way("fast", WITHOUT_SETTING, TAKEN_AWAY, ROOT_PATH),
    "both-taken_away": Way("fast", SETTINGS, TAKEN_AWAY, ROOT_PATH),
    "daphne-setting-passed_on": Way("daphne", SETTINGS, PASSED_ON),
    "daphne-root_path-taken_away": Way("daphne", WITHOUT_SETTING, TAKEN_AWAY, ROOT_PATH),
    "daphne-root_path-passed_on": Way("daphne", WITHOUT_SETTING, PASSED_ON, ROOT_PATH),
}


# Those that run before every merge; the others differ less from these than these from each other.
QUICK = {"setting-passed_on", "root_path-taken_away", "daphne-root_path-taken_away"}


@pytest.fixture(
    params=[
        pytest.param(way, id=name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, way in WAYS.items()
    ]
)
def address(
    request: pytest.FixtureRequest, tmp_path: Path, site_env: Mapping[str, str], sqlite_url: str
) -> Iterator[str]:
    """Serve the reference project under /app, and return its address."""
    way: Way = request.param
    settings = tmp_path / "site_under_a_path.py"
    settings.write_text(f"from tests.settings_site import *\n{way.settings}")
    env = {
        **site_env,
        "DJANGO_SETTINGS_MODULE": "site_under_a_path",
        "DATABASE_URL": sqlite_url,
        "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{tmp_path}",
    }
    with ExitStack() as stack:
        files = stack.enter_context(static_files(settings, env))
        site = stack.enter_context(
            serve(way.server, directory=tmp_path, env=env, options=way.options)
        )
        locations = way.locations.replace("//mysite", "//site")
        locations = locations.replace("/srv/mysite/staticfiles/", f"{files}/")
        nginx = Nginx(
            ["nginx", "-c", "/nginx.conf", "-g", "daemon off;"],
            directory=tmp_path,
            upstreams=[site.port, site.port],
            locations=TYPES + locations,
        )
        stack.callback(nginx.stop)
        nginx.start()
        yield f"{nginx.url}/app"


@contextmanager
def static_files(settings: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Collect the static files where nginx, which may run as another user, can read them."""
    directory = tempfile.mkdtemp(prefix="djwsbridge-static-")
    try:
        Path(directory).chmod(0o755)
        with settings.open("a") as lines:
            lines.write(f"STATIC_ROOT = {directory!r}\n")
        run_manage("collectstatic", "--no-input", "--verbosity=0", env=env)
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def newcomer(open_page: Callable[..., Page], address: str) -> Callable[[str], Person]:
    """Return a function that gives somebody an account and a browser with the list of rooms in it."""

    def make(name: str) -> Person:
        person = Person(open_page(viewport={"width": 1280, "height": 800}), name)
        person.page.goto(f"{address}/accounts/signup/")
        person.page.get_by_label("Username").fill(name)
        person.page.get_by_label("Password", exact=True).fill(PASSWORD)
        person.page.get_by_label("Password confirmation").fill(PASSWORD)
        person.page.get_by_role("button", name="Sign up").click()
        person.page.wait_for_url(f"{address}/chat/")
        person.expect_status("Connected")
        return person

    return make


def addresses_in(page: Page) -> list[str]:
    """Return every address that a page has written for the browser."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("[href], [src], [action]")].flatMap((element) =>
            ["href", "src", "action"].map((name) => element.getAttribute(name)).filter(Boolean))"""
    )
    return [each for each in found if not each.startswith("#")]


# Django's `request.path` is as it came there: Daphne takes its `--root-path` from any visitor's header, too.
COMES_BACK_ELSEWHERE = "daphne-root_path-taken_away"


def test_a_chat_under_a_path(
    address: str, newcomer: Callable[[str], Person], request: pytest.FixtureRequest
) -> None:
    ann, ben = newcomer("ann"), newcomer("ben")
    ann.create_room("Harbour")
    ben.page.goto(f"{address}/chat/harbour/")
    ben.page.get_by_role("button", name="Join room").click()
    ben.expect_status("Connected")
    ann.expect_online("ann", "ben")
    ann.say("to all")
    ben.expect_message("to all")

    # A link to a person, and at the other end a room that came by a push.
    ben.page.get_by_role("complementary", name="Online").get_by_role("link", name="ann").click()
    ben.page.wait_for_url(f"{address}/chat/direct/ann/")
    ben.expect_status("Connected")
    ben.say("to ann")
    link = ann.page.get_by_role("navigation", name="Direct messages").get_by_role("link")
    assert [each for each in addresses_in(ann.page) if not each.startswith("/app/")] == []
    link.click()
    ann.page.wait_for_url(f"{address}/chat/direct/ben/")
    ann.expect_message("to ann")
    ann.page.get_by_role("button", name="Log out").click()
    ann.page.wait_for_url(f"{address}/accounts/login/")
    if COMES_BACK_ELSEWHERE not in request.node.name:
        assert_a_visitor_comes_back(address)


def assert_a_visitor_comes_back(address: str) -> None:
    """Log in on the way to a page, whose address lacks the slash at its end."""
    with httpx.Client(follow_redirects=True) as client:
        form = client.get(f"{address}/chat/harbour")
        assert [answer.headers["location"] for answer in form.history] == [
            "/app/chat/harbour/",
            "/app/accounts/login/?next=/app/chat/harbour/",
        ]
        token = client.cookies["csrftoken"]
        fields = {"csrfmiddlewaretoken": token, "username": "ann", "password": PASSWORD}
        room = client.post(form.url, data=fields)
        assert (room.status_code, str(room.url)) == (200, f"{address}/chat/harbour/")
