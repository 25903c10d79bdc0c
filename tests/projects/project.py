"""What the rig must know of a project."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.servers import ServerName

__all__ = ["DEPLOY", "DEPLOY_OF_ONE_PROCESS", "Project"]

# What `check --deploy` says of a site that is reached by HTTP; and of one that has nothing between its processes.
DEPLOY = frozenset({"security.W004", "security.W008", "security.W012", "security.W016"})
DEPLOY_OF_ONE_PROCESS = DEPLOY | {"djwsbridge.W001", "djwsbridge.W004"}


@dataclass(frozen=True)
class Project:
    """How a project is started, and where its pages are."""

    # Its directory beside this file.
    name: str
    server: ServerName = "uvicorn"
    # More of the server's command line.
    options: tuple[str, ...] = ()
    # The interpreter that the project runs on.
    python: str = sys.executable
    # What all of its addresses begin with, and what those of its pages begin with then.
    root: str = ""
    pages: str = ""
    # The word before a JWT in the header.
    token_type: str = "Bearer"
    # The page that follows the login form.
    home: str = "/chat/"
    # Whether a push comes from a process of its own, `manage.py push`, or from a view of the site.
    pushes_by: Literal["view", "command"] = "view"
    # A management command that runs beside the server.
    beside: str = ""
    # The ids that `check --deploy` reports.
    deploy: frozenset[str] = DEPLOY_OF_ONE_PROCESS
    # The arguments of each `migrate`.
    migrations: tuple[tuple[str, ...], ...] = ((),)
    # The fields of three users, besides the password; the first one is what they log in with.
    people: tuple[Mapping[str, Any], ...] = tuple(
        {"username": name} for name in ("ann", "ben", "cleo")
    )
