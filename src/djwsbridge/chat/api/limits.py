"""How fast a user may send over HTTP: together with what they send over sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError, EngineUnavailable
from djwsbridge.runtime import run_on_node
from djwsbridge.transport import admission

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["count_send"]


def count_send(actor: AbstractBaseUser) -> None:
    """Count one message of a user, on this node and over all of them where the engine counts.

    Raises:
        CommandError: `rate_limited`; `busy` when the node has no time to count.
    """
    user_id = str(actor.pk)
    try:
        wait = run_on_node(lambda node: admission.count_send(node, user_id))
    except EngineUnavailable:
        raise CommandError(ErrorCode.BUSY) from None
    if wait:
        raise CommandError(ErrorCode.RATE_LIMITED, retry_after_ms=int(wait * 1000) + 1)
