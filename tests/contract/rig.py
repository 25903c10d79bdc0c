"""What the contract tests do with an engine, in the engine's own words."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from djwsbridge.engine.base import Engine
from tests.servers import ROOT, TIMEOUT, child_environment

__all__ = ["Node", "eventually", "run_python"]


class Node:
    """An engine and what it has delivered."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # (topic, text) in order of delivery.
        self.got: list[tuple[str, str]] = []
        # Texts at which its delivery fails.
        self.broken: set[str] = set()
        self._arrived = asyncio.Event()

    def deliver(self, topic: str, text: str) -> None:
        if text in self.broken:
            raise ValueError("This one cannot be delivered.")
        self.got.append((topic, text))
        self._arrived.set()

    def texts(self, topic: str) -> list[str]:
        return [text for where, text in self.got if where == topic]

    async def wait_for(self, count: int) -> None:
        """Return when so many pushes were delivered."""
        try:
            await asyncio.wait_for(self._reach(count), TIMEOUT * 3)
        except asyncio.TimeoutError:
            raise AssertionError(f"{len(self.got)} pushes of {count} arrived") from None

    async def _reach(self, count: int) -> None:
        while len(self.got) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def assert_delivered(self, *expected: tuple[str, str]) -> None:
        """Wait for these pushes, and see that nothing else came."""
        await self.wait_for(len(expected))
        assert self.got == list(expected)

    async def settle(self, publisher: Engine) -> None:
        """Return when everything that was published before has been delivered: a push of our own comes after it."""
        await self.engine.subscribe("room.settled")
        await publisher.publish("room.settled", "{}")
        await eventually(lambda: ("room.settled", "{}") in self.got)
        self.got.remove(("room.settled", "{}"))
        await self.engine.unsubscribe("room.settled")


async def eventually(condition: Callable[[], object], *, timeout: float = TIMEOUT) -> None:
    """Return when a condition holds that nothing announces."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "gave up waiting"
        await asyncio.sleep(0.01)


async def run_python(code: str, *, cwd: Path, env: Mapping[str, str]) -> Any:
    """Run a program in a process of its own and return the JSON that it printed last."""
    path = f"{cwd}:{ROOT / 'src'}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-c", code),
        cwd=cwd,
        env={**child_environment(env), "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert not err, err.decode()
    return json.loads(out.splitlines()[-1]) if out else None
