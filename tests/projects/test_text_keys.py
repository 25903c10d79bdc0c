"""The keys of users are texts with slashes, and their names have every character that a form lets through."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import DEPLOY, Project
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(300)


PEOPLE = (
    {"name": "Ann / Berlin", "key": "eu/berlin/ann"},
    {"name": "ben@work.example", "key": "../ben"},
    {"name": "Клео 花 %2F", "key": "cn=cleo,ou=people"},
)


async def test_every_step(
    run_project: RunProject, postgres: PostgresServer, redis_url: str
) -> None:
    project = Project("text_keys", server="fast", people=PEOPLE, deploy=DEPLOY, pushes_by="command")
    url = postgres.create_database("text_keys")
    await run_project(project, DATABASE_URL=url, REDIS_URL=redis_url)
