"""The outbox on disk, so that a message that was handed over survives the process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from djwsbridge.client.outbox import Draft

__all__ = ["OutboxFile"]


class OutboxFile:
    """One line of JSON per message that came or went; for one process at a time.

    A message is in the file before it is sent and leaves it once it is confirmed or refused. What the operating system
    has not written when the machine dies is lost. Where the disk is full or broken, `add` and `remove` raise OSError
    and what was written before stays.

    Args:
        path: of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # What the disk did not let go of; no more than wait in the outbox, since nothing new is sent meanwhile.
        self._gone: list[str] = []

    def load(self) -> list[Draft]:
        """Return what is not confirmed, in order of sending, and rewrite the file with nothing else in it."""
        drafts: dict[str, Draft] = {}
        for line in self._path.read_bytes().splitlines() if self._path.exists() else ():
            try:
                entry = msgspec.json.decode(line, type=Draft | str)
            except msgspec.MsgspecError:
                continue  # half a line: the process was killed while it wrote, or the disk was full
            if isinstance(entry, Draft):
                drafts[entry.client_message_id] = entry
            else:
                drafts.pop(entry, None)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(_lines(drafts.values()))
        fresh.replace(self._path)
        return list(drafts.values())

    def add(self, draft: Draft) -> None:
        """Keep a message; one that raises is not kept and must not be sent."""
        self._write(*self._gone, draft)
        self._gone.clear()

    def remove(self, client_message_id: str) -> None:
        """Let go of a message; when it raises, this is made up for by the next call that does not."""
        self._gone.append(client_message_id)
        self._write(*self._gone)
        self._gone.clear()

    def _write(self, *entries: Draft | str) -> None:
        with self._path.open("ab") as file:
            file.write(_lines(entries))


def _lines(entries: Iterable[Draft | str]) -> bytes:
    # The line break comes first, so that half a line, left by a full disk, does not spoil the next one.
    return b"".join(b"\n" + msgspec.json.encode(entry) for entry in entries)
