"""Row A2: no way to find out which users exist is faster than thirty tries a minute."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.security.rig import Attacker, ask, hear, say

SITE_SETTINGS: dict[str, Any] = {
    "DJWSBRIDGE_SEND_RATE": [1_000, 10.0],
    "DJWSBRIDGE_FRAME_RATE": [1_000, 60.0],
}
TRIES = 30


def guesses(attacker: Attacker, way: str, name: str) -> Any:
    """Return a function that writes to a user, by key or by name, and returns the error code; None if there is none."""
    socket = open_socket(attacker, way, name)
    target = attacker.target

    def guess(recipient: str) -> str | None:
        key = target.id_of(recipient) if recipient in target.people else 10**9
        if way == "v1":
            answer = ask(socket, "user.send", id=2, recipient=key, content="x")
            while "id" not in answer:
                answer = hear(socket)
            return answer.get("error", {}).get("code")
        if way == "plain":
            say(socket, {"content": "x", "recipient": key})
        else:
            say(socket, {"message": f"/pm {recipient} x"})
        while True:
            frame = json.loads(socket.recv(20))
            if "error" in frame:
                return str(frame["code"])
            if "sender" in frame or frame.get("type") == "private_message_delivered":
                return None

    return guess


def open_socket(attacker: Attacker, way: str, name: str) -> Any:
    if way == "v1":
        return attacker.connect(name)
    token = attacker.target.token(name)
    if way == "plain":
        return attacker.open(token=token)
    attacker.target.shell(
        "from django.contrib.auth.models import User;"
        "from djwsbridge.chat import services;"
        "from djwsbridge.chat.models import Room;"
        "Room.objects.filter(title='hall').exists() or"
        " services.create_room(actor=User.objects.get(username='frank'), title='hall')"
    )
    return attacker.open("/ws/chat/hall/", token=token)


@pytest.mark.parametrize(("way", "name"), [("v1", "alice"), ("plain", "bob"), ("pm", "carol")])
def test_a2_misses_are_counted_and_all_look_alike(attacker: Attacker, way: str, name: str) -> None:
    guess = guesses(attacker, way, name)
    codes = {guess("unknown" if n % 2 else "inactive") for n in range(TRIES)}
    assert codes == {"bad_recipient"}
    assert {guess(target) for target in ("erin", "unknown", "inactive", name)} == {"rate_limited"}


def test_a2_all_ways_are_counted_together(attacker: Attacker) -> None:
    by_key, by_name = (guesses(attacker, way, "dave") for way in ("v1", "pm"))
    for _ in range(TRIES // 2):
        assert by_key("unknown") == by_name("nobody-at-all") == "bad_recipient"
    assert by_key("erin") == by_name("erin") == "rate_limited"
