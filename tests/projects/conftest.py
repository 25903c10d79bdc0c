"""Take a project through all steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.projects.project import Project
from tests.projects.rig import Trial
from tests.projects.runner import run_steps
from tests.projects.steps import STEPS, Step

RunProject = Callable[..., Awaitable[Trial]]


@pytest.fixture
async def run_project(tmp_path: Path) -> AsyncIterator[RunProject]:
    """Return a function that builds a project and takes it through all steps.

    `await run_project(Project("email_users"), DATABASE_URL=url)`; what is written in capitals is its environment.
    """
    async with AsyncExitStack() as stack:

        async def run(
            project: Project,
            *,
            steps: Sequence[Step] = STEPS,
            public_port: int = 0,
            port: int = 0,
            **env: str,
        ) -> Trial:
            directory = tmp_path / project.name
            directory.mkdir()
            trial = Trial(project, directory, env, stack, public_port=public_port)
            if port:
                trial.port = port
            await run_steps(trial, steps)
            return trial

        yield run
