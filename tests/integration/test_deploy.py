"""Every command in the Dockerfile and in the compose file, run on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.deploy_rig import COMPOSE, DOCKERFILE, copy_into_image, read_compose, read_stages
from tests.servers import ROOT, TIMEOUT, Process, child_environment, find_binary, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.servers import PostgresServer

pytestmark = pytest.mark.slow

VARIABLES = {"SECRET_KEY": "not a secret, but long enough for a test", "POSTGRES_PASSWORD": "x"}


@pytest.fixture
def compose() -> dict[str, Any]:
    return read_compose(VARIABLES)


@pytest.fixture
def settings(compose: dict[str, Any], postgres_site_url: str, redis_url: str) -> dict[str, str]:
    """Return the environment of a worker, with the services of this machine."""
    declared = compose["services"]["worker1"]["environment"]
    return {**declared, "DATABASE_URL": postgres_site_url, "REDIS_URL": redis_url}


def run(command: Sequence[str] | str, *, cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=cwd,
        env=child_environment(env),
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT * 10,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image's files with the Dockerfile's own commands; return where they lie."""
    root = tmp_path_factory.mktemp("image")
    source, app, python_directory = root / "src", root / "app", root / "bin"
    for directory in (source, app, python_directory):
        directory.mkdir()
    (python_directory / "python").symlink_to(sys.executable)
    venv = root / "venv"
    path = f"{venv}/bin:{python_directory}:{os.environ['PATH']}"
    for stage, target in zip(read_stages(), (source, app), strict=True):
        for instruction in stage:
            if instruction.name == "RUN":
                command = instruction.text.replace("/opt/venv", str(venv))
                run(command, cwd=target, env={"PATH": path})
            elif instruction.name == "COPY" and not instruction.text.startswith("--from"):
                copy_into_image(instruction, target)
    return root


def test_the_image_serves_the_site(image: Path, settings: dict[str, str], tmp_path: Path) -> None:
    final = {instruction.name: instruction for instruction in read_stages()[-1]}
    port = str(free_port())
    python = str(image / "venv" / "bin" / "python")
    command = [python, *final["CMD"].arguments[1:]]
    command[command.index("8000")] = port
    command[command.index("0.0.0.0")] = "127.0.0.1"
    probe = [part.replace(":8000", f":{port}") for part in final["HEALTHCHECK"].arguments]
    server = Process(command, log=tmp_path / "server.log", env=settings, cwd=image / "app")
    try:
        server.start()
        server.wait_ready(
            lambda: (
                subprocess.run([python, *probe[1:]], check=False, capture_output=True).returncode
                == 0
            )
        )
    finally:
        status = server.stop()
    assert status in {0, -15}
    assert "Traceback" not in server.log


def test_the_image_holds_no_tool_and_is_not_root(image: Path) -> None:
    assert not (image / "venv" / "bin" / "pip").exists()
    user = next(one.text for one in read_stages()[-1] if one.name == "USER")
    assert user.split(":")[0] not in {"root", "0"}


def test_migrate_makes_the_tables(
    compose: dict[str, Any], settings: dict[str, str], postgres: PostgresServer
) -> None:
    url = postgres.create_database("fresh")
    command = compose["services"]["migrate"]["command"]
    printed = run([sys.executable, *command[1:]], cwd=ROOT, env={**settings, "DATABASE_URL": url})
    postgres.drop_database("fresh")
    assert "djwsbridge_chat.0001_initial... OK" in printed


def test_postgresql_is_probed(compose: dict[str, Any], postgres: PostgresServer) -> None:
    program, *arguments = compose["services"]["postgres"]["healthcheck"]["test"][1:]
    binary = find_binary(program, package="postgresql", directories=["/usr/lib/postgresql/*/bin"])
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port)}
    assert "accepting connections" in run([str(binary), *arguments], cwd=ROOT, env=env)


def test_redis_is_started_and_probed(compose: dict[str, Any], tmp_path: Path) -> None:
    declared = compose["services"]["redis"]
    port = str(free_port())
    program, *arguments = declared["command"]
    binary = find_binary(program, package="redis-server")
    server = Process(
        [str(binary), *arguments, "--port", port], log=tmp_path / "redis.log", cwd=tmp_path
    )
    probe, *words = declared["healthcheck"]["test"][1:]
    client = [str(find_binary(probe, package="redis-tools")), "-p", port, *words]
    try:
        server.start()
        server.wait_ready(
            lambda: (
                "PONG" in subprocess.run(client, check=False, capture_output=True, text=True).stdout
            )
        )
    finally:
        server.stop()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_images_own_command_serves_the_site(sqlite_url: str, tmp_path: Path) -> None:
    command = next(one for one in read_stages()[-1] if one.name == "CMD").arguments
    port = free_port()
    filled = {"python": sys.executable, "0.0.0.0": "127.0.0.1", "8000": str(port)}
    server = Process(
        [filled.get(part, part) for part in command],
        log=tmp_path / "site.log",
        env={"DATABASE_URL": sqlite_url},
    )
    try:
        server.start()
        server.wait_ready(lambda: is_ready(port))
        with connect(f"ws://127.0.0.1:{port}/ws/bridge/", subprotocols=["djwsbridge.v1"]) as socket:
            socket.send('{"id": 1, "cmd": "heartbeat"}')
            assert "auth_required" in str(socket.recv(TIMEOUT))
    finally:
        assert server.stop() in {0, -signal.SIGTERM}
    assert "Traceback" not in server.log


def test_workers_run_the_images_own_command(compose: dict[str, Any]) -> None:
    for name in ("worker1", "worker2"):
        assert "command" not in compose["services"][name]
        assert compose["services"][name]["image"] == compose["services"]["migrate"]["image"]


def test_only_nginx_can_be_reached_from_outside(compose: dict[str, Any]) -> None:
    assert [name for name, one in compose["services"].items() if "ports" in one] == ["nginx"]
    assert compose["networks"]["inside"]["internal"] is True
    for name, service in compose["services"].items():
        assert ("outside" in service["networks"]) is (name == "nginx")


def test_every_service_that_stays_up_is_probed(compose: dict[str, Any]) -> None:
    final = {instruction.name for instruction in read_stages()[-1]}
    for name, service in compose["services"].items():
        from_image = service["image"] == "djwsbridge" and "HEALTHCHECK" in final
        assert name == "migrate" or from_image or "healthcheck" in service


def test_secrets_have_no_default() -> None:
    for name in VARIABLES:
        with pytest.raises(KeyError, match=f"set {name} in deploy/.env"):
            read_compose({key: value for key, value in VARIABLES.items() if key != name})


def test_the_example_names_every_variable() -> None:
    example = (COMPOSE.parent / ".env.example").read_text()
    named = {line.partition("=")[0] for line in example.splitlines() if "=" in line[:40]}
    used = {part.split(":")[0] for part in COMPOSE.read_text().split("${")[1:]}
    assert used == {name for name in named if not name.startswith("#")}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint, "hadolint is not installed; run: make check"
    run([hadolint, str(DOCKERFILE)], cwd=ROOT, env={})
