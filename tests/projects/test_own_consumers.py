"""A project had Channels consumers before it had djwsbridge; under Daphne, on a channel layer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.projects.conftest import RunProject
from tests.projects.project import DEPLOY, Project
from tests.projects.rig import Trial
from tests.projects.waiting import soon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_every_step(run_project: RunProject, redis_url: str) -> None:
    project = Project("own_consumers", server="daphne", deploy=DEPLOY, pushes_by="command")
    trial = await run_project(project, REDIS_URL=redis_url)
    await the_projects_own_consumer_is_as_it_was(trial)


async def the_projects_own_consumer_is_as_it_was(trial: Trial) -> None:
    """Reach it without a credential and with one, with query strings and subprotocols of its own."""
    ann = trial.people[0]
    url = trial.socket_url.replace("/bridge/", "/lobby/")
    query = "?token=mine&access=yours"
    async with (
        connect(url + query, proxy=None, subprotocols=["chat.v7"]) as stranger,  # type: ignore[list-item]
        connect(url, additional_headers=trial.headers(ann), proxy=None) as known,
    ):
        assert stranger.subprotocol == "chat.v7"
        assert await hear(stranger) == {"user": "AnonymousUser", "query": query[1:]}
        assert await hear(known) == {"user": ann.name, "query": ""}
        await stranger.send(json.dumps("hello"))
        assert await hear(stranger) == await hear(known) == {"said": "hello"}


async def hear(socket: Any) -> Any:
    return json.loads(await soon(socket.recv()))
