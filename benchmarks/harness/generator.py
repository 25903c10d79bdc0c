"""Run the load generator on its core: write its scenario, read its events."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.harness.build import HERE, compile_c
from benchmarks.harness.cores import GENERATOR_CORE, on_core

__all__ = ["BODY", "MESSAGE", "Generator", "Lines", "run_load"]

#: Lines of a scenario: (key, value), some keys several times.
Lines = list[tuple[str, object]]

MESSAGE_BYTES = 200
_MARK = 13  # characters that stand for {number}
_FRAME = '{{"type":"text","content":"{}"}}'
#: The text of every message: its number, and padding.
BODY = "{number}" + "x" * (MESSAGE_BYTES - len(_FRAME.format("")) - _MARK)
#: The message itself: 200 bytes of JSON, the same for everybody.
MESSAGE = _FRAME.format(BODY)


class Generator:
    """A running load generator; to be closed.

    Args:
        lines: its scenario.
        core: where it runs.
    """

    def __init__(self, lines: Lines, *, core: int = GENERATOR_CORE) -> None:
        # What it has said when all were connected; empty before.
        self.connected: dict[str, Any] = {}
        program = compile_c("load", *sorted((HERE / "load").glob("*.c")))
        self._file = tempfile.NamedTemporaryFile("w", suffix=".scenario")  # noqa: SIM115
        self._file.write("".join(f"{key} {_value(value)}\n" for key, value in lines))
        self._file.flush()
        self._process = subprocess.Popen(
            on_core(core, [str(program), self._file.name]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._file.close()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the next event of this name.

        Raises:
            RuntimeError: the generator has ended without it.
        """
        for line in self._process.stdout or ():
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event:
                return found
        _, complaint = self._process.communicate()
        raise RuntimeError(f"The load generator ended before `{event}`:\n{complaint}")

    def tell(self, command: str) -> None:
        """Say `go` or `quit` to a generator that holds."""
        if self._process.stdin is not None:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()

    def complaints(self) -> str:
        """Return what it wrote to stderr, once it has ended."""
        return self._process.communicate()[1]


def run_load(lines: Lines) -> dict[str, Any]:
    """Run a whole scenario; return its result, with that of connecting under `connected`.

    Raises:
        RuntimeError: the generator failed.
    """
    with closing(Generator(lines)) as generator:
        connected = generator.wait_for("connected")
        result = generator.wait_for("result")
        result["connected"] = connected
        result["complaints"] = generator.complaints()
        return result


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write a file of lines; return it."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _value(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
