"""What proxies, HTTP/2 front-ends and their visitors do to headers, cookies and paths, under real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import StartSite
from tests.integration.chat.conftest import Person, Socket
from tests.lasting_site import vacate
from tests.security.raw_websocket import CLOSED, exchange
from tests.servers import TIMEOUT, ServerName, Site

SignUp = Callable[[Site, str], Person]
V1: Any = "djwsbridge.v1"


@pytest.fixture(scope="module", params=["fast", "daphne"])
def lasting_site(request: pytest.FixtureRequest, start_lasting_site: StartSite) -> Site:
    server: ServerName = request.param
    return start_lasting_site(server)


@pytest.fixture
def site(lasting_site: Site) -> Site:
    return vacate(lasting_site)


def who_is_let_in(
    site: Site, *headers: tuple[str, str], path: str = "/ws/bridge/"
) -> dict[str, Any]:
    """Open a socket with more headers, and return the user that the server takes its client for."""
    opening = connect(
        site.ws_url + path,
        origin=site.url,  # type: ignore[arg-type]
        additional_headers=headers,
        subprotocols=[V1],
        open_timeout=TIMEOUT,
        proxy=None,
    )
    with opening as connection:
        socket = Socket(connection)
        socket.send(id=1, cmd="connect")
        user: dict[str, Any] = socket.wait_for(id=1)["ok"]["user"]
        return user


def session_of(person: Person) -> tuple[str, str]:
    return ("Cookie", f"sessionid={person.client.cookies['sessionid']}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, UpGrAdE", "Upgrade": "WebSocket"},
        {"Connection": " ,upgrade ,keep-alive", "Upgrade": "websocket"},
        {"Connection": None, "connection": "upgrade", "Upgrade": None, "upgrade": "websocket"},
    ],
)
def test_an_upgrade_is_one_in_whatever_case(site: Site, headers: dict[str, str | None]) -> None:
    assert exchange(site, headers) == 101


@pytest.mark.parametrize(
    "path",
    ["/ws/bridge/", "/ws/bridge", "/ws/br%69dge/", "/ws%2Fbridge/", "/ws/bridge/?x=%2F#"],
)
def test_the_path_is_the_one_that_it_means(site: Site, sign_up: SignUp, path: str) -> None:
    assert who_is_let_in(site, session_of(sign_up(site, "ann")), path=path)["name"] == "ann"


@pytest.mark.parametrize("path", ["/ws//bridge/", "/ws/bridge//", "/ws/bridge/%FF", "/%ff%zz"])
def test_another_path_is_refused(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        who_is_let_in(site, path=path)
    # Daphne has one answer for all that is refused.
    assert refused.value.response.status_code == (403 if site.server == "daphne" else 404)


def test_the_absolute_form_is_the_same_address(site: Site) -> None:
    target = f"{site.url}/ws/bridge/"
    assert exchange(site, {}, target=target) == 101
    assert exchange(site, {}, target=f"{target}?token=x") == 403
    assert exchange(site, {}, target=f"{site.url}/ws/") in {403, 404}
    assert exchange(site, {}, target="http://[::1/ws/bridge/") in {400, 403, CLOSED}


NAMES = ["X-Forwarded-Prefix", "X-Script-Name", "Script-Name", "Daphne-Root-Path"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_that_a_visitor_claims_reaches_nobody_else(
    site: Site, sign_up: SignUp, name: str
) -> None:
    ann, ben = sign_up(site, "ann"), sign_up(site, "ben")
    socket = ben.connect()
    claim = {name: "/evil"}
    assert who_is_let_in(site, session_of(ann), *claim.items())["name"] == "ann"
    page = ann.client.get("/chat/", headers=claim).text
    if name != "Daphne-Root-Path" or site.server != "daphne":
        assert "/evil" not in page
    assert ann.client.get("/chat/", headers=claim).url.path == "/chat/"
    fields = {"username": "ben", "csrfmiddlewaretoken": ann.csrf_token}
    ann.client.post("/chat/direct/", data=fields, headers=claim)
    pushed = socket.wait_for(push="room.joined")
    assert pushed["data"]["room"]["url"] == "/chat/direct/ann/"


def test_cookies_in_several_headers_are_one_list(
    start_lasting_site: StartSite, sign_up: SignUp
) -> None:
    site = start_lasting_site("fast")
    ann = sign_up(site, "ann")
    session, others = session_of(ann), ("Cookie", "a=1; b=2")
    for cookies in ([session, others], [others, session]):
        assert who_is_let_in(site, *cookies)["name"] == "ann"
        ann.client.cookies.clear()
        page = ann.client.get("/chat/", headers=cookies)
        assert (page.status_code, page.url.path) == (200, "/chat/")
