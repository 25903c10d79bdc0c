"""The engine on a Django Channels layer, whatever `CHANNEL_LAYERS` names.

A node has **one channel** and joins a group once per topic, however many connections listen; channel and group are
Channels' words and stay in this module. For the groups `user_{id}` of the first seed it has one more channel per user
topic: an event that somebody sends there with `group_send` does not say which group it came by, the channel does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from djwsbridge.engine.base import Deliver, Engine
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["ChannelLayer", "ChannelLayerEngine", "raise_capacity"]

logger = logging.getLogger("djwsbridge.engine")

CAPACITY = 100_000  # messages waiting for one node: what a thousand channels of capacity 100 would have kept
PREFIX = "djwsbridge"  # of channels and groups; keeps ours apart from the developer's own
PUBLISH_TIMEOUT = 5.0  # seconds; a layer that hangs must not hold its publisher for ever
RETRY_DELAY = 1.0  # seconds after a failed receive: the layer's server is down or restarting
RENEW_INTERVAL = (
    60.0  # seconds between two renewals of the groups: a flushed Redis has forgotten them
)
_SEED_EVENT_TYPES = frozenset({"send_message", "send.message"})
_USER_TOPIC = "user."

T = TypeVar("T")
Handle = Callable[[Mapping[str, Any]], None]


class ChannelLayer(Protocol):
    """What is used of Channels' layer specification."""

    async def new_channel(self, prefix: str = ...) -> str: ...
    async def receive(self, channel: str) -> dict[str, Any]: ...
    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...
    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


def raise_capacity(layer: ChannelLayer) -> None:
    """Let a layer keep as much for a node as it would keep for the node's connections one by one.

    To be called in every process that sends: `channels_redis` and the in-memory layer drop a message silently on the
    sender's side when the receiver's channel holds `capacity` messages, 100 by default. Layers without such a limit
    (Redis pub/sub) are left alone.
    """
    capacities = getattr(layer, "channel_capacity", None)
    if capacities is None:
        return
    ours = re.compile(rf"{PREFIX}\.")
    if not any(getattr(pattern, "pattern", None) == ours.pattern for pattern, _ in capacities):
        layer.channel_capacity = [(ours, CAPACITY), *capacities]  # type: ignore[attr-defined]


class ChannelLayerEngine(Engine):
    """Carry pushes over a channel layer.

    Args:
        layer: an instance of any layer of Channels' specification.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        raise_capacity(layer)
        self._layer = layer
        # Whether one receive serves all channels of this node (channels_redis.core keeps them in one list).
        self._receives_any = hasattr(layer, "receive_single")
        # None until `start`.
        self._deliver: Deliver | None = None
        # The channel of this node; empty until `start`.
        self._channel = ""
        # Group → the channel by which this node is in it.
        self._groups: dict[str, str] = {}
        # What runs for this engine: "node", "renew", and one per seed group where the layer needs it.
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._channel = await self._call(self._layer.new_channel(PREFIX))
        if self._receives_any:
            self._spawn("node", self._drain_all())
        else:
            self._spawn("node", self._drain(self._channel, self._handle_push))
        self._spawn("renew", self._renew())

    async def stop(self) -> None:
        for group, channel in list(self._groups.items()):
            try:
                await asyncio.wait_for(self._layer.group_discard(group, channel), PUBLISH_TIMEOUT)
            except Exception as error:  # noqa: BLE001  the group forgets us by itself
                logger.warning("The channel layer did not let go of %s: %r", group, error)
                break
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._groups.clear()
        self._deliver = None

    async def subscribe(self, topic: str) -> None:
        await self._join(_own_group(topic), self._channel)
        group = _seed_group(topic)
        if group is not None and group not in self._groups:
            await self._join(group, await self._open_seed_channel(group, topic))

    async def unsubscribe(self, topic: str) -> None:
        await self._leave(_own_group(topic))
        group = _seed_group(topic)
        if group is not None:
            await self._leave(group)
            task = self._tasks.pop(group, None)
            if task is not None:
                task.cancel()

    async def publish(self, topic: str, text: str) -> None:
        message = {"type": "djwsbridge.push", "topic": topic, "text": text}
        await self._call(self._layer.group_send(_own_group(topic), message))

    async def _join(self, group: str, channel: str) -> None:
        if group not in self._groups:
            await self._call(self._layer.group_add(group, channel))
            self._groups[group] = channel

    async def _leave(self, group: str) -> None:
        channel = self._groups.pop(group, None)
        if channel is not None:
            await self._call(self._layer.group_discard(group, channel))

    async def _call(self, awaitable: Awaitable[T]) -> T:
        """Await a call of the layer; whatever goes wrong there has one name here."""
        try:
            return await asyncio.wait_for(awaitable, PUBLISH_TIMEOUT)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # each layer has exceptions of its own
            raise EngineUnavailable(f"The channel layer failed: {error!r}") from error

    async def _open_seed_channel(self, group: str, topic: str) -> str:
        """Return a channel by which the events of a seed group are told from all others."""
        if self._receives_any:
            return f"{self._channel.partition('!')[0]}!{topic}"
        channel = await self._call(self._layer.new_channel(PREFIX))

        def handle(message: Mapping[str, Any]) -> None:
            self._handle_seed_event(topic, message)

        self._spawn(group, self._drain(channel, handle))
        return channel

    async def _drain(self, channel: str, handle: Handle) -> None:
        """Receive on one channel without pause, for ever."""
        while True:
            try:
                handle(await self._layer.receive(channel))
            except Exception as error:  # noqa: BLE001  each layer has exceptions of its own
                await self._after_failure(error)

    async def _drain_all(self) -> None:
        """Receive on all channels of this node at once."""
        receive_any: Callable[[str], Awaitable[tuple[Any, dict[str, Any]]]]
        receive_any = self._layer.receive_single  # type: ignore[attr-defined]
        node = self._channel.partition("!")[0] + "!"
        while True:
            try:
                channels, message = await receive_any(node)
            except Exception as error:  # noqa: BLE001  each layer has exceptions of its own
                await self._after_failure(error)
                continue
            for channel in channels if isinstance(channels, list) else [channels]:
                if channel == self._channel:
                    self._handle_push(message)
                else:
                    self._handle_seed_event(channel[len(node) :], message)

    async def _after_failure(self, error: Exception) -> None:
        """Go on receiving: at once after a time-out, else when the layer's server may be back."""
        if type(error).__name__ == "TimeoutError":
            return  # redis-py 8 raises its own in an idle receive, after seconds of waiting: nothing was lost
        logger.warning("The channel layer failed to receive: %r", error)
        await asyncio.sleep(RETRY_DELAY)
        await self._join_again()

    def _handle_push(self, message: Mapping[str, Any]) -> None:
        topic, text = message.get("topic"), message.get("text")
        if self._deliver is not None and isinstance(topic, str) and isinstance(text, str):
            self._deliver(topic, text)

    def _handle_seed_event(self, topic: str, message: Mapping[str, Any]) -> None:
        """Turn an event that somebody sent with `group_send` into a push."""
        data = message.get("data")
        if message.get("type") not in _SEED_EVENT_TYPES or not isinstance(data, dict):
            logger.warning("An event of type %r on %s was ignored.", message.get("type"), topic)
        elif self._deliver is not None:
            self._deliver(
                topic, encode_push("signal", topic=topic, data=json.loads(json.dumps(data)))
            )

    async def _renew(self) -> None:
        """Join every group again now and then: layers forget them, after a day or with their server."""
        while True:
            await asyncio.sleep(RENEW_INTERVAL)
            await self._join_again()

    async def _join_again(self) -> None:
        for group, channel in list(self._groups.items()):
            try:
                await self._call(self._layer.group_add(group, channel))
            except EngineUnavailable as error:
                logger.warning("The groups could not be renewed: %s", error)
                return

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = asyncio.get_running_loop().create_task(
            coroutine, name=f"djwsbridge {name}"
        )


def _own_group(topic: str) -> str:
    return f"{PREFIX}.{topic}"


def _seed_group(topic: str) -> str | None:
    """Return the group of the first seed that belongs to a topic: `user.7` → `user_7`."""
    if topic.startswith(_USER_TOPIC):
        return f"user_{topic[len(_USER_TOPIC) :]}"
    return None
