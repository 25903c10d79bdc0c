"""What is said of a database that is not set up for this: each with its remedy."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from djwsbridge.documentation import DOCUMENTATION
from djwsbridge.log import durability

PRAGMAS = '"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"'
SOUND = {"PRAGMA synchronous": "2", "PRAGMA journal_mode": "wal", "transaction_mode": "IMMEDIATE"}


class Connection:
    vendor = "sqlite"

    def __init__(self, mode: str | None) -> None:
        self.settings_dict = {"OPTIONS": {"transaction_mode": mode}}

    def is_in_memory_db(self) -> bool:
        return False


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that says what is found in an SQLite with these settings."""

    def find(**changed: str | None) -> list[str]:
        answers = {**SOUND, **{name.replace("_", " ", 1): to for name, to in changed.items()}}
        connection = Connection(changed.get("transaction_mode", "IMMEDIATE"))
        monkeypatch.setattr(durability.store, "using", lambda: "default")
        monkeypatch.setattr(durability, "connections", {"default": connection})
        monkeypatch.setattr(durability, "_ask", lambda statement: answers[statement])
        return durability.weaknesses()

    return find


def test_of_a_sound_database_nothing_is_said(sentences: Any) -> None:
    assert sentences() == []
    assert sentences(transaction_mode="exclusive") == []


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"PRAGMA_synchronous": "1"}, "a power cut", PRAGMAS),
        ({"PRAGMA_journal_mode": "delete"}, "wait for each other", PRAGMAS),
        ({"transaction_mode": None}, "two write at once", '"transaction_mode": "IMMEDIATE"'),
    ],
)
def test_a_weakness_comes_with_its_remedy(
    sentences: Any, changed: dict[str, str], what: str, remedy: str
) -> None:
    [sentence] = sentences(**changed)
    assert what in sentence
    assert f"Put {remedy} into its OPTIONS. " in sentence
    assert DOCUMENTATION in sentence


@pytest.mark.django_db
def test_of_a_database_in_memory_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test databases of most projects are in memory: there is no journal to set, and nothing to keep."""
    in_memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    monkeypatch.setitem(
        connections.settings, "memory", {**connections.settings["default"], **in_memory}
    )
    monkeypatch.setattr(durability.store, "using", lambda: "memory")
    try:
        assert durability.weaknesses() == []
    finally:
        connections["memory"].close()
        del connections["memory"]
