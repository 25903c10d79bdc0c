"""`manage.py djwsbridge_soak` against a real site."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import StartSite
from tests.servers import ROOT, TIMEOUT, Site, child_environment, free_port, serve
from tests.small_project import SmallProject

pytestmark = pytest.mark.slow

SECONDS = "3"


@pytest.fixture
def env(site_env: Mapping[str, str], sqlite_url: str) -> dict[str, str]:
    return {**site_env, "DATABASE_URL": sqlite_url, "DEBUG": "0", "HTTPS": "0"}


@pytest.fixture
def site(start_site: StartSite, env: dict[str, str]) -> Site:
    return start_site("uvicorn", env=env)


def start_soak(
    env: Mapping[str, str], url: str, *options: str, cwd: Path = ROOT
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "djwsbridge_soak", "--url", url, *options],
        cwd=cwd,
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


# -- users of other kinds ----------------------------------------------------------------------------------------------

PEOPLE = """
import uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

class Person(AbstractBaseUser):
    {key}
    {name} = models.{field}(unique=True{more})
    is_active = models.BooleanField(default=True)
    objects = BaseUserManager()
    USERNAME_FIELD = "{name}"
"""
UUID_KEY = "id = models.UUIDField(primary_key=True, default=uuid.uuid4)"
TEXT_KEY = "key = models.CharField(max_length=40, primary_key=True)"
KINDS = {
    "uuid-keys": {"key": UUID_KEY, "name": "email", "field": "EmailField", "more": ""},
    "text-keys": {
        "key": TEXT_KEY,
        "name": "name",
        "field": "CharField",
        "more": ", max_length=30",
    },
    "names-are-numbers": {"key": "", "name": "card", "field": "PositiveIntegerField", "more": ""},
}


@pytest.mark.parametrize("kind", KINDS)
def test_users_with_other_keys_and_names_pass(kind: str, tmp_path: Path) -> None:
    project = SmallProject(
        tmp_path,
        models=PEOPLE.format(**KINDS[kind]),
        settings='AUTH_USER_MODEL = "people.Person"\n',
    )
    project.migrate()
    with serve("fast", **project.served) as site:
        options = ("--url", site.url, "--seconds", SECONDS, "--users", "3", "--rooms", "1")
        said = project.manage("djwsbridge_soak", *options)
    found = re.search(r"sent (\d+), stored (\d+), delivered (\d+), duplicates 0, gaps 0", said)
    assert found, said
    sent, stored, delivered = map(int, found.groups())
    assert 0 < sent == stored == delivered / 3
    assert project.shell("from people.models import Person; print(Person.objects.count())") == 0


def test_a_user_model_that_needs_more_is_said_in_a_sentence(tmp_path: Path) -> None:
    team = "\nclass Team(models.Model):\n    pass\n"
    more = ")\n    team = models.ForeignKey('Team', models.CASCADE"
    models = PEOPLE.format(**{**KINDS["uuid-keys"], "more": more}) + team
    project = SmallProject(tmp_path, models=models, settings='AUTH_USER_MODEL = "people.Person"\n')
    project.migrate()
    soak = start_soak(project.env, "http://127.0.0.1:1", cwd=tmp_path)
    _, err = soak.communicate(timeout=TIMEOUT)
    assert soak.returncode == 1
    assert "needs more than a name" in err
    assert "team_id" in err
    assert "Traceback" not in err
