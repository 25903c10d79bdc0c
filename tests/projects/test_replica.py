"""What is read comes from a replica that is two seconds behind."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project
from tests.servers import postgres_replica, postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


BEHIND = "2s"


async def test_every_step(run_project: RunProject) -> None:
    with postgres_server() as primary, postgres_replica(primary.url) as replica:
        replica.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{BEHIND}'")
        replica.execute("SELECT pg_reload_conf()")
        await run_project(Project("replica"), DATABASE_URL=primary.url, REPLICA_URL=replica.url)
