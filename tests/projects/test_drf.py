"""The project has its own rules for everything in Django REST framework."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject) -> None:
    await run_project(Project("drf", token_type="JWT"))
