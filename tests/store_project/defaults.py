"""What DJWSBRIDGE_MESSAGE_DEFAULTS names: the further fields of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["fill"]


def fill(*, sender: Any, recipient: Any, frame: Mapping[str, Any]) -> dict[str, Any]:
    """Fill the required fields: from the people, and what is wanted of the frame."""
    return {"subject": f"to {recipient.email}", "priority": int(frame.get("priority", 0))}
