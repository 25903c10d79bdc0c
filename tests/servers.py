"""Start private servers for tests, wait until they answer, read their log and stop them.

Every server gets a free port of 127.0.0.1 and a directory of its own, so that several runs live
side by side. Nothing here sleeps for a fixed time: `wait_until` looks at a condition until it holds
or a deadline passes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

__all__ = [
    "ROOT",
    "SERVERS",
    "TIMEOUT",
    "PostgresServer",
    "Process",
    "RedisServer",
    "ServerName",
    "Site",
    "child_environment",
    "find_binary",
    "free_port",
    "postgres_replica",
    "postgres_server",
    "redis_server",
    "run_manage",
    "serve",
    "small_disk",
    "wait_until",
]

ROOT = Path(__file__).resolve().parent.parent

# Seconds that anything may take before a test gives up. A busy machine sets the factor; no test
# has a number of its own.
TIMEOUT = 20.0 * float(os.environ.get("DJWSBRIDGE_TEST_TIMEOUT_FACTOR", "1"))

POLL_INTERVAL = 0.02  # seconds between two looks at a condition

# A test process that is killed stops no server; then the kernel does.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()

ServerName = Literal["daphne", "uvicorn", "fast", "gunicorn"]

# How each server is started, with the limits of the shipped deployment. Daphne has none for frames: its option binds
# what the server sends as well, and a long history is longer than a frame may be.
SERVERS: dict[ServerName, tuple[str, ...]] = {
    "daphne": (
        *("daphne", "-b", "127.0.0.1", "-p", "{port}"),
        *("--websocket_timeout", "-1"),  # else a jump of the wall clock closes every socket
        "{application}",
    ),
    "uvicorn": (
        *("uvicorn", "--host", "127.0.0.1", "--port", "{port}"),
        *("--log-level", "warning", "--no-access-log"),
        *("--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
        *("--timeout-graceful-shutdown", "20"),
        "{application}",
    ),
    "fast": (  # uvicorn with our protocol classes
        *("uvicorn", "--host", "127.0.0.1", "--port", "{port}"),
        *("--log-level", "warning", "--no-access-log"),
        *("--ws", "djwsbridge.server:WebSocketProtocol"),
        *("--http", "djwsbridge.server:HTTPProtocol"),
        *("--timeout-graceful-shutdown", "20"),
        "{application}",
    ),
}

# What also serves, and needs no test of each module on it.
COMMANDS: dict[ServerName, tuple[str, ...]] = {
    **SERVERS,
    "gunicorn": (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"),
        *("--worker-class", "uvicorn_worker.UvicornWorker"),
        *("--graceful-timeout", "30", "--log-level", "warning"),
        "{application}",
    ),
}

Value = TypeVar("Value")


def find_binary(name: str, *, package: str, directories: Sequence[str] = ()) -> Path:
    """Find a program on this machine.

    Args:
        name: What the program is called.
        package: The Debian package that brings it; named in the error.
        directories: Glob patterns of directories to search besides PATH, the best match last.

    Raises:
        FileNotFoundError: The program is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if found:
        return Path(found)
    for pattern in directories:
        matches = sorted(Path("/").glob(f"{pattern.lstrip('/')}/{name}"))
        if matches:
            return matches[-1]
    raise FileNotFoundError(
        f"{name} is not installed; the tests need it. Run: apt-get install {package}"
    )


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Value], what: str, *, timeout: float | None = None) -> Value:
    """Return the first true value of `condition`.

    Args:
        condition: Looked at again and again; exceptions pass through.
        what: What is being waited for; the text of the error.
        timeout: Seconds to wait; `TIMEOUT` unless told.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    deadline = time.monotonic() + (TIMEOUT if timeout is None else timeout)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up waiting for {what}")
        time.sleep(POLL_INTERVAL)


def child_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without its Django settings, and `env` on top."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    return {**inherited, **env}


class Process:
    """A server that a test started: its process, its log file and how to end it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        user: str | None = None,
    ) -> None:
        # What to start, again after a stop.
        self.command = [*DIE_WITH_PARENT, *command]
        self.cwd = cwd
        self.env = child_environment(env or {})
        self.user = user
        # Where stdout and stderr go, appended over all starts.
        self.log_path = log
        # None before the first start.
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; the caller then waits until it answers."""
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=_group_of(self.user),
                extra_groups=_extra_groups_of(self.user),
            )

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._popen is None:
            raise RuntimeError(f"{self.command[0]} was not started")
        return self._popen

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.popen.pid

    @property
    def log(self) -> str:
        """Everything that the process has printed."""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds, and fail with the log when the process ends before.

        Raises:
            RuntimeError: The process ended, or never answered.
        """

        def answers() -> object:
            if self.popen.poll() is not None:
                raise RuntimeError(
                    f"{' '.join(self.command)} ended with {self.popen.returncode}:\n{self.log}"
                )
            return condition()

        try:
            wait_until(answers, f"{self.command[0]} to answer")
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{' '.join(self.command)} does not answer:\n{self.log}") from error

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal when the process still runs."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask the process to end, insist after `TIMEOUT`, and return its exit status."""
        if self._popen is None:
            return None
        self.send_signal(number)
        try:
            return self._popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int | None:
        """End the process at once, as a crash would."""
        if self._popen is None:
            return None
        self.send_signal(signal.SIGKILL)
        return self._popen.wait(TIMEOUT)


class Site(Process):
    """A site under one of `COMMANDS`; `start`, `stop`, `kill` and `start` again keep its port."""

    def __init__(
        self,
        server: ServerName,
        *,
        application: str,
        port: int,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        ready_path: str,
        python: str = sys.executable,
        options: Sequence[str] = (),
    ) -> None:
        arguments = [part.format(port=port, application=application) for part in COMMANDS[server]]
        super().__init__([python, "-m", *arguments, *options], log=log, env=env, cwd=cwd)
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"
        # The page that tells that the site is up.
        self.ready_path = ready_path

    def start(self) -> None:
        """Start the server and return when it answers."""
        super().start()
        self.wait_answer()

    def wait_answer(self) -> None:
        """Return when the server answers, after `Process.start` has started it."""
        self.wait_ready(lambda: self.status(self.ready_path) in range(1, 500))

    def status(self, path: str) -> int:
        """Return the HTTP status of a page, 0 when nobody answers."""
        request = urllib.request.Request(f"{self.url}{path}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                status: int = response.status
                return status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0


class RedisServer(Process):
    """A Redis that keeps nothing on disk.

    Args:
        directory: For its files.
        options: More of its command line.
        port: A free one unless told.
    """

    def __init__(
        self, directory: Path, *, options: Sequence[str] = (), port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        arguments = (
            *("--bind", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--dir", str(directory)),
            *("--save", ""),
            *("--appendonly", "no"),
            *options,
        )
        binary = find_binary("redis-server", package="redis-server")
        super().__init__([str(binary), *arguments], log=directory / f"redis-{self.port}.log")

    def start(self) -> None:
        """Start the server and return when it answers."""
        super().start()
        self.wait_ready(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class PostgresServer(Process):
    """A PostgreSQL with an empty database `djwsbridge`.

    It refuses to run as root: then it runs as the system's `postgres` user, or as `nobody`.

    Args:
        directory: for its files; that user must be able to enter it.
        template: the `data` of a server that was stopped, to begin with a copy of.
        options: more of its command line.
    """

    def __init__(
        self, directory: Path, *, template: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self.template = template
        self.port = free_port()
        self.server_url = f"postgresql://djwsbridge@127.0.0.1:{self.port}"
        self.url = f"{self.server_url}/djwsbridge"
        self.data = directory / "data"
        arguments = (
            *("-D", str(self.data)),
            *("-k", str(directory)),
            *("-h", "127.0.0.1"),
            *("-p", str(self.port)),
            *("-c", "synchronous_commit=on"),
            *options,
        )
        super().__init__(
            [str(_postgres_binary("postgres")), *arguments],
            log=directory / "postgres.log",
            cwd=directory,
            user=_unprivileged_user(),
        )

    def start(self) -> None:
        """Start the server, after making its files the first time, and return when it answers."""
        if not self.data.exists():
            if self.template is None:
                self._initialise()
            else:
                _run(["cp", "-a", str(self.template), str(self.data)])
        super().start()
        self.wait_ready(self._answers)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database and return its URL."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return f"{self.server_url}/{name}"

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> str:
        """Run one statement outside any transaction and return what `psql` printed."""
        program = str(_postgres_binary("psql"))
        target = f"--dbname={self.server_url}/postgres"
        return _run([program, target, "--no-psqlrc", "--tuples-only", f"--command={statement}"])

    def run(self, name: str, *arguments: str) -> str:
        """Run one of PostgreSQL's own programs on the database `djwsbridge` and return what it printed.

        Raises:
            RuntimeError: it failed; the text holds its output.
        """
        return _run([str(_postgres_binary(name)), f"--dbname={self.url}", *arguments])

    def _answers(self) -> bool:
        ready = [str(_postgres_binary("pg_isready")), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, capture_output=True).returncode == 0

    def _initialise(self) -> None:
        options = ("--username=djwsbridge", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        program = str(_postgres_binary("initdb"))
        _run([program, f"--pgdata={self.data}", *options], cwd=self.cwd, user=self.user)


@contextmanager
def serve(
    server: ServerName,
    *,
    directory: Path,
    env: Mapping[str, str],
    application: str = "config.asgi:application",
    cwd: Path = ROOT,
    port: int | None = None,
    ready_path: str = "/healthz",
    python: str = sys.executable,
    options: Sequence[str] = (),
) -> Iterator[Site]:
    """Serve a site until the block ends.

    Args:
        server: Which ASGI server.
        directory: Where its log goes.
        env: The settings of the site, on top of this process's environment.
        application: The dotted path of the ASGI application.
        cwd: Where the project lies.
        port: A free one unless told.
        ready_path: A page that answers with a status under 500 when the site is up.
        python: The interpreter of the site.
        options: More of the server's command line.
    """
    port = port or free_port()
    site = Site(
        server,
        application=application,
        port=port,
        log=directory / f"{server}-{port}.log",
        env={"PYTHONUNBUFFERED": "1", **env},
        cwd=cwd,
        ready_path=ready_path,
        python=python,
        options=options,
    )
    try:
        site.start()
        yield site
    finally:
        site.stop()


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """Run a private Redis until the block ends."""
    server = RedisServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def postgres_server(
    *, template: Path | None = None, options: Sequence[str] = (), disk: int = 0
) -> Iterator[PostgresServer]:
    """Run a private PostgreSQL until the block ends.

    Args:
        template: See `PostgresServer`.
        options: See `PostgresServer`.
        disk: See `small_disk`.
    """
    # Not under pytest's own directory, which only its owner may enter; and short, for the socket.
    directory = Path(tempfile.mkdtemp(prefix="djwsbridge-postgres-"))
    try:
        with small_disk(directory, disk):
            user = _unprivileged_user()
            if user is not None:
                shutil.chown(directory, user)
            server = PostgresServer(directory, template=template, options=options)
            try:
                server.start()
                if template is None:
                    server.create_database("djwsbridge")
                yield server
            finally:
                server.stop(signal.SIGINT)  # "fast shutdown": open connections are cut
    finally:
        shutil.rmtree(directory)


@contextmanager
def postgres_replica(primary: str) -> Iterator[PostgresServer]:
    """Run an asynchronous streaming replica until the block ends; `pg_promote` makes it a primary.

    Args:
        primary: The URL at which it reaches the server that it copies, one of this module.
    """
    directory = Path(tempfile.mkdtemp(prefix="djwsbridge-replica-"))
    try:
        user = _unprivileged_user()
        if user is not None:
            shutil.chown(directory, user)
        server = PostgresServer(directory)
        copy = ("-D", str(server.data), "--write-recovery-conf", "--checkpoint=fast")
        program = str(_postgres_binary("pg_basebackup"))
        _run([program, "-d", primary, *copy], cwd=directory, user=user)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(directory)


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[None]:
    """Put an empty disk on a directory until the block ends; with 0 megabytes it stays where it is. Needs root."""
    if not megabytes:
        yield
        return
    _run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)])
    try:
        yield
    finally:
        _run(["umount", "--lazy", str(directory)])


def run_manage(*arguments: str, env: Mapping[str, str], cwd: Path = ROOT) -> str:
    """Run `manage.py` with the given settings and return what it printed.

    Raises:
        RuntimeError: The command failed; the text holds its output.
    """
    command = [sys.executable, "manage.py", *arguments]
    return _run(command, cwd=cwd, env=env)


def _run(
    command: Sequence[str],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=child_environment(env or {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT * 3,
        user=user,
        group=_group_of(user),
        extra_groups=_extra_groups_of(user),
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _postgres_binary(name: str) -> Path:
    return find_binary(name, package="postgresql", directories=["/usr/lib/postgresql/*/bin"])


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _extra_groups_of(user: str | None) -> list[int] | None:
    return None if user is None else []
