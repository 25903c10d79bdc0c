"""Which topic is whose: the one place that turns the key of a user into a topic, or into what clients know it by."""

from __future__ import annotations

import hashlib
import re

__all__ = ["is_user_topic", "user_topic", "wire_id"]

_PREFIX = "user."
# Keys that a topic can hold as they are: integers, UUIDs, most others. A topic has at most 80 characters, and neither
# `TOPIC_PATTERN` nor the names of Channels' groups allow other ones. A period at the beginning marks a digest.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,74}")


def wire_id(key: object) -> int | str:
    """Return a user's key as it goes over the wire: an integer as it is, any other key as text."""
    return key if isinstance(key, int) else str(key)


def is_user_topic(topic: str) -> bool:
    """Say whether a topic is that of a user."""
    return topic.startswith(_PREFIX)


def user_topic(user_id: object) -> str:
    """Return the topic of a user: everything for all of their devices.

    A key that a topic can hold stands in it as it is: `user.7`. Any other key, such as an e-mail address, is replaced
    by its SHA-256: `user..9f86d081…`. Two keys never share a topic, and a key has the same topic on every node.

    Args:
        user_id: the primary key, or its text.
    """
    if type(user_id) is int:
        return f"{_PREFIX}{user_id}"
    key = str(user_id)
    if _PLAIN_KEY.fullmatch(key) is None:
        key = f".{hashlib.sha256(key.encode()).hexdigest()}"
    return f"{_PREFIX}{key}"
