"""Cross-site WebSocket hijacking with a real browser: row H26 of the promises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.security.rig import PATH, Target

# What a page does that wants to read its visitor's messages.
HIJACK = """
([url, subprotocols]) => new Promise((resolve) => {
  const socket = new WebSocket(url, subprotocols);
  const seen = [];
  socket.onopen = () => {
    seen.push("open");
    if (subprotocols.length) socket.send('{"id": 1, "cmd": "connect"}');
    else socket.send('{"type": "text", "message": "hello", "recipient": null}');
  };
  socket.onmessage = (event) => { seen.push(event.data); resolve(seen); };
  socket.onclose = () => { seen.push("closed"); resolve(seen); };
})
"""


class Page(BaseHTTPRequestHandler):
    """An empty page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href='data:,'><title>evil</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def foreign_url() -> Iterator[str]:
    """Serve a page on another port of the victim's host: cookies go there, origins do not match."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("subprotocols", [[], ["djwsbridge.v1"]], ids=["plain", "v1"])
def test_h26_a_foreign_page_opens_nothing(
    target: Target,
    foreign_url: str,
    open_page: Callable[..., Any],
    complaints: Any,
    subprotocols: list[str],
) -> None:
    name, _, value = target.cookie_of("alice").partition("=")
    page = open_page()
    page.context.add_cookies([{"name": name, "value": value, "url": target.site.url}])
    address = [f"{target.site.ws_url}{PATH}", subprotocols]

    complaints.allow("WebSocket connection to .* failed")
    page.goto(foreign_url)
    assert page.evaluate(HIJACK, address) == ["closed"]

    page.goto(f"{target.site.url}/chat/")
    opened, first = page.evaluate(HIJACK, address)
    assert opened == "open"
    assert first != "closed"
