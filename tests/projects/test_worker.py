"""Worker processes push; the site has the engine on Redis."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import DEPLOY, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, redis_url: str) -> None:
    project = Project("worker", deploy=DEPLOY, beside="work")
    await run_project(project, REDIS_URL=redis_url)
