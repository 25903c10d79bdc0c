"""What the package exports, what its wheel holds, and what the repository must not say."""

from __future__ import annotations

import ast
import email
import re
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import djwsbridge
from djwsbridge.documentation import DOCUMENTATION
from tests.servers import ROOT

PACKAGE = ROOT / "src" / "djwsbridge"
REFERENCE = ROOT / "docs" / "reference"
MODULE_LINES = 500  # a module that grows past this is two modules
FUNCTION_LINES = 60

# The import paths of the library's public names.
PUBLIC_MODULES = (
    "djwsbridge",
    "djwsbridge.bridge",
    "djwsbridge.client",
    "djwsbridge.consumers",
    "djwsbridge.middleware",
    "djwsbridge.routing",
    "djwsbridge.utils",
)

# Where somebody happened to work, and where packages happened to come from.
FORBIDDEN = re.compile(
    r"/w[o]rk/|/tmp/\w/|/r[o]ot/|/home/(?!\w*\$)|pyenv|pypi\.org(?!/project/djwsbridge/)|pythonh[o]sted|registry\.npmjs|"
    r"--(extra-)?index-url|find-links"
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = directory.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_a_public_module_says_what_it_exports(name: str) -> None:
    module = import_module(name)
    assert module.__all__
    for exported in module.__all__:
        assert hasattr(module, exported)


def test_the_package_exports_what_its_public_modules_export() -> None:
    union = {one for name in PUBLIC_MODULES[1:] for one in import_module(name).__all__}
    assert set(djwsbridge.__all__) - {"__version__"} <= union


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_public_name_is_documented(name: str) -> None:
    pages = "\n".join(page.read_text() for page in sorted(REFERENCE.rglob("*.md")))
    exported = set(import_module(name).__all__) - {"__version__"}
    missing = sorted(one for one in exported if f"`{one}" not in pages)
    assert missing == []


def test_the_wheel_holds_the_library_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    here = {
        str(path.relative_to(PACKAGE.parent))
        for path in tracked_files()
        if path.is_relative_to(PACKAGE) and path.exists()
    }
    assert here <= held
    assert {name.split("/")[0] for name in held} == {"djwsbridge"}
    assert "djwsbridge/py.typed" in held
    for suffix in (".js", ".html", ".css"):
        assert any(name.endswith(suffix) for name in held)


def test_the_wheel_has_the_packages_version(wheel: zipfile.ZipFile) -> None:
    assert f"djwsbridge-{djwsbridge.__version__}-py3-none-any.whl" in str(wheel.filename)
    assert re.fullmatch(r"\d+\.\d+\.\d+", djwsbridge.__version__)


def test_the_readme_of_the_package_leads_nowhere_that_an_index_has_not(
    wheel: zipfile.ZipFile,
) -> None:
    (name,) = [one for one in wheel.namelist() if one.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    readme = str(metadata.get_payload())
    assert "# djwsbridge" in readme
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_the_package_names_the_documentation_that_hints_name(wheel: zipfile.ZipFile) -> None:
    (name,) = [one for one in wheel.namelist() if one.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata.get_all("Project-URL") == [f"Documentation, {DOCUMENTATION}"]


def test_no_text_for_people_names_a_file_of_the_repository() -> None:
    """Who has installed the wheel has no `docs/`. A docstring is for those who read the source."""
    found = []
    for path in modules():
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found += [
            f"{path.name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and re.search(r"\bdocs/|README", node.value)
        ]
    assert found == []


def test_every_page_that_a_text_sends_to_exists() -> None:
    source = "".join(path.read_text() for path in modules())
    titles = {page.read_text().partition("\n")[0] for page in (ROOT / "docs").rglob("*.md")}
    named = re.findall(r"""\bsee\(["']([^"']+)["']\)""", source)
    assert named
    assert {f"# {title}" for title in named} <= titles


def test_the_changelog_knows_what_comes_next() -> None:
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__).resolve() or not path.exists():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_no_module_outgrows_its_purpose() -> None:
    long = [path for path in modules() if len(path.read_text().splitlines()) > MODULE_LINES]
    assert long == []


def test_no_function_outgrows_a_screen() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{path.name}: {node.name} has {lines} lines")
    assert long == []
