"""What nodes tell each other, over the engine, on a topic of their own."""

from __future__ import annotations

import msgspec

from djwsbridge.presence import Beat, Delta, Question, Snapshot

__all__ = [
    "CONTROL_TOPIC",
    "Control",
    "SubscribeUser",
    "UnsubscribeUser",
    "UserChanged",
    "read_control",
    "write_control",
]

CONTROL_TOPIC = "control.nodes"  # no client can subscribe to it


class SubscribeUser(msgspec.Struct, frozen=True, tag="user.subscribe"):
    """Every connection of a user now listens to a topic."""

    user: str
    topic: str


class UnsubscribeUser(msgspec.Struct, frozen=True, tag="user.unsubscribe"):
    """No connection of a user listens to a topic any more."""

    user: str
    topic: str


class UserChanged(msgspec.Struct, frozen=True, tag="user.changed"):
    """The credentials of a user have to be looked at again.

    Attributes:
        session: the key of the one session that has ended; None when anything may have changed.
    """

    user: str
    session: str | None = None


#: What nodes tell each other.
Control = SubscribeUser | UnsubscribeUser | UserChanged | Delta | Beat | Snapshot | Question

_decoder: msgspec.json.Decoder[Control] = msgspec.json.Decoder(Control)


def read_control(text: str) -> Control | None:
    """Return what a node has said; None when it is of another version and says something unknown."""
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError:
        return None


def write_control(control: Control) -> str:
    """Write what a node says to the others."""
    return msgspec.json.encode(control).decode()
