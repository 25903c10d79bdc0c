"""The core does what the vectors say that every client does."""

from __future__ import annotations

from typing import Any

import pytest

from djwsbridge.client.backoff import Backoff
from djwsbridge.protocol.codes import CloseCode
from tests.unit.client.script import Driver, load

SCRIPTS = [
    pytest.param(script, id=f"{name}: {script['name']}")
    for name in ("life", "topics", "outbox")
    for script in load(f"client_{name}.json", "scripts")
]
CLOSINGS = load("client_closing.json", "vectors")


@pytest.mark.parametrize("vector", load("client_backoff.json", "vectors"), ids=lambda v: v["name"])
def test_back_off(vector: dict[str, Any]) -> None:
    backoff = Backoff(lambda: vector["random"])
    for _ in range(2):
        refusals = vector.get("refused", [False] * len(vector["delays_ms"]))
        delays = [round(backoff.next_delay(refused=refused) * 1000) for refused in refusals]
        assert delays == vector["delays_ms"]
        backoff.reset()


@pytest.mark.parametrize("vector", CLOSINGS, ids=lambda v: str(v["close_code"]))
def test_what_follows_a_close_code(vector: dict[str, Any]) -> None:
    driver = Driver(renewable=vector.get("renewable", True)).go_online()
    driver.give({"at": 1000})
    for push, data in (("error", vector.get("error")), ("reconnect", vector.get("reconnect"))):
        if data is not None:
            driver.give({"push": {"push": push, "data": data}})
    expected = dict(vector["expect"])
    fresh = expected.pop("fresh", False)
    closing = {"socket": "close", "code": vector["close_code"]}
    driver.expect({**closing, "expect": {"states": [expected]}})
    if expected["state"] == "waiting":
        back = 1000 + expected["delay_ms"]
        opening = {
            "states": [{"state": "connecting"}],
            "sockets": ["open fresh" if fresh else "open"],
        }
        driver.expect({"at": back, "expect": opening})
    else:
        driver.expect({"at": 600_000, "expect": {}})


def test_every_close_code_has_a_vector() -> None:
    assert {vector["close_code"] for vector in CLOSINGS} >= set(CloseCode)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script: dict[str, Any]) -> None:
    driver = Driver(
        random=script.get("random", 0.5),
        cursors=script.get("cursors"),
        renewable=script.get("renewable", True),
        ignore=tuple(script.get("ignore", ())),
    )
    if "online" in script:
        driver.go_online(script["online"])
    for step in script["steps"]:
        driver.expect(step)
