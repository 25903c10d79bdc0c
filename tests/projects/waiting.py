"""Wait for what happens to the clients of a project."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from djwsbridge.client import Client, Push
from tests.servers import POLL_INTERVAL, TIMEOUT

__all__ = ["heard", "soon", "until"]

Value = TypeVar("Value")


async def soon(awaitable: Awaitable[Value]) -> Value:
    """Wait for something, no longer than a test waits for anything."""
    return await asyncio.wait_for(awaitable, TIMEOUT)


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not hold in time.
    """

    async def wait() -> None:
        while not await condition():  # noqa: ASYNC110 - it is asked over a network
            await asyncio.sleep(POLL_INTERVAL)

    try:
        await soon(wait())
    except asyncio.TimeoutError:
        raise TimeoutError(f"gave up waiting for {what}") from None


async def heard(client: Client, type: str, **data: Any) -> Push:
    """Return the next push of a type whose data has these fields; what comes before it is dropped."""

    async def find() -> Push:
        async for push in client.pushes():
            if push.type == type and data.items() <= push.data.items():
                return push
        raise AssertionError("The client has ended.")

    try:
        return await soon(find())
    except asyncio.TimeoutError:
        raise TimeoutError(f"no push {type} with {data} came in time") from None
