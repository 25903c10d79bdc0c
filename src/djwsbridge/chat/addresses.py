"""Names in addresses: whatever characters a name has, it is one segment of a path, and is read from there as it was.

Quoting with `%` is not enough. Servers decode `%2F` before they look for the route, and browsers take `%2E%2E` for a
step up. So these characters are written as `~` and two hexadecimal digits. `nameInAddress` in state/people.js does the
same.
"""

from __future__ import annotations

import re

from djwsbridge.chat.names import RESERVED_SLUGS

__all__ = ["NameConverter", "RoomNameConverter"]

# A slash of either kind, the escape itself, and a segment that means "here" or "one up".
UNSAFE = re.compile(r"[~/\\]|\A\.\.?\Z")
ESCAPED = re.compile("~(7e|2f|5c|2e)")
MARK = "~"  # at the end: the segment would be empty, or another address, without it


class NameConverter:
    """A user's name in a route."""

    regex = "[^/]+"
    #: Segments that need the mark at their end.
    taken = frozenset({""})

    def to_url(self, value: object) -> str:
        """Write a name as a segment; Django quotes the rest of it.

        Args:
            value: the name, or what a template of the project has instead: a number, a UUID, None.
        """
        name = "" if value is None else str(value)
        segment = UNSAFE.sub(lambda found: "".join(f"~{ord(one):02x}" for one in found[0]), name)
        return segment + MARK if segment in self.taken else segment

    def to_python(self, value: str) -> str:
        """Read the name from a segment; what is no escape stands for itself."""
        if value.endswith(MARK) and value.removesuffix(MARK) in self.taken:
            return value.removesuffix(MARK)
        return ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


class RoomNameConverter(NameConverter):
    """A room's slug or title in a route, beside addresses that are no rooms."""

    taken = frozenset({"", *RESERVED_SLUGS})
