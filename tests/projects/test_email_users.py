"""Users log in by e-mail address."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


PEOPLE = tuple({"email": f"{name}@example.com"} for name in ("ann", "ben.b", "cleo+chat"))


async def test_every_step(run_project: RunProject) -> None:
    await run_project(Project("email_users", people=PEOPLE))
