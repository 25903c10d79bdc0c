"""A member of staff with a Python shell: takes away what somebody may do, and says when nothing more can come of it.

`python -m tests.faults.staff` reads lines of JSON (what to do, the user, the room). It answers each with the newest seq
of the room, read under the lock under which its messages are numbered: what comes later finds the right gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

from tests.faults.system import System
from tests.servers import ROOT, child_environment

__all__ = ["Staff", "staff"]

TRIES = 20  # of deleting an account that writes on: what is stored meanwhile refers to it


class Staff:
    """The process, as a fault uses it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, what: str, user: int, room: int) -> int:
        """Carry out `remove` (of the membership) or `delete` (of the account); return the room's newest seq after it.

        Raises:
            RuntimeError: it did not work.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, user, room]).encode() + b"\n")
        await self._process.stdin.drain()
        answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError("The staff's process has ended.")
        return int(answer)


@contextlib.asynccontextmanager
async def staff(system: System) -> AsyncIterator[Staff]:
    """Run the process until the block ends."""
    env = child_environment({**system.env, "DATABASE_URL": system.database.url})
    with (system.directory / "staff.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", __spec__.name),
            cwd=ROOT,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        await process.stdout.readline()  # it is ready
        yield Staff(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


def main() -> None:
    """Do what the lines of the standard input say."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.db import IntegrityError, transaction  # noqa: PLC0415

    from djwsbridge.chat.models import Membership  # noqa: PLC0415
    from djwsbridge.log.models import Topic  # noqa: PLC0415

    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        what, user, room = json.loads(line)
        if what == "remove":
            Membership.objects.filter(user_id=user, room_id=room).delete()
        for _ in range(TRIES if what == "delete" else 0):
            with contextlib.suppress(IntegrityError):
                get_user_model().objects.filter(pk=user).delete()
                break
        else:
            if what == "delete":
                raise RuntimeError("The account cannot be deleted.")
        with transaction.atomic():
            seq = Topic.objects.select_for_update().get(name=f"room.{room}").seq
        print(seq, flush=True)  # noqa: T201


if __name__ == "__main__":
    import django

    django.setup()
    main()
