"""A project without time zones: it can push and store, and is told at once that it can have no log."""

from __future__ import annotations

import pytest

from tests.projects import steps
from tests.projects.conftest import RunProject
from tests.projects.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Those that need neither the log nor the chat.
STEPS = (
    steps.migrate,
    steps.check,
    steps.check_deploy,
    steps.log_in,
    steps.connect_by_cookie,
    steps.connect_by_token,
    steps.connect_by_ticket,
    steps.push_live,
    steps.store_letters,
    steps.revoke,
)


async def test_every_step_of_push_and_store(run_project: RunProject) -> None:
    trial = await run_project(Project("no_time_zones", home="/letters/"), steps=STEPS)
    settings = trial.directory / "mysite" / "settings.py"
    with settings.open("a") as file:
        file.write('INSTALLED_APPS += ["djwsbridge.log", "djwsbridge.chat"]\n')
    with pytest.raises(RuntimeError, match=r"djwsbridge_log\.E001"):
        await trial.manage("migrate")
