"""The outbox on disk, so that a message that was handed over survives the process."""

from __future__ import annotations

from pathlib import Path

import msgspec

from djwsbridge.client.outbox import Draft

__all__ = ["OutboxFile"]


class OutboxFile:
    """One line of JSON per message that came or went; for one process at a time.

    A message is in the file before it is sent and leaves it once it is confirmed or refused. What the operating system
    has not written when the machine dies is lost.

    Args:
        path: of the file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Draft]:
        """Return what is not confirmed, in order of sending, and rewrite the file with nothing else in it."""
        drafts: dict[str, Draft] = {}
        for line in self._path.read_bytes().splitlines() if self._path.exists() else ():
            try:
                entry = msgspec.json.decode(line, type=Draft | str)
            except msgspec.MsgspecError:
                continue  # the last line of a process that was killed while it wrote
            if isinstance(entry, Draft):
                drafts[entry.client_message_id] = entry
            else:
                drafts.pop(entry, None)
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(b"".join(_line(draft) for draft in drafts.values()))
        fresh.replace(self._path)
        return list(drafts.values())

    def add(self, draft: Draft) -> None:
        """Keep a message."""
        self._write(draft)

    def remove(self, client_message_id: str) -> None:
        """Let go of a message."""
        self._write(client_message_id)

    def _write(self, entry: Draft | str) -> None:
        with self._path.open("ab") as file:
            file.write(_line(entry))


def _line(entry: Draft | str) -> bytes:
    return msgspec.json.encode(entry) + b"\n"
