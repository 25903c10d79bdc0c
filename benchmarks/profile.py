"""Where our server's time goes under a load: `python -m benchmarks profile fanout unicast persist` (needs py-spy)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import fanout, persist, unicast
from benchmarks.harness.build import BUILD, ROOT
from benchmarks.harness.generator import Generator, Lines
from benchmarks.harness.results import Result, say
from benchmarks.harness.rounds import Case, Options, connection_lines
from benchmarks.harness.world import World, Worlds
from benchmarks.sites.ours import SYSTEMS, Ours
from benchmarks.systems import Load

__all__ = ["PARTS", "profile", "share_out"]

RATE = 100  # samples a second


def _in_libc(names: str) -> str:
    return rf"^(__)?(libc_)?({names}) \(libc"


#: The first pattern that a frame matches, from the innermost outwards, says which part a sample belongs to.
PARTS: tuple[tuple[str, str], ...] = (
    ("system call: write", _in_libc("send|sendto|sendmsg|write|writev")),
    ("system call: read", _in_libc("recv|recvfrom|recvmsg|read|readv")),
    ("system call: disk", _in_libc("fsync|fdatasync|pwrite(64)?|pread(64)?")),
    ("server (djwsbridge.server, uvicorn)", r"\b(djwsbridge/server|uvicorn|daphne|autobahn)/"),
    ("frames (websockets, wsproto)", r"\b(websockets|wsproto)/"),
    ("hub", r"\bdjwsbridge/hub\.py"),
    ("send queue and connection", r"\bdjwsbridge/transport/(send_queue|connection)\.py"),
    ("decoding and encoding", r"\b(djwsbridge/protocol|msgspec|json)/"),
    (
        "publishing, engine, reconciler",
        r"\bdjwsbridge/(publish|runtime|reconciler|sequencer|engine)",
    ),
    ("database driver", r"\b(psycopg|psycopg_pool|sqlite3)/|\bsqlite3"),
    ("Django's ORM", r"\bdjango/db/"),
    ("log", r"\bdjwsbridge/log/"),
    ("chat", r"\bdjwsbridge/chat/"),
    ("group commit and threads", r"\bdjwsbridge/(threads|group_commit)\.py"),
    ("the project's consumer", r"\bbenchmarks/sites/"),
    ("the rest of djwsbridge", r"\bdjwsbridge/"),
    ("event loop and threads", r"\b(asyncio|uvloop|asgiref|concurrent)/|uvloop|uv__|libuv"),
)
# Somebody who waits: for work, for a lock, for the network.
_WAITING = re.compile(
    r"PyThread_acquire_lock|pthread_cond_(timed)?wait|;_worker \([^;]*$|(^|;)(epoll_p?wait|poll|select|futex)[^;]*$"
)
_LOADS: dict[str, tuple[Any, Load]] = {
    "fanout": (fanout, "fanout"),
    "unicast": (unicast, "unicast"),
    "persist": (persist, "stored"),
}
_RULES = [(name, re.compile(pattern)) for name, pattern in PARTS]


def share_out(stacks: Iterable[str]) -> dict[str, float]:
    """Return the share of each part, the largest first, from the lines of py-spy's raw format."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not stack or _WAITING.search(stack):
            continue
        counts[_part_of(frames)] += int(count)
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.most_common()}


def _part_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, rule in _RULES:
            if rule.search(frame):
                return name
    return "other"


def profile(names: list[str], options: Options, worlds: Worlds) -> None:
    """Profile our server under the cases of some questions."""
    system = _system(options)
    for name in names:
        module, load = _LOADS[name]
        for case in filter(options.wants, module.cases(options)):
            world = worlds.get(system.site(load), case.users, case.rooms, database=case.database)
            _profile_case(system, world, load, case, options)


def _profile_case(system: Ours, world: World, load: Load, case: Case, options: Options) -> None:
    say(f"  profile of {system.title}: {case.name}")
    name = f"profile-{'persist' if load == 'stored' else load}-{_slug(case.name)}"
    title = f"Where the time goes: {system.title}, {case.name}"
    result = Result(name, title, (("part", "part"), ("share", "share")))
    seconds = max(options.seconds, 1.0)
    raw = BUILD / f"{name}.stacks"
    with system.serve(world, load) as serving:
        lines: Lines = [*connection_lines(world, serving), *system.client(load), *case.lines]
        with closing(Generator([("duration", seconds + 2), *lines])) as generator:
            generator.wait_for("measuring")
            _record(serving.pids[0], seconds, raw)
            counted = generator.wait_for("result")
    stacks = raw.read_text().splitlines()
    for part, share in share_out(stacks).items():
        result.rows.append({"part": part, "share": f"{share:.1%}", "value": round(share, 4)})
    result.settings.update({"case": case.name, "server": system.name, "seconds": seconds})
    result.settings["deliveries_per_second"] = round(counted["deliveries"] / counted["seconds"])
    result.write(options.output)
    say(f"    all stacks, for a flame graph: {raw.relative_to(ROOT)}")


def _record(pid: int, seconds: float, path: Path) -> None:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
        "py-spy"
    )
    if program is None:
        raise RuntimeError("py-spy is not installed. Run: pip install --group bench")
    command = [program, "record", "--pid", str(pid), "--duration", str(int(seconds))]
    command += ["--rate", str(RATE), "--format", "raw", "--output", str(path)]
    begun = time.monotonic()
    done = subprocess.run([*command, "--native"], check=False, capture_output=True, text=True)
    if done.returncode:  # it cannot read the machine's frames here: Python's alone
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"py-spy: {done.stdout}{done.stderr}")
    say(f"    {time.monotonic() - begun:.1f} s sampled")


def _system(options: Options) -> Ours:
    wanted = options.systems or [one.name for one in SYSTEMS]
    for system in SYSTEMS:
        if system.name in wanted and system.missing() is None:
            return system
    raise RuntimeError("None of our servers is there.")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
