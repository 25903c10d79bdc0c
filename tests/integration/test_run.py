"""`make run`, and the commands that the README gives."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers import ROOT, TIMEOUT, Process, child_environment, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def run_script(port: int | str, *, database: Path) -> Process:
    return Process(
        [sys.executable, "scripts/run.py", str(port)],
        log=database.with_suffix(".log"),
        env={"DATABASE_URL": f"sqlite:///{database}"},
    )


def wait_for_login_page(process: Process, port: int) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/accounts/login/").status_code == 200
        except httpx.TransportError:
            return False

    process.wait_ready(answers)


def count_messages(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM djwsbridge_chat_message")
    connection.close()
    return int(count)


def test_run_serves_demo_data_and_keeps_it(tmp_path: Path) -> None:
    database, port = tmp_path / "demo.sqlite3", free_port()
    process = run_script(port, database=database)
    counts = []
    for _ in range(2):
        try:
            process.start()
            wait_for_login_page(process, port)
        finally:
            status = process.stop(signal.SIGINT)
        assert status in {0, 130, -signal.SIGINT}
        counts.append(count_messages(database))
    assert counts[0] == counts[1] > 0
    assert f"http://127.0.0.1:{port}/" in process.log
    assert "alice" in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٨٠٠٠"])
def test_run_refuses_what_is_no_port(tmp_path: Path, port: str) -> None:
    assert refusal(tmp_path, port) == f"PORT={port} is no port: choose a number from 1 to 65535."


def test_run_says_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = f"Port {port} is taken by another program. Try: make run PORT={port + 1}"
        assert refusal(tmp_path, str(port)) == expected


@pytest.mark.parametrize("url", ["foo", "mysql://user:hush@127.0.0.1/site", "postgres://h:hush/x"])
def test_an_address_of_no_database_is_said_in_a_sentence(tmp_path: Path, url: str) -> None:
    said = refusal(tmp_path, "8000", url=url)
    assert said.startswith("DATABASE_URL is no address that this site knows: write postgres://")
    assert "hush" not in said


@pytest.mark.parametrize(
    "url", ["postgres://user:hush@127.0.0.1:1/site", "sqlite:////nowhere/site.sqlite3"]
)
def test_a_database_that_does_not_answer_is_said_in_a_sentence(tmp_path: Path, url: str) -> None:
    said = refusal(tmp_path, str(free_port()), url=url)
    assert "The database of DATABASE_URL does not answer" in said
    assert "hush" not in said
    assert "Traceback" not in said


def refusal(tmp_path: Path, port: str, *, url: str | None = None) -> str:
    """Run the script where it cannot serve; return its one line."""
    url = url or f"sqlite:///{tmp_path / 'unused.sqlite3'}"
    done = subprocess.run(
        [sys.executable, "scripts/run.py", port],
        cwd=ROOT,
        env=child_environment({"DATABASE_URL": url}),
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.rstrip("\n")


@pytest.mark.parametrize(
    "command",
    [
        "daphne -b 0.0.0.0 -p {port} config.asgi:application",
        "uvicorn --port {port} config.asgi:application",
    ],
)
def test_either_server_serves_without_more_options(
    tmp_path: Path, sqlite_url: str, command: str
) -> None:
    port = free_port()
    server = Process(
        [sys.executable, "-m", *command.format(port=port).split()],
        log=tmp_path / "server.log",
        env={"DATABASE_URL": sqlite_url},
    )
    try:
        server.start()
        wait_for_login_page(server, port)
    finally:
        server.stop()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_when_it_begins_and_when_it_has_ended(
    tmp_path: Path, sqlite_url: str, number: signal.Signals
) -> None:
    port = free_port()
    server = Process(
        [sys.executable, "manage.py", "djwsbridge_serve", "--port", str(port)],
        log=tmp_path / "server.log",
        env={"DATABASE_URL": sqlite_url},
    )
    begun = f"Serving config.asgi:application at http://127.0.0.1:{port} (1 process)"
    try:
        server.start()
        wait_for_login_page(server, port)
        assert begun in server.log.splitlines()
        assert "has ended" not in server.log
    finally:
        status = server.stop(number)
    assert status == (-number if number == signal.SIGTERM else 0)
    assert server.log.splitlines()[-1] == "The server has ended."
    assert "Traceback" not in server.log


def test_serve_with_several_processes_says_it_once(
    tmp_path: Path, sqlite_url: str, redis_url: str
) -> None:
    port = free_port()
    server = Process(
        [sys.executable, "manage.py", "djwsbridge_serve", "--port", str(port), "--workers", "2"],
        log=tmp_path / "server.log",
        env={"DATABASE_URL": sqlite_url, "REDIS_URL": redis_url},
    )
    try:
        server.start()
        wait_for_login_page(server, port)
    finally:
        server.stop()
    assert server.log.count("Serving config.asgi:application at ") == 1
    assert "(2 processes)" in server.log
    assert server.log.count("The server has ended.") == 1


def test_a_worker_that_dies_leaves_a_line_in_the_log(
    tmp_path: Path, sqlite_url: str, redis_url: str
) -> None:
    port = free_port()
    server = Process(
        [sys.executable, "manage.py", "djwsbridge_serve", "--port", str(port), "--workers", "2"],
        log=tmp_path / "server.log",
        env={"DATABASE_URL": sqlite_url, "REDIS_URL": redis_url},
    )
    try:
        server.start()
        wait_for_login_page(server, port)
        worker = max(workers_of(server.pid))
        os.kill(worker, signal.SIGKILL)
        line = (
            f"ERROR djwsbridge.server The worker process {worker} has died (SIGKILL). Another one"
        )
        wait_until(lambda: line in server.log, "the line about the worker")
        wait_for_login_page(server, port)
    finally:
        server.stop()


def workers_of(pid: int) -> list[int]:
    """Return the processes of uvicorn that a process has started; the resource tracker is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]
