"""`manage.py djwsbridge_soak` against a real site."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing

import pytest

from tests.conftest import StartSite
from tests.servers import ROOT, TIMEOUT, Site, child_environment, free_port

pytestmark = pytest.mark.slow

SECONDS = "3"


@pytest.fixture
def env(site_env: Mapping[str, str], sqlite_url: str) -> dict[str, str]:
    return {**site_env, "DATABASE_URL": sqlite_url, "DEBUG": "0", "HTTPS": "0"}


@pytest.fixture
def site(start_site: StartSite, env: dict[str, str]) -> Site:
    return start_site("uvicorn", env=env)


def start_soak(env: Mapping[str, str], url: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "djwsbridge_soak", "--url", url, *options],
        cwd=ROOT,
        env=child_environment({**env, "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count(sqlite_url: str, table: str) -> int:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


def test_a_sound_site_passes_and_is_left_clean(
    site: Site, env: dict[str, str], sqlite_url: str
) -> None:
    out, err = start_soak(env, site.url, "--seconds", SECONDS).communicate(timeout=TIMEOUT * 2)
    found = re.search(r"sent (\d+), stored (\d+), delivered (\d+), duplicates 0, gaps 0", out)
    assert found, out + err
    sent, stored, delivered = map(int, found.groups())
    assert 0 < sent == stored
    assert delivered == 4 * stored
    tables = (
        "auth_user",
        "djwsbridge_chat_room",
        "djwsbridge_chat_message",
        "djwsbridge_log_topic",
    )
    assert [count(sqlite_url, table) for table in tables] == [0, 0, 0, 0]


def test_what_is_kept_stays(site: Site, env: dict[str, str], sqlite_url: str) -> None:
    options = ("--seconds", "1", "--users", "2", "--rooms", "1", "--keep")
    soak = start_soak(env, site.url, *options)
    out, err = soak.communicate(timeout=TIMEOUT * 2)
    assert soak.returncode == 0, out + err
    assert count(sqlite_url, "auth_user") == 2
    assert count(sqlite_url, "djwsbridge_chat_room") == 1


def test_a_server_that_never_comes_back_fails(
    site: Site, env: dict[str, str], sqlite_url: str
) -> None:
    soak = start_soak(env, site.url, "--seconds", "15", "--users", "2", "--settle", "3")
    assert soak.stdout is not None
    while "acknowledged" not in (line := soak.stdout.readline()):
        assert line, soak.communicate()
    site.kill()
    out, err = soak.communicate(timeout=90)
    assert soak.returncode == 1, out + err
    assert "never had an answer" in out
    assert "The soak was invalid." in err
    assert count(sqlite_url, "auth_user") == 0


def test_no_server_is_said_in_a_sentence(env: dict[str, str], sqlite_url: str) -> None:
    soak = start_soak(env, f"http://127.0.0.1:{free_port()}", "--seconds", "1")
    _, err = soak.communicate(timeout=TIMEOUT * 2)
    assert soak.returncode == 1
    assert "could not be reached. Does the server run there?" in err
    assert "Traceback" not in err
    assert count(sqlite_url, "auth_user") == 0


def test_another_secret_key_is_said_in_a_sentence(site: Site, env: dict[str, str]) -> None:
    other = {**env, "SECRET_KEY": "another key for tests only, long enough for every algorithm"}
    soak = start_soak(other, site.url, "--seconds", "1")
    _, err = soak.communicate(timeout=TIMEOUT * 2)
    assert soak.returncode == 1
    assert "lets nobody in" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--users", "1"), "at least two --users"),
        (("--users", "51"), "DJWSBRIDGE_CONNECTIONS_PER_ADDRESS lets 50 connections in"),
        (("--seconds", "0"), "must be more than 0"),
        (("--settle", "0"), "must be more than 0"),
    ],
)
def test_nonsense_is_refused(env: dict[str, str], options: tuple[str, ...], sentence: str) -> None:
    soak = start_soak(env, "http://127.0.0.1:1", *options)
    _, err = soak.communicate(timeout=TIMEOUT)
    assert soak.returncode == 1
    assert sentence in err
