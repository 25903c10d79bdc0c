"""The site is below a path of its host, behind nginx."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy_rig import Nginx
from tests.projects.conftest import RunProject
from tests.projects.project import Project
from tests.projects.rig import DIRECTORY
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, tmp_path: Path) -> None:
    port = free_port()
    locations = (DIRECTORY / "subpath" / "locations.conf").read_text()
    command = ["nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"]
    nginx = Nginx(command, directory=tmp_path, upstreams=[port, port], locations=locations)
    try:
        nginx.start()
        await run_project(Project("subpath", root="/app"), port=port, public_port=nginx.port)
    finally:
        nginx.stop()
