"""The composition root: builds engine, hub and presence from the settings, once per event loop that serves.

A server process has one event loop and so one `Runtime`, its node. A process that only publishes (a shell, a management
command, a task worker) has none and gets one in a background thread when it first publishes.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import logging
import os
import random
import threading
import uuid
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, cast

from djwsbridge.conf import settings
from djwsbridge.control import (
    CONTROL_TOPIC,
    Control,
    SubscribeUser,
    UnsubscribeUser,
    UserChanged,
    read_control,
    write_control,
)
from djwsbridge.deadlines import Deadlines
from djwsbridge.durable import installed_log
from djwsbridge.engine.base import Engine
from djwsbridge.engine.factory import build_engine
from djwsbridge.engine.outbox import AT_ONCE, Outbox
from djwsbridge.engine.sealed import SealedEngine
from djwsbridge.hub import Hub, Subscriber
from djwsbridge.people import People
from djwsbridge.presence import BEAT_INTERVAL, Beat, Change, Delta, Presence, Question, Snapshot
from djwsbridge.protocol.codec import SIGNAL, encode_push, read_push
from djwsbridge.protocol.errors import EngineUnavailable
from djwsbridge.protocol.topics import is_user_topic, user_topic
from djwsbridge.reconciler import Reconciler
from djwsbridge.sequencer import seq_of
from djwsbridge.subscriptions import Subscriptions

__all__ = [
    "Control",
    "Runtime",
    "SubscribeUser",
    "UnsubscribeUser",
    "UserChanged",
    "current",
    "hand_over_all",
    "publish",
    "run_on_node",
    "user_topic",
]

T = TypeVar("T")

logger = logging.getLogger("djwsbridge.runtime")

HAND_OVER_TIMEOUT = 10.0  # seconds in which a process without a server must have handed over a push
WARNING_INTERVAL = 60.0  # seconds between two warnings of pushes without a seal
COME_BACK_AFTER_REWIND = 1.5  # seconds over which the clients of a rewound topic come back
GOSSIP_INTERVAL = 0.25  # seconds in which changes of presence are gathered before anybody is told


class Member(Subscriber, Hashable, Protocol):
    """What the runtime needs of a connection, besides what the hub needs."""

    async def subscribe(self, topic: str) -> None: ...
    async def unsubscribe(self, topic: str) -> None: ...
    async def let_in(self, topic: str) -> None: ...
    async def look_up_access(self, topic: str) -> None: ...
    async def revalidate(self, *, ended_session: str | None) -> None: ...
    def check(self, *, now: float) -> float: ...
    def move_away(self, *, after: float, come_back: float | None = None) -> None: ...


class Runtime:
    """One node: what the connections of one event loop share.

    Args:
        engine: not started yet; None builds the one that the settings name.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.node = uuid.uuid4().hex[:12]
        self.engine = engine or build_engine()
        if isinstance(self.engine, SealedEngine):
            self.engine.on_doubtful = self._doubt
        self.hub = Hub()
        # Users by key, as some part of this node has seen them a moment ago.
        self.people: People[Any] = People()
        self.presence = Presence(self.node)
        log = installed_log()
        # None without an installed log: nothing is durable then.
        self.reconciler = (
            Reconciler(log, self._deliver, on_rewound=self._on_rewound) if log is not None else None
        )
        self.loop = asyncio.get_running_loop()
        # The thread of that loop. To ask for the running loop is a system call, and every push would.
        self.thread = threading.get_ident()
        # Every connection from its accept to its end.
        self.members: set[Member] = set()
        self.deadlines = Deadlines(self.members)
        self.subscriptions = Subscriptions(
            self.engine,
            self.hub,
            needs_engine=log is None,
            on_joined=self._on_joined,
            on_forgotten=self._on_forgotten,
            on_back=self._on_engine_back,
        )
        # When the next warning of pushes without a seal may be logged, in seconds of the loop's clock.
        self._next_warning = 0.0
        # Pushes that were handed over and not yet given to the engine, oldest first.
        self.outbox = Outbox(self.engine, on_refused=self._deliver_here)
        # None until `start`, and again after one that failed.
        self._starting: asyncio.Task[None] | None = None
        # Whether the engine is started: a second try to start goes on from there.
        self._engine_started = False
        # What runs once the node is ready.
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        """Say whether `start` was called and has not failed."""
        return self._starting is not None

    # -- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to deliver; every caller returns when the node is ready."""
        if self._tasks:
            return  # as nearly always
        starting = self._starting = self._starting or self.loop.create_task(self._start())
        try:
            await asyncio.shield(starting)
        except Exception:
            if self._starting is starting:
                self._starting = None
            raise

    async def _start(self) -> None:
        if not self._engine_started:
            await self.engine.start(self._receive, self._on_engine_back)
            self._engine_started = True
        await self.subscriptions.keep(CONTROL_TOPIC)
        works = [self.outbox.run, self._gossip, self.deadlines.run, self.subscriptions.run]
        if self.reconciler is not None:
            works += [self.reconciler.run, self.reconciler.tend]
        for work in works:
            task = self.loop.create_task(work(), name=f"djwsbridge {work.__name__}")
            task.add_done_callback(_log_failure)
            self._tasks.append(task)
        self._tell(Question())

    async def stop(self) -> None:
        """Take leave of the other nodes and let go of the engine."""
        if self._starting is None:
            return
        self._tell(self.presence.farewell())
        if self._tasks:
            await self.outbox.finish(HAND_OVER_TIMEOUT)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._starting = None
        await self.engine.stop()

    # -- subscriptions ---------------------------------------------------------------------------------------------

    async def subscribe(self, topic: str, subscriber: Subscriber) -> None:
        """Return when a subscriber gets every later push on a topic; see `Subscriptions.add`."""
        await self.subscriptions.add(topic, subscriber)

    async def subscribe_all(self, topics: Iterable[str], subscriber: Subscriber) -> None:
        """Subscribe to many topics at once, or to none when that fails."""
        await self.subscriptions.add_all(topics, subscriber)

    async def unsubscribe(self, topic: str, subscriber: Subscriber) -> None:
        """End a subscription; nothing is delivered to it from this moment on."""
        await self.subscriptions.remove(topic, subscriber)

    async def _on_joined(self, topic: str) -> None:
        if self.reconciler is not None:
            await self.reconciler.learn(topic)

    def _on_forgotten(self, topic: str) -> None:
        if self.reconciler is not None:
            self.reconciler.forget(topic)

    def _on_rewound(self, topic: str) -> None:
        """Send away the clients that have a history of a topic which the database no longer has.

        They come back with their cursors and learn that the epoch has changed. A client of the plain dialect has no
        cursor, and stays.
        """
        for subscriber in self.hub.subscribers(topic):
            if subscriber.dialect.name is not None:
                self.hub.remove(topic, subscriber)
                come_back = random.uniform(0.0, COME_BACK_AFTER_REWIND)  # noqa: S311
                cast(Member, subscriber).move_away(after=0.0, come_back=come_back)

    # -- publishing ------------------------------------------------------------------------------------------------

    def hand_over(self, topic: str, text: str) -> None:
        """Take a push for the engine, in order, and return at once. Call it in the loop of this node."""
        self.outbox.put(topic, text)

    def hand_over_all(self, pushes: Sequence[tuple[str, str]]) -> None:
        """Take pushes (topic, text) for the engine, as `hand_over` does."""
        self.outbox.put_all(pushes)

    async def publish(self, topic: str, text: str) -> None:
        """Give a push to the engine, after all that was handed over before, and return when it was taken.

        Raises:
            EngineUnavailable: it was not taken.
        """
        if self._tasks:
            await self.outbox.deliver(topic, text)
        else:
            await self.engine.publish(topic, text)

    def _deliver_here(self, topic: str, text: str) -> None:
        """Spare this node's readers of a durable push the wait for the reconciliation: order and once-ness are kept."""
        if self.reconciler is not None and seq_of(text) is not None and topic in self.hub:
            self.reconciler.receive(topic, text)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def _receive(self, topic: str, text: str) -> None:
        if topic == CONTROL_TOPIC:
            self._hear(text)
        elif self.reconciler is not None:
            self.reconciler.receive(topic, text)
        else:
            self._deliver(topic, text)

    def _deliver(self, topic: str, text: str) -> None:
        """Hand a push to the subscribers on this node, unless it is larger than any server may be able to send."""
        limit = settings.push_bytes
        if len(text) * 4 > limit and len(text.encode(errors="surrogatepass")) > limit:
            logger.error(
                "A push on %s was dropped: it is larger than DJWSBRIDGE_PAYLOAD_BYTES.", topic
            )
        else:
            self.hub.deliver(topic, text)

    def _doubt(self, topic: str, text: str) -> None:
        """Act on what came over the engine without a genuine seal: believe nothing that can be looked up."""
        if topic == CONTROL_TOPIC:
            self._warn_of_doubt(topic)
            self._hear_doubtful(text)
            return
        push = read_push(text)
        if push is None or push.topic != topic:
            logger.warning("Something on %s is no push of it, and was dropped.", topic)
        elif push.seq is None:
            if push.type == SIGNAL and is_user_topic(topic):
                self._deliver(topic, text)
        elif self.reconciler is not None:
            self._warn_of_doubt(topic)
            self.reconciler.suspect(topic)

    def _warn_of_doubt(self, topic: str) -> None:
        now = self.loop.time()
        if now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL
            logger.warning(
                "A push on %s came without this site's seal: it is looked up instead of believed. A process has "
                "another SECRET_KEY or an earlier release, or another program publishes on this engine.",
                topic,
            )

    def _hear_doubtful(self, text: str) -> None:
        control = read_control(text)
        if isinstance(control, SubscribeUser | UnsubscribeUser):
            topic = control.topic
            self._for_user(control.user, lambda member: member.look_up_access(topic))
        else:
            self._hear(text)

    def _on_engine_back(self) -> None:
        """Find out what was lost while the engine's link was down, and show again who is here."""
        self.people.forget_all(now=self.loop.time())
        if self.reconciler is not None:
            self.reconciler.suspect_all()
        self._tell(Question())
        self._tell(self.presence.snapshot())

    def _hear(self, text: str) -> None:
        """Act on what another node says (or this one: it hears itself as well)."""
        control = read_control(text)
        if control is None:
            logger.warning("Another node said something unknown: is it of another version?")
            return
        if isinstance(control, SubscribeUser):
            self._for_user(control.user, lambda member: member.let_in(control.topic))
        elif isinstance(control, UnsubscribeUser):
            self._drop_user(control)
        elif isinstance(control, UserChanged):
            self.people.forget(control.user, now=self.loop.time())
            self._for_user(
                control.user, lambda member: member.revalidate(ended_session=control.session)
            )
        elif isinstance(control, Question):
            if control.node in (None, self.node):
                self._tell(self.presence.snapshot())
        elif control.node != self.node:
            self._hear_presence(control)

    def _hear_presence(self, control: Delta | Beat | Snapshot) -> None:
        now = self.loop.time()
        changes: list[Change] = []
        question: Question | None = None
        if isinstance(control, Delta):
            changes, question = self.presence.hear_delta(control, now=now)
        elif isinstance(control, Beat):
            question = self.presence.hear_beat(control, now=now)
        else:
            changes = self.presence.hear_snapshot(control, now=now)
        if question is not None:
            self._tell(question)
        self.announce(changes)

    def _for_user(self, user: str, act: Callable[[Member], Coroutine[Any, Any, None]]) -> None:
        for subscriber in self.hub.subscribers(user_topic(user)):
            task = self.loop.create_task(act(cast(Member, subscriber)))
            task.add_done_callback(_log_failure)

    def _drop_user(self, control: UnsubscribeUser) -> None:
        """End subscriptions now: access is lost, so not even the next push may get through."""
        for member in self.hub.subscribers(user_topic(control.user)):
            self.hub.remove(control.topic, member)
        self._for_user(control.user, lambda member: member.unsubscribe(control.topic))

    # -- presence --------------------------------------------------------------------------------------------------

    def announce(self, changes: Iterable[Change]) -> None:
        """Tell the connections of this node who came or went, soon; every node tells its own."""
        for change in changes:
            self.presence.news.add(change)

    def _tell_news(self) -> None:
        """Tell what was announced, except in a crowd."""
        for change in self.presence.take_news(now=self.loop.time()):
            if change.topic not in self.hub:
                continue
            if self.presence.count(change.topic) > settings.PRESENCE_LIMIT:
                continue
            data = {"user": change.person, "state": "online" if change.online else "offline"}
            text = encode_push("presence.changed", topic=change.topic, data=data)
            self.hub.deliver(change.topic, text)

    def _tell(self, control: Control) -> None:
        self.hand_over(CONTROL_TOPIC, write_control(control))

    async def _gossip(self) -> None:
        """Tell those who are here and the other nodes what changed, and the latter that this one lives."""
        next_beat = self.loop.time() + BEAT_INTERVAL
        while True:
            await asyncio.sleep(GOSSIP_INTERVAL)
            self._tell_news()
            delta = self.presence.take_delta()
            if delta is not None:
                self._tell(delta)
            if self.loop.time() >= next_beat:
                next_beat = self.loop.time() + BEAT_INTERVAL
                self._tell(self.presence.beat())
                self.announce(self.presence.expire(now=self.loop.time()))


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s failed.", task.get_name(), exc_info=task.exception())


# -- the runtimes of this process ------------------------------------------------------------------------------------

_lock = threading.Lock()
_runtimes: dict[asyncio.AbstractEventLoop, Runtime] = {}
# The one that was found to serve connections when that was last asked.
_served: Runtime | None = None


def current() -> Runtime:
    """Return the runtime of the running event loop, built when it is first asked for."""
    loop = asyncio.get_running_loop()
    known = _runtimes.get(loop)
    if known is None:  # and nobody else asks for it: a loop has one thread
        with _lock:
            for other in [other for other in _runtimes if other.is_closed()]:
                del _runtimes[other]
            known = _runtimes[loop] = Runtime()
    return known


def _serving() -> Runtime | None:
    """Return the runtime of this process that serves connections, if there is one."""
    global _served  # noqa: PLW0603  nearly always the same: no lock and no search for every push
    known = _served
    if known is not None and known.started and known.loop.is_running():
        return known
    with _lock:
        serving = (one for loop, one in _runtimes.items() if loop.is_running() and one.started)
        _served = next(serving, None)
    return _served


def hand_over_all(pushes: Sequence[tuple[str, str]]) -> None:
    """Give pushes (topic, text) to the engine in their order, from any thread, with or without a running loop.

    In a process that serves, this returns at once and a failure of the engine is logged; the loop is woken once for
    all. In any other it returns when the engine has taken them, so that a command may end right after it.

    Raises:
        EngineUnavailable: in a process that does not serve, the engine did not take all of them.
    """
    runtime = _serving()
    if runtime is None:
        for start in range(0, len(pushes), AT_ONCE):
            _publish_and_wait(pushes[start : start + AT_ONCE])
    elif threading.get_ident() == runtime.thread:
        runtime.hand_over_all(pushes)
    else:
        runtime.loop.call_soon_threadsafe(runtime.hand_over_all, pushes)


def _publish_and_wait(pushes: Sequence[tuple[str, str]]) -> None:
    outcomes = run_on_node(lambda node: node.engine.publish_all(pushes))
    for refused in filter(None, outcomes):
        raise refused


async def publish(topic: str, text: str) -> None:
    """Give a push to the engine and return when it was taken; from any event loop.

    Raises:
        EngineUnavailable: it was not taken.
    """
    runtime = _serving() or current()
    if runtime.loop is asyncio.get_running_loop():
        await runtime.publish(topic, text)
    else:
        await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(runtime.publish(topic, text), runtime.loop)
        )


def run_on_node(function: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
    """Run something on the node of this process and return its result; from a thread that has no event loop.

    Raises:
        EngineUnavailable: it took too long.
    """
    runtime = _serving()
    loop = runtime.loop if runtime is not None else _background_loop()
    future = asyncio.run_coroutine_threadsafe(_on_node(function), loop)
    try:
        return future.result(HAND_OVER_TIMEOUT)
    except concurrent.futures.TimeoutError as error:
        future.cancel()
        raise EngineUnavailable("The node did not answer in time.") from error


async def _on_node(function: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
    return await function(current())


@functools.cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process's publishing thread."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="djwsbridge publisher", daemon=True).start()
    atexit.register(loop.call_soon_threadsafe, loop.stop)
    return loop


def _forget_after_fork() -> None:
    """Begin anew in a child process: it has none of its parent's threads, and none of its loops is running."""
    global _lock, _served  # noqa: PLW0603  somebody may have held it when the process was forked
    _lock = threading.Lock()
    _runtimes.clear()
    _served = None
    _background_loop.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_after_fork)
