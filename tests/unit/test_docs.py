"""The documentation says what the code does: every name is in the reference, every example works."""

from __future__ import annotations

import ast
import functools
import json
import re
import sqlite3
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from subprocess import run
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from django.conf import settings as django_settings
from websockets.sync.client import connect

from djwsbridge.conf import PREFIX, Setting, Settings
from djwsbridge.protocol.codes import CLOSE_POLICIES, RETRYABLE, STAND_INS, ErrorCode
from djwsbridge.transport import registry
from tests.conftest import StartSite
from tests.faults.faults import FAULTS
from tests.servers import ROOT, Site, child_environment, find_binary, free_port, run_manage

SOURCE = ROOT / "src" / "djwsbridge"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
README = ROOT / "README.md"
TUTORIAL = DOCS / "tutorial" / "index.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]

# What docs/reference/python-api.md promises to name completely.
PUBLIC_MODULES = (
    "djwsbridge",
    "djwsbridge.bridge",
    "djwsbridge.consumers",
    "djwsbridge.health",
    "djwsbridge.middleware",
    "djwsbridge.protocol.codes",
    "djwsbridge.protocol.errors",
    "djwsbridge.publish",
    "djwsbridge.routing",
    "djwsbridge.threads",
    "djwsbridge.utils",
    "djwsbridge.views",
)

FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# The first line of an example that is a file of a project, or the end of one.
FILE_NAME = re.compile(r"(?:# |<!-- )([\w/]+\.(?:py|html))(, at the end)?(?: -->)?\n")


class Example(NamedTuple):
    page: Path
    language: str
    text: str

    def __repr__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.splitlines()[0][:60]}"


def examples(*pages: Path, language: str | None = None) -> Iterator[Example]:
    for page in pages:
        for found in FENCE.finditer(page.read_text()):
            if language in (None, found[2]):
                yield Example(page, found[2], textwrap.dedent(found[3]))


def rows(name: str) -> Iterator[list[str]]:
    """Yield the cells of every row of every table of a page of the reference."""
    for line in (REFERENCE / name).read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def first_cells(name: str) -> set[str]:
    return {row[0].strip("`") for row in rows(name)}


# -- the reference is complete ----------------------------------------------------------------------------------------


def settings_in_code() -> dict[str, object]:
    found = vars(Settings).items()
    return {PREFIX + name: one.default for name, one in found if isinstance(one, Setting)}


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    documented = {
        row[0].strip("`"): ast.literal_eval(row[1].strip("`"))
        for row in rows("settings.md")
        if row[0].startswith(f"`{PREFIX}")
    }
    assert documented == settings_in_code()


def variables_in_code() -> set[str]:
    """Return the environment variables that the library reads."""
    pattern = re.compile(rf'os\.environ\S*"({PREFIX}[A-Z_]+)"')
    return {one for path in SOURCE.rglob("*.py") for one in pattern.findall(path.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", page.read_text()))
    assert named <= settings_in_code().keys() | variables_in_code()


def test_every_environment_variable_is_in_the_documentation() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert [one for one in variables_in_code() if one not in pages] == []


def test_every_management_command_is_in_the_reference() -> None:
    commands = {path.stem for path in SOURCE.glob("**/management/commands/[!_]*.py")}
    headings = HEADING.findall((REFERENCE / "commands.md").read_text())
    assert commands == {heading.strip("`") for heading in headings[1:]}


def test_every_system_check_is_in_the_reference() -> None:
    pattern = re.compile(r'"(djwsbridge\.[EWI]\d{3})"')
    ids = {one for path in SOURCE.rglob("*.py") for one in pattern.findall(path.read_text())}
    assert ids
    assert ids == {cell for cell in first_cells("checks.md") if cell.startswith("djwsbridge.")}


def test_every_error_code_is_in_the_reference() -> None:
    assert {code.value for code in ErrorCode} == first_cells("error-codes.md") - {"code"}


def test_the_reference_knows_which_errors_can_be_retried() -> None:
    marked = {row[0].strip("`") for row in rows("error-codes.md") if row[1] == "yes"}
    assert marked == {code.value for code in RETRYABLE}


def test_every_close_code_is_in_the_reference() -> None:
    documented = {
        int(row[0]): row[1].strip("`") for row in rows("close-codes.md") if row[0].isdigit()
    }
    assert documented == {int(code): policy.name for code, policy in CLOSE_POLICIES.items()}


def test_the_reference_says_what_daphne_sends_instead() -> None:
    section = (REFERENCE / "close-codes.md").read_text().partition("## Under Daphne")[2]
    assert all(str(int(code)) in section for pair in STAND_INS.items() for code in pair)


def test_every_wire_command_is_in_the_reference_with_its_fields() -> None:
    page = (REFERENCE / "protocol.md").read_text()
    found = re.findall(r"^### `([\w.]+)`\n(.*?)(?=^##)", page, re.DOTALL | re.MULTILINE)
    sections = dict(found)
    assert sections.keys() == registry.codec().commands.keys()
    for tag, command in registry.codec().commands.items():
        fields = {field.encode_name for field in msgspec.structs.fields(command)} - {"id"}
        assert set(re.findall(r"^\| `(\w+)` \|", sections[tag], re.MULTILINE)) == fields, tag


def pushes_in_code() -> set[str]:
    """Return the types of all pushes that the library's code names."""
    position = {
        "NewEvent": 1,
        "publish": 1,
        "publish_written": 1,
        "apublish": 1,
        "encode_push": 0,
        "tell": 0,
    }
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            place = position.get(str(name))
            if place is not None and len(node.args) > place:
                argument = node.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found.add(argument.value)
    return found


def test_every_push_is_in_the_reference() -> None:
    page = (REFERENCE / "protocol.md").read_text()
    pushes = pushes_in_code()
    assert {"signal", "message.sent", "presence.changed", "error"} <= pushes
    missing = [push for push in pushes if f"`{push}`" not in page and f'"{push}"' not in page]
    assert missing == []


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    page = (REFERENCE / "python-api.md").read_text()
    missing = [one for one in import_module(name).__all__ if not re.search(rf"`{one}\b", page)]
    assert missing == []


def test_every_name_of_the_python_client_is_in_the_reference() -> None:
    page = (REFERENCE / "python-client.md").read_text()
    names = import_module("djwsbridge.client").__all__
    assert [one for one in names if not re.search(rf"`{one}\b", page)] == []


def test_the_architecture_page_shows_the_layers_that_are_checked() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    checked = re.search(
        r'containers = \["djwsbridge"\]\nlayers = \[\n(.*?)\n\]', project, re.DOTALL
    )
    assert checked is not None
    layers = [
        re.sub("[()]", "", one) for one in re.findall(r'^ +"(.+)",', checked[1], re.MULTILINE)
    ]
    page = DOCS / "explanation" / "architecture.md"
    (picture,) = (one.text for one in examples(page) if one.text.startswith(layers[0]))
    assert [line.split("  ")[0] for line in picture.splitlines()] == layers


def test_the_architecture_page_names_every_module() -> None:
    _, _, section = (
        (DOCS / "explanation" / "architecture.md").read_text().partition("## Every module\n")
    )
    named = dict(re.findall(r"^\| `([\w/.]+)` \| (\S.*) \|$", section, re.MULTILINE))
    modules = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.*")
        if path.suffix in (".py", ".js")
        if path.name != "__init__.py"
        if "migrations" not in path.parts
    }
    assert set(named) == modules


def test_every_page_names_the_same_number_of_refusals_as_the_outbox() -> None:
    outbox = (SOURCE / "static" / "djwsbridge" / "outbox.js").read_text()
    assert "const MAX_ATTEMPTS = 60;" in outbox
    assert "else after sixty refusals" in (REFERENCE / "javascript-client.md").read_text()
    assert "after sixty of them" in (DOCS / "explanation" / "delivery.md").read_text()


def test_every_export_of_the_javascript_client_is_in_the_reference() -> None:
    page = (REFERENCE / "javascript-client.md").read_text()
    index = (SOURCE / "static" / "djwsbridge" / "index.js").read_text()
    lists = re.findall(r"export \{(.*?)\}", index, re.DOTALL)
    exported = {name.strip() for names in lists for name in names.split(",")} - {""}
    assert "Connection" in exported
    assert {name for name in exported if not re.search(rf"`{name}\b", page)} == set()


# -- proofs -----------------------------------------------------------------------------------------------------------

DELIVERY = DOCS / "explanation" / "delivery.md"


def test_every_test_that_is_named_as_a_proof_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", DELIVERY.read_text())
    assert len(named) > 10
    for path, function in named:
        assert (ROOT / path).exists(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(), function


def test_every_fault_that_is_named_exists() -> None:
    section = DELIVERY.read_text().partition("### The faults")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([\d, a-z]*\d[\d, a-z]*) \|", section, re.MULTILINE)
    named = {key for cell in cells for key in cell.split(", ")}
    assert named
    assert named <= FAULTS.keys()


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the ids that the headings of a page get."""
    text = FENCE.sub("", page.read_text())
    plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading) for heading in HEADING.findall(text))
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
        for heading in plain
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_has_one_title_and_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(page.read_text())
    }
    for page in PAGES:
        text = FENCE.sub("", page.read_text())
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, page
        assert page in linked or page in (README, DOCS / "index.md"), page


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"\b[\w/-]+\.md\b", (ROOT / "mkdocs.yml").read_text()))
    assert named == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


# -- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [*examples(*PAGES, language="python")], ids=repr)
def test_python_examples_compile(example: Example) -> None:
    compile(example.text, str(example.page), "exec")


@pytest.mark.parametrize("example", [*examples(*PAGES, language="python")], ids=repr)
def test_python_examples_import_what_exists(example: Example) -> None:
    for node in ast.walk(ast.parse(example.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("djwsbridge"):
            module = import_module(str(node.module))
            assert [one.name for one in node.names if not hasattr(module, one.name)] == []


@pytest.mark.parametrize("example", [*examples(*PAGES, language="json")], ids=repr)
def test_json_examples_are_json(example: Example) -> None:
    assert isinstance(json.loads(example.text), dict)


def file_of(name: str, *pages: Path) -> str:
    """Return the example on these pages that is the file of this name."""
    (text,) = (one.text for one in examples(*pages) if one.text.startswith(f"# {name}\n"))
    return text


def without_docstring(source: str) -> str:
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.unparse(tree)


@pytest.mark.parametrize("page", [README, TUTORIAL], ids=lambda page: page.name)
def test_the_asgi_file_is_the_one_of_the_reference_project(page: Path) -> None:
    shown = file_of("mysite/asgi.py", page).replace("mysite", "config")
    assert without_docstring(shown) == without_docstring((ROOT / "config" / "asgi.py").read_text())


# Whoever makes such a project has users whose passwords cost half a second of a core.
CHEAP_PASSWORDS = """
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""


@functools.cache
def startproject() -> dict[str, str]:
    """Return what `django-admin startproject mysite` writes: path → text."""
    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", "django", "startproject", "mysite", made]
        run(command, check=True, env={}, capture_output=True)
        files = sorted(Path(made).rglob("*.py"))
        return {str(path.relative_to(made)): path.read_text() for path in files}


def build_project(directory: Path, page: Path) -> dict[str, str]:
    """Make the project that a page describes; return the environment to run it in.

    A how-to builds on what the README adds for every way: the settings and the ASGI file.
    """
    for name, text in startproject().items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    env = {
        "PYTHONPATH": str(ROOT / "src"),
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        # What docs/howto/deploy.md takes from the environment.
        "SECRET_KEY": "a key for tests only, long enough for every algorithm in use",
        "DATABASE_PASSWORD": "a password for tests only",
    }
    foundation = [] if page in (README, TUTORIAL) else list(examples(README, language="python"))[:2]
    for example in [*foundation, *examples(page)]:
        if example.language == "console":
            run_commands("startapp", example.text, directory, env)
        elif found := FILE_NAME.match(example.text):
            path = directory / found[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".py":
                (path.parent / "__init__.py").touch()
            before = path.read_text() if found[2] else ""
            path.write_text(before + example.text)
    with (directory / "mysite" / "settings.py").open("a") as settings:
        settings.write(CHEAP_PASSWORDS)
    return env


def run_commands(names: str, text: str, directory: Path, env: dict[str, str]) -> int:
    """Run the management commands of these names (a pattern) that a text shows; return how many there were."""
    found = re.findall(rf"^python manage\.py ((?:{names})\b.*)$", text, re.MULTILINE)
    for command in found:
        run_manage(*command.split(), env=env, cwd=directory)
    return len(found)


def make_tables(directory: Path, page: Path, env: dict[str, str]) -> None:
    """Do what a page says about its tables."""
    assert run_commands("makemigrations|migrate", page.read_text(), directory, env)


@pytest.mark.parametrize("page", sorted((DOCS / "howto").glob("*.md")), ids=lambda page: page.name)
def test_the_settings_of_a_how_to_pass_the_checks(page: Path, tmp_path: Path) -> None:
    env = build_project(tmp_path, page)
    assert "no issues" in run_manage("check", env=env, cwd=tmp_path)


def settings_of(page: Path) -> list[Example]:
    """Return what a page adds to the end of the settings."""
    start = "# mysite/settings.py, at the end\n"
    return [one for one in examples(page, language="python") if one.text.startswith(start)]


@pytest.mark.parametrize(
    "page", [one for one in PAGES if settings_of(one)], ids=lambda page: page.name
)
def test_added_settings_keep_what_a_project_has(page: Path) -> None:
    theirs: dict[str, Any] = {
        "INSTALLED_APPS": ["theirs"],
        "MIDDLEWARE": ["theirs"],
        "TEMPLATES": [{"DIRS": ["theirs"], "OPTIONS": {"context_processors": ["theirs"]}}],
        "DATABASES": {"default": {"NAME": "theirs", "OPTIONS": {"timeout_of": "theirs"}}},
        "BASE_DIR": Path("theirs"),
        "SECRET_KEY": "theirs",
    }
    whole = {"DATABASES", "LOGGING"}  # what an example defines anew, for all to see
    for example in settings_of(page):
        names = {
            target.id
            for node in ast.parse(example.text).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if names & whole:
            continue
        exec(example.text, theirs)
    assert "theirs" in theirs["INSTALLED_APPS"]
    assert "theirs" in theirs["MIDDLEWARE"]
    assert "theirs" in theirs["TEMPLATES"][0]["DIRS"]
    assert theirs["TEMPLATES"][0]["OPTIONS"]["context_processors"][0] == "theirs"
    assert theirs["DATABASES"]["default"]["OPTIONS"]["timeout_of"] == "theirs"


LINES = """
import json, logging, logging.config, sys
logging.config.dictConfig(json.loads(sys.argv[1]))
for name in ("djwsbridge.runtime", "django.request", "uvicorn.error", "theirs"):
    logging.getLogger(name).warning("It is late.")
"""


def test_the_log_has_a_time_a_level_and_a_logger_in_each_line() -> None:
    (example,) = [
        one for one in settings_of(DOCS / "howto" / "operate.md") if "LOGGING" in one.text
    ]
    shown: dict[str, Any] = {}
    exec(example.text, shown)
    assert shown["LOGGING"] == django_settings.LOGGING  # the reference project's
    command = [sys.executable, "-c", LINES, json.dumps(shown["LOGGING"])]
    done = run(command, check=True, capture_output=True, text=True)
    names = ("djwsbridge.runtime", "django.request", "uvicorn.error", "theirs")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    for name, line in zip(names, done.stderr.splitlines(), strict=True):
        assert re.fullmatch(rf"{moment} WARNING {re.escape(name)} It is late\.", line)


MYSITE = {"application": "mysite.asgi:application", "ready_path": "/admin/login/"}
PEOPLE = """
from django.contrib.auth import get_user_model
from django.test import Client
from rest_framework_simplejwt.tokens import AccessToken
import json
people = {}
for name in ("alice", "bob"):
    user = get_user_model().objects.create_user(name, password=name)
    client = Client()
    client.force_login(user)
    people[name] = {
        "id": user.pk,
        "token": str(AccessToken.for_user(user)),
        "session": client.cookies["sessionid"].value,
    }
print("people:", json.dumps(people))
"""


def make_people(directory: Path, env: dict[str, str]) -> dict[str, dict[str, Any]]:
    printed = run_manage("shell", "-c", PEOPLE, env=env, cwd=directory)
    people: dict[str, dict[str, Any]] = json.loads(printed.partition("people:")[2])
    return people


def query(directory: Path, statement: str) -> list[tuple[Any, ...]]:
    """Look into the database of a project."""
    with closing(sqlite3.connect(directory / "db.sqlite3")) as database, database:
        return database.execute(statement).fetchall()


def bearer(person: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {person['token']}"}


def post(url: str, person: dict[str, Any], **data: str) -> int:
    csrf = "c" * 32
    cookies = {"sessionid": person["session"], "csrftoken": csrf}
    with httpx.Client(cookies=cookies, headers={"X-CSRFToken": csrf}) as client:
        return client.post(url, data=data).status_code


def log_in_and_out(site: Site, *, start: str) -> None:
    """Go through the login that a page has described, as somebody who is not staff."""
    with httpx.Client(base_url=site.url, follow_redirects=True) as client:
        page = client.get(start)
        assert page.url.path == "/accounts/login/"
        fields = {"username": "alice", "password": "alice"}
        page = client.post(page.url, data={**fields, "csrfmiddlewaretoken": csrf_token(page)})
        assert (page.status_code, page.url.path) == (200, start)
        page = client.post("/accounts/logout/", data={"csrfmiddlewaretoken": csrf_token(page)})
        assert (page.status_code, page.url.path) == (200, "/accounts/login/")


def csrf_token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert found is not None
    return found[1]


def test_the_tutorial_brings_a_message_to_another_screen(
    tmp_path: Path, start_site: StartSite
) -> None:
    env = build_project(tmp_path, TUTORIAL)
    make_tables(tmp_path, TUTORIAL, env)
    people = make_people(tmp_path, env)
    site = start_site("daphne", env=env, cwd=tmp_path, **MYSITE)
    alice, bob = people["alice"], people["bob"]
    with connect(f"{site.ws_url}/ws/bridge/", additional_headers=bearer(bob)) as socket:
        wait_for_subscription(socket)
        assert post(f"{site.url}/greet/{bob['id']}/", alice) == 204
        assert json.loads(socket.recv(timeout=10)) == {"content": "alice says hello."}
    assert post(f"{site.url}/chat/rooms/create/", alice, title="Lunch") == 302
    assert post(f"{site.url}/chat/lunch/join/", bob) == 302
    log_in_and_out(site, start="/")
    log_in_and_out(site, start="/chat/lunch/")
    # The database is as strict as it should be: the log warns of nothing.
    assert "transaction_mode" not in site.log
    assert "synchronous" not in site.log


def wait_for_subscription(socket: Any) -> None:
    """Return when a plain socket is open: what a user sends to themselves comes back."""
    socket.send(json.dumps({"type": "echo"}))
    assert json.loads(socket.recv(timeout=10))["type"] == "echo"


def test_the_store_way_stores_as_the_how_to_says(tmp_path: Path, start_site: StartSite) -> None:
    page = DOCS / "howto" / "store.md"
    env = build_project(tmp_path, page)
    make_tables(tmp_path, page, env)
    people = make_people(tmp_path, env)
    site = start_site("uvicorn", env=env, cwd=tmp_path, **MYSITE)
    frame = {
        "type": "text",
        "message": "Hello",
        "recipient": people["bob"]["id"],
        "important": True,
    }
    with connect(f"{site.ws_url}/ws/bridge/", additional_headers=bearer(people["alice"])) as socket:
        socket.send(json.dumps(frame))
        assert json.loads(socket.recv(timeout=10)) == {"sender": people["alice"]["id"], **frame}
    assert query(tmp_path, "SELECT content, priority FROM people_message") == [("Hello", 2)]
    profiles = "SELECT username FROM people_profile JOIN auth_user ON user_id = auth_user.id"
    assert query(tmp_path, profiles) == [("alice",)]


def test_the_readme_builds_a_project_with_all_three_ways(
    tmp_path: Path, start_site: StartSite
) -> None:
    env = build_project(tmp_path, README)
    make_tables(tmp_path, README, env)
    people = make_people(tmp_path, env)
    for push in (one.text for one in examples(README) if "send_ws_message(" in one.text):
        run_manage("shell", "-c", push, env=env, cwd=tmp_path)
    assert query(tmp_path, "SELECT name, seq FROM djwsbridge_log_topic") == [("user.5", 1)]
    site = start_site("uvicorn", env=env, cwd=tmp_path, **MYSITE)
    frame = {"recipient": people["bob"]["id"], "type": "text", "message": "Hello there!"}
    with connect(f"{site.ws_url}/ws/bridge/", additional_headers=bearer(people["alice"])) as socket:
        socket.send(json.dumps(frame))
        assert json.loads(socket.recv(timeout=10)) == {"sender": people["alice"]["id"], **frame}
    assert query(tmp_path, "SELECT content FROM people_message") == [("Hello there!",)]
    assert post(f"{site.url}/chat/rooms/create/", people["alice"], title="Lunch") == 302
    log_in_and_out(site, start="/chat/")
    rooms = httpx.get(f"{site.url}/chat/api/rooms/", headers=bearer(people["alice"]))
    assert [room["title"] for room in rooms.json()["rooms"]] == ["Lunch"]


def test_the_chat_is_embedded_as_the_how_to_says(tmp_path: Path, start_site: StartSite) -> None:
    page = DOCS / "howto" / "chat.md"
    env = build_project(tmp_path, page)
    make_tables(tmp_path, page, env)
    make_people(tmp_path, env)
    site = start_site("uvicorn", env=env, cwd=tmp_path, **MYSITE)
    log_in_and_out(site, start="/chat/")


def test_the_tests_of_the_how_to_pass(tmp_path: Path) -> None:
    page = DOCS / "howto" / "test.md"
    env = build_project(tmp_path, page)
    assert run_commands("test", page.read_text(), tmp_path, env) == 1
    # They fail when they should: the view says something else.
    view = tmp_path / "mysite" / "views.py"
    view.write_text(view.read_text().replace("hello", "goodbye"))
    with pytest.raises(RuntimeError, match=r"failures=2"):
        run_manage("test", env=env, cwd=tmp_path)


def test_a_probe_is_answered_as_the_how_to_says(tmp_path: Path, start_site: StartSite) -> None:
    env = build_project(tmp_path, DOCS / "howto" / "operate.md")
    site = start_site("uvicorn", env=env, cwd=tmp_path, **{**MYSITE, "ready_path": "/healthz"})
    for path in ("/healthz", "/readyz"):
        answer = httpx.get(site.url + path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_a_database_that_is_away_is_told_to_the_probe(
    tmp_path: Path, start_site: StartSite
) -> None:
    env = build_project(tmp_path, DOCS / "howto" / "operate.md")
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write('DATABASES["default"]["NAME"] = "/nowhere/db.sqlite3"\n')
    site = start_site("uvicorn", env=env, cwd=tmp_path, **{**MYSITE, "ready_path": "/healthz"})
    answer = httpx.get(f"{site.url}/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, "unavailable")


DEPLOY = DOCS / "howto" / "deploy.md"


def test_the_recipe_for_production_leaves_two_warnings(tmp_path: Path) -> None:
    env = build_project(tmp_path, DEPLOY)
    done = run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=tmp_path,
        env=child_environment(env),
        check=False,
        capture_output=True,
        text=True,
    )
    # HSTS, and the redirect, which is nginx's. Django 6.1's `startproject` prints mails, and says that it does.
    about_mail = {"mail.E001"} if "MAILERS" in startproject()["mysite/settings.py"] else set()
    expected = {"security.W004", "security.W008", *about_mail}
    assert set(re.findall(r"\((\w+\.[EW]\d+)\)", done.stderr)) == expected
    assert run_commands("collectstatic", DEPLOY.read_text(), tmp_path, env) == 1
    assert (tmp_path / "staticfiles" / "djwsbridge" / "index.js").is_file()


def test_the_recipe_for_nginx_is_one(tmp_path: Path) -> None:
    (shown,) = (one.text for one in examples(DEPLOY, language="nginx"))
    # Without its certificate, and at ports that anybody may open.
    shown = re.sub(r"ssl_certificate.*;\n", "", shown)
    shown = re.sub(r"listen \d+( ssl)?;", lambda _: f"listen 127.0.0.1:{free_port()};", shown)
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{shown}}}\n")
    nginx = str(find_binary("nginx", package="nginx-light"))
    done = run(
        [nginx, "-t", "-e", "stderr", "-c", str(whole)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_own_topics_work_as_the_how_to_says(tmp_path: Path, start_site: StartSite) -> None:
    env = build_project(tmp_path, DOCS / "howto" / "own-topics.md")
    run_manage("migrate", env=env, cwd=tmp_path)
    people = make_people(tmp_path, env)
    query(tmp_path, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
    site = start_site("uvicorn", env=env, cwd=tmp_path, **MYSITE)
    assert subscribe(site.ws_url, people["alice"], "order.17") == {}
    assert subscribe(site.ws_url, people["alice"], "order.x")["code"] == "not_found"
    assert subscribe(site.ws_url, people["bob"], "order.17")["code"] == "not_found"


def subscribe(ws_url: str, person: dict[str, Any], topic: str) -> dict[str, Any]:
    """Return the `ok` or the `error` of the reply to `subscribe`."""
    url = f"{ws_url}/ws/bridge/"
    protocols: Any = ["djwsbridge.v1"]
    with connect(url, subprotocols=protocols, additional_headers=bearer(person)) as socket:
        socket.send(json.dumps({"id": 1, "cmd": "connect"}))
        socket.send(json.dumps({"id": 2, "cmd": "subscribe", "topic": topic}))
        while True:
            frame = json.loads(socket.recv(timeout=10))
            if frame.get("id") == 2:
                answer: dict[str, Any] = frame.get("ok", frame.get("error"))
                return answer
