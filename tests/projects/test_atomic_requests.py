"""Each request is a transaction, and threads keep their connections."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project
from tests.servers import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, postgres: PostgresServer) -> None:
    url = postgres.create_database("atomic_requests")
    await run_project(Project("atomic_requests"), DATABASE_URL=url)
