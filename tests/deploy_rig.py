"""Read the deployment's files and run what they say on this machine, without containers."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.servers import ROOT, TIMEOUT, Process, find_binary, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "COMPOSE",
    "DOCKERFILE",
    "Instruction",
    "Nginx",
    "copy_into_image",
    "read_compose",
    "read_stages",
]

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
NGINX_CONF = DEPLOY / "nginx.conf"

# ${NAME:-default} or ${NAME:?what to do}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<operator>:[-?])(?P<rest>[^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile."""

    # In capitals: FROM, RUN, ...
    name: str
    # The rest, its continuation lines joined.
    text: str

    @property
    def arguments(self) -> list[str]:
        """The words of a command that is written as a JSON list, whatever stands before it."""
        words: list[str] = json.loads(self.text[self.text.index("[") :])
        return words


def read_stages() -> list[list[Instruction]]:
    """Return the instructions of the Dockerfile, stage by stage."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stages: list[list[Instruction]] = []
    for line in filter(None, joined.splitlines()):
        name, _, text = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, text))
    return stages


def copy_into_image(instruction: Instruction, target: Path) -> None:
    """Do what a COPY from the build context does, with what `.dockerignore` lets through.

    Raises:
        ValueError: A source is not in the build context.
    """
    admitted = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    *sources, destination = instruction.text.split()
    for name in sources:
        if name not in admitted:
            raise ValueError(f"{name} is copied, but .dockerignore keeps it out")
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / destination, ignore=ignored)
        else:
            shutil.copy(source, target / destination)


def read_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the compose file with its variables filled in, as `docker compose config` would.

    Raises:
        KeyError: A variable that has no default is missing or empty.
    """

    def value(match: re.Match[str]) -> str:
        found = variables.get(match["name"])
        if found:
            return found
        if match["operator"] == ":-":
            return match["rest"]
        raise KeyError(f"{match['name']}: {match['rest']}")

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(child) for key, child in node.items()}
        if isinstance(node, list):
            return [fill(child) for child in node]
        return VARIABLE.sub(value, node) if isinstance(node, str) else node

    read: dict[str, Any] = fill(yaml.safe_load(COMPOSE.read_text()))
    return read


class Nginx(Process):
    """The shipped nginx configuration, listening on a free port in front of given servers.

    Args:
        command: how the compose file starts nginx.
        directory: for its files.
        upstreams: the ports of the servers.
        locations: in place of those of the shipped configuration.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        upstreams: Sequence[int],
        locations: str | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        text = NGINX_CONF.read_text().replace("listen 8080", f"listen 127.0.0.1:{self.port}")
        text = text.replace(" /tmp/", f" {directory}/")
        if locations is not None:
            text = f"{text.partition('location / {')[0]}{locations}}}\n}}\n"
        for number, upstream in enumerate(upstreams, start=1):
            text = text.replace(f"worker{number}:8000", f"127.0.0.1:{upstream}")
        conf = directory / "nginx.conf"
        conf.write_text(text)
        binary = find_binary("nginx", package="nginx-light")
        arguments = [str(conf) if part.endswith("/nginx.conf") else part for part in command[1:]]
        super().__init__([str(binary), *arguments], log=directory / "nginx.log")

    def start(self) -> None:
        """Start nginx and return when it accepts connections."""
        super().start()
        self.wait_ready(self._accepts)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), TIMEOUT).close()
            return True
        return False
