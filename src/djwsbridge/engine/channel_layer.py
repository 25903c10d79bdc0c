"""The engine on a Django Channels layer, whatever `CHANNEL_LAYERS` names.

A node has **one channel** and joins a group once per topic, however many connections listen; channel and group are
Channels' words and stay in this module. For the groups `user_{id}` of the first seed it has one more channel per user
topic: an event that somebody sends there with `group_send` does not say which group it came by, the channel does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from djwsbridge.engine.base import Deliver, Engine, OnBack, attempt
from djwsbridge.protocol.codec import SIGNAL, encode_push
from djwsbridge.protocol.errors import EngineUnavailable

__all__ = ["ChannelLayer", "ChannelLayerEngine", "raise_capacity"]

logger = logging.getLogger("djwsbridge.engine")

CAPACITY = 100_000  # messages waiting for one node: what a thousand channels of capacity 100 would have kept
PREFIX = "djwsbridge"  # of channels and groups; keeps ours apart from the developer's own
PUBLISH_TIMEOUT = 5.0  # seconds; a layer that hangs must not hold its publisher for ever
RETRY_DELAY = 1.0  # seconds after a failed receive: the layer's server is down or restarting
# Seconds between two calls to itself, by which a node finds out that it is not reached.
ECHO_INTERVAL = 2.0
ECHO_PATIENCE = 5  # unheard calls in a row, while other messages do arrive
# Seconds between two renewals of the groups, which layers forget after a day.
RENEW_INTERVAL = 600.0
_SEED_EVENT_TYPES = frozenset({"send_message", "send.message"})
_USER_TOPIC = "user."
_ECHO = "control.echo"

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
    # Not `getattr`: the pub/sub layer answers it only under a running loop.
    capacities = vars(layer).get("channel_capacity")
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
        self._receives_any = hasattr(type(layer), "receive_single")
        # None until `start`.
        self._deliver: Deliver | None = None
        self._on_back: OnBack = lambda: None
        # The channel of this node; empty until `start`.
        self._channel = ""
        # Group → the channel by which this node is in it.
        self._groups: dict[str, str] = {}
        # What runs for this engine: "node", "echo", and one per seed group where the layer needs it.
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Whether this node has heard its last call to itself, and anything at all since then.
        self._heard_itself = self._heard_anything = False

    async def start(self, deliver: Deliver, on_back: OnBack = lambda: None) -> None:
        self._deliver, self._on_back = deliver, on_back
        if self._receives_any:
            # Not the layer's own name: two nodes on one layer would receive each other's messages.
            # Short, and with a name that no user has: a channel's name has less than 100 characters, up to 75 of which
            # are a user's.
            self._channel = f"{PREFIX}.{uuid.uuid4().hex[:12]}!.push"
            self._spawn("node", self._drain_all())
        else:
            self._channel = await self._call(self._layer.new_channel(PREFIX))
            self._spawn("node", self._drain(self._channel, self._handle_push))
        self._spawn("echo", self._echo())

    async def stop(self) -> None:
        await self._end("echo")  # it would join again
        for group, channel in list(self._groups.items()):
            try:
                await self._call(self._layer.group_discard(group, channel))
            except EngineUnavailable as error:
                logger.warning("The channel layer did not let go of %s: %s", group, error)
                break  # the groups forget us by themselves
        await asyncio.gather(*(self._end(name) for name in list(self._tasks)))
        self._groups.clear()
        self._deliver = None

    async def subscribe(self, topic: str) -> None:
        await self._join(_own_group(topic), self._channel)
        group = _seed_group(topic)
        if group is not None and group not in self._groups:
            try:
                await self._join(group, await self._open_seed_channel(group, topic))
            except BaseException:
                await self._end(group)
                raise

    async def unsubscribe(self, topic: str) -> None:
        group = _seed_group(topic)
        try:
            await self._leave(_own_group(topic))
            if group is not None:
                await self._leave(group)
        finally:
            if group is not None:
                self._groups.pop(group, None)
                await self._end(group)

    async def publish(self, topic: str, text: str) -> None:
        await self._call(self._group_send(topic, text))

    async def publish_all(
        self, pushes: Sequence[tuple[str, str]]
    ) -> Sequence[EngineUnavailable | None]:
        outcomes: list[EngineUnavailable | None] = []

        async def publish_each() -> None:
            for topic, text in pushes:
                try:
                    await self._group_send(topic, text)
                except Exception as error:  # noqa: BLE001  each layer has exceptions of its own
                    outcomes.append(_failure(error))
                else:
                    outcomes.append(None)

        try:
            await self._call(publish_each())
        except EngineUnavailable as error:
            outcomes += [error] * (len(pushes) - len(outcomes))
        return outcomes

    async def _group_send(self, topic: str, text: str) -> None:
        message = {"type": "djwsbridge.push", "topic": topic, "text": text}
        await self._layer.group_send(_own_group(topic), message)

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
        # Not `wait_for`: before Python 3.12 it can swallow a cancellation.
        call = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait({call}, timeout=PUBLISH_TIMEOUT)
        finally:
            call.cancel()
        if not call.done():
            raise EngineUnavailable("The channel layer did not answer in time.")
        error = call.exception()
        if error is not None:
            raise _failure(error) from error
        return call.result()

    async def _open_seed_channel(self, group: str, topic: str) -> str:
        """Return a channel by which the events of a seed group are told from all others."""
        if self._receives_any:
            return f"{self._channel.partition('!')[0]}!{topic.removeprefix(_USER_TOPIC)}"
        channel = await self._call(self._layer.new_channel(PREFIX))

        def handle(message: Mapping[str, Any]) -> None:
            self._handle_seed_event(topic, message)

        self._spawn(group, self._drain(channel, handle))
        return channel

    async def _drain(self, channel: str, handle: Handle) -> None:
        """Receive on one channel without pause, for ever."""
        while True:
            try:
                message = await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001  each layer has exceptions of its own
                await self._after_failure(error)
            else:
                attempt(handle, message)

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
                attempt(self._handle_any, channel, message)

    async def _after_failure(self, error: Exception) -> None:
        """Go on receiving: at once after a time-out, else when the layer's server may be back."""
        if type(error).__name__ == "TimeoutError":
            return  # redis-py 8 raises its own in an idle receive, after seconds of waiting: nothing was lost
        logger.warning("The channel layer failed to receive: %r", error)
        await asyncio.sleep(RETRY_DELAY)
        await self._join_again()
        attempt(self._on_back)

    def _handle_any(self, channel: str, message: Mapping[str, Any]) -> None:
        if channel == self._channel:
            self._handle_push(message)
        else:
            self._handle_seed_event(_USER_TOPIC + channel.partition("!")[2], message)

    def _handle_push(self, message: Mapping[str, Any]) -> None:
        topic, text = message.get("topic"), message.get("text")
        self._heard_anything = True
        if topic == _ECHO:
            self._heard_itself = True
        elif self._deliver is not None and isinstance(topic, str) and isinstance(text, str):
            self._deliver(topic, text)

    def _handle_seed_event(self, topic: str, message: Mapping[str, Any]) -> None:
        """Turn an event that somebody sent with `group_send` into a push."""
        data = message.get("data")
        if message.get("type") not in _SEED_EVENT_TYPES or not isinstance(data, dict):
            logger.warning("An event of type %r on %s was ignored.", message.get("type"), topic)
            return
        try:
            text = encode_push(SIGNAL, topic=topic, data=json.loads(json.dumps(data)))
        except (TypeError, ValueError) as error:
            logger.warning("An event on %s cannot be written as JSON: %s", topic, error)
            return
        if self._deliver is not None:
            self._deliver(topic, text)

    async def _echo(self) -> None:
        """Call oneself, and join every group again when that is not heard.

        A layer forgets its groups after a day, when its server is flushed or restarted, or when messages were left
        unread for too long; nobody is told.
        """
        group = _own_group(f"{_ECHO}.{uuid.uuid4().hex}")
        self._groups[group] = self._channel
        await self._join_again()
        unheard, renewed = 0, 0.0
        while True:
            self._heard_itself = self._heard_anything = False
            with contextlib.suppress(EngineUnavailable):
                await self._call(self._layer.group_send(group, {"type": "echo", "topic": _ECHO}))
            await asyncio.sleep(ECHO_INTERVAL)
            renewed += ECHO_INTERVAL
            unheard = 0 if self._heard_itself else unheard + 1
            # Behind a long backlog the call is only late.
            if unheard >= (ECHO_PATIENCE if self._heard_anything else 1):
                logger.warning("This node does not hear itself: it joins its groups again.")
                renewed = RENEW_INTERVAL
                attempt(self._on_back)
            if renewed >= RENEW_INTERVAL:
                unheard, renewed = 0, 0.0
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

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        while task is not None and not task.done():
            task.cancel()  # more than once, should the layer swallow it
            await asyncio.wait({task}, timeout=RETRY_DELAY)


def _failure(error: BaseException) -> EngineUnavailable:
    return EngineUnavailable(f"The channel layer failed: {error!r}")


def _own_group(topic: str) -> str:
    return f"{PREFIX}.{topic}"


def _seed_group(topic: str) -> str | None:
    """Return the group of the first seed that belongs to a topic: `user.7` → `user_7`."""
    if topic.startswith(_USER_TOPIC):
        return f"user_{topic[len(_USER_TOPIC) :]}"
    return None
