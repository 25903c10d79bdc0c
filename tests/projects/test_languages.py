"""Each page has its language in its address."""

from __future__ import annotations

import pytest

from tests.projects.conftest import RunProject
from tests.projects.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


PEOPLE = tuple(
    {"username": name, "id": key} for name, key in (("ann", 12_345), ("ben", 1_234), ("cleo", 7))
)


async def test_every_step(run_project: RunProject) -> None:
    await run_project(Project("languages", pages="/fr", people=PEOPLE))
