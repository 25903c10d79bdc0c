"""How fast a user may do what costs others, over HTTP: messages together with those that they send over sockets."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from djwsbridge.conf import settings
from djwsbridge.protocol.codes import ErrorCode
from djwsbridge.protocol.errors import CommandError, EngineUnavailable
from djwsbridge.protocol.server import RateLimit, WindowCounter
from djwsbridge.runtime import Runtime, run_on_node
from djwsbridge.transport import admission
from djwsbridge.transport.admission import SEARCHES

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = ["SEARCHES", "count_room", "count_search", "count_send"]

MANY_ROOMS = "You have made many rooms. Wait a while before you make another one."
MANY_SEARCHES = "You have looked for many people. Wait a minute, then try again."


def count_send(actor: AbstractBaseUser) -> None:
    """Count one message of a user, on this node and over all of them where the engine counts.

    Raises:
        CommandError: `rate_limited`; `busy` when the node has no time to count.
    """
    user_id = str(actor.pk)
    _ask(lambda node: admission.count_send(node, user_id))


def count_room(actor: AbstractBaseUser) -> None:
    """Count one group that a user makes, as `count_send` does.

    Raises:
        CommandError: as `count_send`.
    """
    key, limit = f"rooms:{actor.pk}", RateLimit(*settings.ROOM_RATE)
    _ask(lambda node: _count(node, key, limit), MANY_ROOMS)


def count_search(actor: AbstractBaseUser) -> None:
    """Count one person that a user asks for, as `count_send` does; whether there is one must make no difference.

    The same limit holds for what a user looks for in vain over sockets.

    Raises:
        CommandError: as `count_send`.
    """
    user_id = str(actor.pk)
    _ask(lambda node: admission.count_search(node, user_id), MANY_SEARCHES)


def _ask(
    count: Callable[[Runtime], Coroutine[Any, Any, float]], message: str | None = None
) -> None:
    """Let the node count; `count` returns 0.0, or the seconds to wait."""
    try:
        wait = run_on_node(count)
    except EngineUnavailable:
        raise CommandError(ErrorCode.BUSY) from None
    if wait:
        milliseconds = int(wait * 1000) + 1
        raise CommandError(ErrorCode.RATE_LIMITED, message, retry_after_ms=milliseconds)


# What was counted on each node, by key.
_counters: WeakKeyDictionary[Runtime, dict[str, WindowCounter]] = WeakKeyDictionary()


async def _count(runtime: Runtime, key: str, limit: RateLimit) -> float:
    counter = admission.counter_of(_counters.setdefault(runtime, {}), key, limit)
    wait = counter.add(runtime.loop.time())
    if wait:
        return wait
    total = await runtime.engine.count(key, seconds=limit.seconds)
    return limit.seconds if total is not None and total > limit.count else 0.0
