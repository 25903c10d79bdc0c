"""W12: no cookie, ticket or token is in the log, even where everything is logged (docs/howto/operate.md)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from config.settings import LOGGING
from tests.security.raw_websocket import CONTINUATION, TEXT, RawWebSocket, frame
from tests.security.rig import PATH, V1, Attacker, Target, ask, make_site_env, say
from tests.security.test_handshake import ticket_of
from tests.servers import ROOT, Site, free_port

DEBUG = "--log-level", "debug"
# How servers are made to say as much as they can.
COMMANDS = {
    "djwsbridge_serve": ("manage.py", "djwsbridge_serve", "--uvicorn-log-level", "debug"),
    "fast": (
        *("-m", "uvicorn", "config.asgi:application", *DEBUG),
        *("--ws", "djwsbridge.server:WebSocketProtocol"),
        *("--http", "djwsbridge.server:HTTPProtocol"),
    ),
    "our WebSocket alone": (
        *("-m", "uvicorn", "config.asgi:application", *DEBUG, "--http", "h11"),
        *("--ws", "djwsbridge.server:WebSocketProtocol"),
    ),
    "uvicorn": ("-m", "uvicorn", "config.asgi:application", *DEBUG),
    "daphne": ("-m", "daphne", "-v", "0", "config.asgi:application"),
}
# Characters of a secret's end: the library `websockets` writes the first and the last of a long frame.
TAIL = 12
# Time, level, logger.
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+) ([\w.]+) ", re.MULTILINE)


def loud_env(base: Any) -> dict[str, str]:
    settings = {**json.loads(base["SITE_SETTINGS"]), "DJWSBRIDGE_ALLOW_QUERY_TICKET": True}
    return {**base, "SITE_SETTINGS": json.dumps(settings), "LOG_LEVEL": "DEBUG"}


@pytest.fixture(params=COMMANDS)
def loud(
    request: pytest.FixtureRequest, tmp_path: Path, inhabited: Any, site_env: Any
) -> Iterator[Target]:
    """Serve the reference project, with its database, at the level DEBUG."""
    database, people = inhabited
    copy = tmp_path / "site.sqlite3"
    copy.write_bytes(database.read_bytes())
    env = loud_env(make_site_env(site_env, copy))
    site = Site(
        "daphne" if request.param == "daphne" else "uvicorn",
        application="config.asgi:application",
        port=free_port(),
        log=tmp_path / "log",
        env={"PYTHONUNBUFFERED": "1", **env},
        cwd=ROOT,
        ready_path="/healthz",
    )
    prefix = site.command[: site.command.index(sys.executable)]
    port = "-p" if request.param == "daphne" else "--port"
    site.command = [*prefix, sys.executable, *COMMANDS[request.param], port, str(site.port)]
    site.start()
    try:
        yield Target(site, env, people)
    finally:
        site.stop()


def send_in_two(target: Target, text: str) -> None:
    """Send a message as two fragments, which the library reads under every server."""
    with RawWebSocket(target.site, {"Sec-WebSocket-Protocol": V1}) as socket:
        half = len(text) // 2
        socket.send(frame(TEXT, text[:half].encode(), fin=False))
        socket.send(frame(CONTINUATION, text[half:].encode()))
        assert socket.receive()[0] == TEXT


def use_every_credential(target: Target) -> list[str]:
    """Show all kinds of secrets to a site; return them."""
    attacker = Attacker(target)
    cookie = target.cookie_of("alice")
    tokens = [target.token(jti=f"{number:032}") for number in range(4)]
    tickets = [ticket_of(target, "bob"), ticket_of(target, "carol"), ticket_of(target, "dave")]
    try:
        ask(attacker.open_v1(cookie=cookie, origin=target.site.url), "connect")
        attacker.open_v1(headers={"Authorization": f"Bearer {tokens[0]}"})
        attacker.open(subprotocols=[V1, f"djwsbridge.bearer.{tokens[1]}"])
        attacker.connect(token=tokens[2])
        say(attacker.open_v1(), {"id": 1, "cmd": "connect", "ticket": tickets[0]})
        attacker.open(f"{PATH}?ticket={tickets[1]}", subprotocols=[V1])
        send_in_two(target, json.dumps({"id": 1, "cmd": "connect", "ticket": tickets[2]}))
        with suppress(InvalidStatus):
            attacker.open(f"{PATH}?token={tokens[3]}")
        key, value = cookie.split("=")
        httpx.get(f"{target.site.url}/", cookies={key: value})
        httpx.get(f"{target.site.url}/?token={tokens[3]}")
    finally:
        attacker.leave()
    return [value, *tokens, *tickets]


def test_w12_no_secret_is_logged_at_debug(loud: Target) -> None:
    secrets = use_every_credential(loud)
    loud.site.stop()
    log = loud.site.log
    assert [secret for secret in secrets if secret[-TAIL:] in log] == []
    found = LINE.findall(log)
    assert {"DEBUG"} <= {level for level, _ in found}
    assert len(found) > 1


def test_the_recipe_is_what_the_reference_project_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    page = (ROOT / "docs" / "howto" / "operate.md").read_text()
    (recipe,) = re.findall(r"```python\n([^`]*\nLOGGING = .*?)```", page, re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(recipe, "operate.md", "exec"), found)
    assert found["LOGGING"] == LOGGING
