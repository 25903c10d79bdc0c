"""Two workers of uvicorn under gunicorn."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import DEPLOY, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, redis_url: str) -> None:
    project = Project("gunicorn", server="gunicorn", deploy=DEPLOY, pushes_by="command")
    await run_project(project, REDIS_URL=redis_url)
