"""What a result was measured on: machine and versions, without saying whose it is."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import djwsbridge
from benchmarks.harness.build import node_modules

__all__ = ["machine", "versions"]

PACKAGES = (
    *("Django", "channels", "channels_redis", "daphne", "uvicorn", "uvloop", "websockets"),
    *("msgspec", "redis", "hiredis", "psycopg", "python-socketio", "djangorestframework-simplejwt"),
)
PROGRAMS = {
    "Redis": ("redis-server", "--version"),
    "PostgreSQL": ("postgres", "--version"),
    "Node.js": ("node", "--version"),
    "nginx": ("nginx", "-v"),
    "Go": ("go", "version"),
    "gcc": ("cc", "--version"),
}
DEBIAN = {"nchan": "libnginx-mod-nchan", "Centrifuge": "golang-github-centrifugal-centrifuge-dev"}
_NUMBER = re.compile(r"\d+(\.\d+)+")
_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin")


def machine() -> dict[str, object]:
    """Return what the machine is."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "fdatasync_us": _sync_microseconds(),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part and is installed."""
    found = {"djwsbridge": djwsbridge.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    for name, command in PROGRAMS.items():
        number = _number_of(list(command))
        if number:
            found[name] = number
    for name, package in DEBIAN.items():
        number = _number_of(["dpkg-query", "--show", "--showformat=${Version}", package])
        if number:
            found[name] = number
    for name in ("socket.io", "ws"):
        path = node_modules() / name / "package.json"
        if path.exists():
            found[f"{name} (npm)"] = json.loads(path.read_text())["version"]
    return found


def _sync_microseconds() -> int:
    """Return how long the disk takes to keep 4 KiB: what is stored cannot be faster than this."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(101):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return round(statistics.median(times) * 1e6)


def _number_of(command: list[str]) -> str | None:
    program = shutil.which(command[0], path=os.pathsep.join([os.environ["PATH"], *_PLACES]))
    if program is None:
        return None
    done = subprocess.run([program, *command[1:]], check=False, capture_output=True, text=True)
    match = _NUMBER.search(done.stdout + done.stderr)
    return match[0] if match and not done.returncode else None
