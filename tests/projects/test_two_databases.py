"""People and messages in one database, the rest of the site in another."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project
from tests.servers import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, postgres: PostgresServer) -> None:
    project = Project("two_databases", migrations=((), ("--database=messages",)))
    urls = {
        "DATABASE_URL": postgres.create_database("two_databases"),
        "MESSAGES_URL": postgres.create_database("two_databases_messages"),
    }
    await run_project(project, **urls)
