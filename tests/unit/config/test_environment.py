from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config.environment import read_flag, read_list, read_local_secret


@pytest.mark.parametrize(
    ("value", "word"),
    [("1", "on"), ("True", "on"), (" on ", "on"), ("0", "off"), ("no", "off"), ("", "off")],
)
def test_a_flag_is_on_or_off(monkeypatch: pytest.MonkeyPatch, value: str, word: str) -> None:
    monkeypatch.setenv("FLAG", value)
    assert read_flag("FLAG", default=word == "off") is (word == "on")


def test_a_flag_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAG", raising=False)
    assert read_flag("FLAG", default=True) is True


def test_a_flag_that_is_neither_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAG", "maybe")
    with pytest.raises(ValueError, match="FLAG"):
        read_flag("FLAG", default=True)


def test_a_list_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMES", "a.example, b.example,,")
    assert read_list("NAMES") == ["a.example", "b.example"]
    monkeypatch.delenv("NAMES")
    assert read_list("NAMES") == []


def test_the_secret_stays_and_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "local"
    secret = read_local_secret(directory)
    assert len(secret) >= 50
    assert read_local_secret(directory) == secret
    assert stat.S_IMODE((directory / "secret_key").stat().st_mode) == 0o600
    assert (directory / ".gitignore").read_text() == "*\n"


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: read_local_secret(tmp_path / "local"), range(50)))
    assert len(secrets) == 1
    assert sorted(path.name for path in (tmp_path / "local").iterdir()) == [
        ".gitignore",
        "secret_key",
    ]
