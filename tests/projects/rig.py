"""Build a Django project from the files in a directory beside this one, and be its people.

A project is what `startproject` writes, then `base/`, then its own directory on top. So a project's directory holds
what is special about it, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from djwsbridge.client import Client
from tests.browser_rig import ARTIFACTS
from tests.projects.project import Project
from tests.projects.waiting import soon
from tests.servers import (
    ROOT,
    TIMEOUT,
    Process,
    Site,
    child_environment,
    free_port,
    serve,
)

__all__ = ["DIRECTORY", "Person", "Trial"]

DIRECTORY = Path(__file__).parent
REPORTS = ARTIFACTS.parent / "projects"
PASSWORD = "correct horse battery"
V1 = "djwsbridge.v1"


@dataclass(eq=False)
class Person:
    """One user of a project, with a browser's means."""

    # What they log in with, and the field that it is in.
    name: str
    name_field: str
    # The primary key as it goes over the wire.
    id: int | str
    http: httpx.AsyncClient
    password: str = PASSWORD
    # A JWT access token, once they have asked for one.
    token: str = ""

    @property
    def csrf(self) -> dict[str, str]:
        """The header that goes with what changes something."""
        return {"X-CSRFToken": self.http.cookies["csrftoken"]}


@dataclass
class Trial:
    """A project that is built in a directory, and then runs.

    Args:
        public_port: where its users reach it, when that is not its own port.
    """

    project: Project
    directory: Path
    env: dict[str, str]
    stack: AsyncExitStack
    public_port: int = 0
    port: int = field(default_factory=free_port)
    # Set once it runs.
    site: Site = field(init=False)
    people: list[Person] = field(default_factory=list)
    # The group that all but the third are members of, once it was made.
    room: dict[str, Any] = field(default_factory=dict)

    def build(self) -> None:
        """Write the project's files."""
        command = [self.project.python, "-m", "django", "startproject", "mysite", "."]
        subprocess.run(command, cwd=self.directory, check=True)
        package = self.directory / "mysite"
        (package / "settings.py").rename(package / "startproject.py")
        for name in ("base", self.project.name):
            shutil.copytree(DIRECTORY / name, self.directory, dirs_exist_ok=True)
        path = os.pathsep.join((str(ROOT / "src"), str(self.directory)))
        self.env |= {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "mysite.settings"}

    def start(self) -> None:
        """Serve the project until the trial ends."""
        serving = serve(
            self.project.server,
            directory=self.directory,
            cwd=self.directory,
            env=self.env,
            application="mysite.asgi:application",
            port=self.port,
            python=self.project.python,
            options=self.project.options,
        )
        self.site = self.stack.enter_context(serving)
        if self.project.beside:
            command = [self.project.python, "manage.py", self.project.beside]
            log = self.directory / f"{self.project.beside}.log"
            process = Process(command, log=log, env=self.env, cwd=self.directory)
            self.stack.callback(process.stop)
            process.start()
            process.wait_ready(lambda: "ready" in process.log)

    def report(self, kind: str) -> Path:
        """Return the path of a file about this trial, kept after the test."""
        REPORTS.mkdir(parents=True, exist_ok=True)
        return REPORTS / f"{self.project.name}.{kind}"

    async def manage(self, *arguments: str) -> str:
        """Run `manage.py` in a process of its own and return all that it printed.

        Raises:
            RuntimeError: it failed; the text holds its output.
        """
        command = [self.project.python, "manage.py", *arguments]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=self.directory,
            env=child_environment(self.env),
            capture_output=True,
            text=True,
            timeout=TIMEOUT * 3,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    # -- addresses -----------------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """What a browser sends as `Origin`."""
        return f"http://127.0.0.1:{self.public_port or self.port}"

    @property
    def socket_url(self) -> str:
        """The address of the user's socket."""
        return f"ws{self.origin.removeprefix('http')}{self.project.root}/ws/bridge/"

    def path(self, path: str) -> str:
        """Return the path of what programs ask for, such as `/djwsbridge/ticket/`."""
        return self.project.root + path

    def page(self, path: str) -> str:
        """Return the path of a page, such as `/accounts/login/`."""
        return self.project.root + self.project.pages + path

    # -- people --------------------------------------------------------------------------------------------------------

    async def make_people(self) -> None:
        """Make the project's users."""
        fields = [json.dumps(one) for one in self.project.people]
        ids = json.loads(await self.manage("make_people", PASSWORD, *fields))
        for one, key in zip(self.project.people, ids, strict=True):
            name_field, name = next(iter(one.items()))
            http = httpx.AsyncClient(base_url=self.origin, follow_redirects=True, timeout=TIMEOUT)
            await self.stack.enter_async_context(http)
            self.people.append(Person(name, name_field, key, http))

    async def log_in(self, person: Person) -> httpx.Response:
        """Fill in the login form and return the page that follows."""
        login = self.page("/accounts/login/")
        page = await person.http.get(login)
        assert page.status_code == 200, page.text
        form = {"username": person.name, "password": person.password}
        return await self.post_form(person, login, **form)

    async def post_form(self, person: Person, path: str, **fields: str) -> httpx.Response:
        """Send a form as a browser does, and return the page that follows."""
        form = {"csrfmiddlewaretoken": person.http.cookies["csrftoken"], **fields}
        return await person.http.post(path, data=form, headers={"Referer": self.origin})

    async def api(self, person: Person, path: str, body: object = None) -> Any:
        """Ask the chat's API, or tell it something, and return its answer."""
        address = self.page(f"/chat/api/{path}")
        if body is None:
            answer = await person.http.get(address)
        else:
            answer = await person.http.post(address, json=body, headers=person.csrf)
        assert answer.is_success, answer.text
        return answer.json()

    async def send(self, person: Person, room: int, body: str) -> None:
        """Send a message over the REST API."""
        fields = {"body": body, "client_message_id": str(uuid.uuid4())}
        await self.api(person, f"rooms/{room}/messages/", fields)

    async def ask_ticket(self, person: Person) -> str:
        """Return a ticket, as a page gets it."""
        answer = await person.http.post(self.path("/djwsbridge/ticket/"), headers=person.csrf)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])

    # -- sockets -------------------------------------------------------------------------------------------------------

    def headers(self, person: Person) -> dict[str, str]:
        """Return what a browser sends with the handshake."""
        cookies = "; ".join(f"{one.name}={one.value}" for one in person.http.cookies.jar)
        return {"Cookie": cookies, "Origin": self.origin}

    def client(self, person: Person, **options: Any) -> Client:
        """Return the library's client with a person's cookie, unless the options bring another credential."""
        if not {"token", "ticket"} & options.keys():
            options["headers"] = lambda: self.headers(person)
        return Client(self.socket_url, open_timeout=TIMEOUT, **options)

    @asynccontextmanager
    async def plain(self, person: Person) -> AsyncIterator[ClientConnection]:
        """Open a socket that speaks the plain dialect, with a person's cookie."""
        opening = connect(self.socket_url, additional_headers=self.headers(person), proxy=None)
        async with opening as socket:
            await socket.send("")
            # An answer: everything is subscribed.
            assert json.loads(await soon(socket.recv()))["code"] == "bad_json"
            yield socket

    @asynccontextmanager
    async def v1(
        self, headers: Mapping[str, str], **credential: str
    ) -> AsyncIterator[ClientConnection]:
        """Open a socket that speaks v1 and say `connect`; what follows is not read."""
        async with connect(
            self.socket_url,
            additional_headers=headers,
            subprotocols=[V1],  # type: ignore[list-item]
            proxy=None,
        ) as socket:
            await socket.send(json.dumps({"id": 1, "cmd": "connect", **credential}))
            yield socket

    # -- pushes and restarts -------------------------------------------------------------------------------------------

    async def push(self, person: Person, data: Mapping[str, Any], *, durable: bool = False) -> None:
        """Push to a person."""
        if self.project.pushes_by == "command":
            flags = ["--durable"] if durable else []
            await self.manage("push", str(person.id), json.dumps(data), *flags)
            return
        sender = self.people[1]
        body = {"user": person.id, "data": data, "durable": durable}
        answer = await sender.http.post(self.path("/push/"), json=body, headers=sender.csrf)
        assert answer.status_code == 204, answer.text

    async def stop(self) -> int | None:
        """Tell the server to end and wait until it has ended."""
        return await asyncio.to_thread(self.site.stop)

    async def start_again(self) -> None:
        """Start the server from this thread: it ends with the thread that has started it."""
        Process.start(self.site)
        await asyncio.to_thread(self.site.wait_answer)
