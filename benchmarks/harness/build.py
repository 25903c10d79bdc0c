"""Compile what is written in C and Go, and install the packages of npm, into an ignored folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["BUILD", "HERE", "ROOT", "compile_c", "compile_go", "install_npm", "node_modules"]

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "benchmarks"
DEBIAN_GO = Path("/usr/share/gocode")  # where Debian keeps the sources of Go libraries


def compile_c(name: str, *sources: Path) -> Path:
    """Compile a program in C unless it is newer than its sources; return it.

    Raises:
        RuntimeError: there is no compiler, or it refuses.
    """
    program = BUILD / name
    headers = [header for source in sources for header in source.parent.glob("*.h")]
    if _is_fresh(program, [*sources, *headers]):
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("There is no C compiler. Run: apt-get install gcc libc6-dev")
    _run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), *map(str, sources)], "cc")
    return program


def compile_go(name: str, directory: Path) -> Path:
    """Compile a program in Go against Debian's libraries; return it.

    Raises:
        RuntimeError: the compiler refuses.
    """
    program = BUILD / name
    sources = sorted(directory.glob("*.go"))
    if _is_fresh(program, sources):
        return program
    env = {
        **os.environ,
        "GOPATH": str(DEBIAN_GO),
        "GO111MODULE": "off",
        "GOCACHE": str(BUILD / "go-cache"),
    }
    command = ["go", "build", "-o", str(program), *(path.name for path in sources)]
    _run(command, "go", cwd=directory, env=env)
    return program


def node_modules() -> Path:
    """Return where the packages of npm are, or would be."""
    return BUILD / "npm" / "node_modules"


def install_npm() -> None:
    """Install the pinned packages of benchmarks/package.json.

    Raises:
        RuntimeError: npm refuses.
    """
    directory = node_modules().parent
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, directory / name)
    _run(["npm", "ci", "--no-audit", "--no-fund"], "npm", cwd=directory)


def _is_fresh(program: Path, sources: list[Path]) -> bool:
    if not program.exists():
        return False
    return all(program.stat().st_mtime > source.stat().st_mtime for source in sources)


def _run(
    command: list[str], what: str, *, cwd: Path | None = None, env: dict[str, str] | None = None
) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stdout}{done.stderr}")
