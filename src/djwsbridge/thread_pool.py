"""A pool of threads for an event loop, which never waits until a thread has begun."""

from __future__ import annotations

import _thread
import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import connections

__all__ = ["NoThread", "ThreadPool"]

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[Future[Any], Callable[[], Any]]


class NoThread(RuntimeError):
    """There is no thread, and the system has none to give, for now; nothing was done."""


class ThreadPool(Executor):
    """Threads that begin when all others are busy, up to a number; each with database connections of its own.

    Not `concurrent.futures.ThreadPoolExecutor`: it begins its threads by `Thread.start`, which waits until the new one
    has said that it runs. One that dies before, because the process has no memory left, lets `start` wait for ever
    (https://github.com/python/cpython/issues/140746), and the event loop with it. Here whoever submits goes on; what a
    dead thread should have done is done by the next that begins.

    Args:
        size: as many threads as work at once; further jobs wait, in order.
        name: of the threads.
        linger: seconds without a job after which a thread ends and closes its connections.
    """

    def __init__(self, size: int, name: str, *, linger: float) -> None:
        self._size = size
        self._name, self._numbers = name, itertools.count()
        self._linger = linger
        # Guards what follows, and wakes a thread when a job has come.
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        # Whether threads end as soon as they have nothing to do.
        self._is_shut_down = False
        # The threads that have begun and not ended, who count themselves; and those of them that have nothing to do.
        self._alive = self._idle = 0

    @property
    def is_alive(self) -> bool:
        """Say whether it has a thread."""
        return self._alive > 0

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a sync function in a thread, in the caller's context, and return what it returns.

        Raises:
            NoThread: nothing was run.
        """
        executor = cast(ThreadPoolExecutor, self)  # asgiref's name for what any executor can do
        call = functools.partial(function, *args, **kwargs)
        return await sync_to_async(call, thread_sensitive=False, executor=executor)()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a thread; returns at once what will be its result.

        Raises:
            NoThread: nothing will be run.
        """
        future: Future[T] = Future()
        with self._changed:
            self._waiting.append((future, functools.partial(function, *args, **kwargs)))
            self._changed.notify()
            needs_thread = len(self._waiting) > self._idle and self._alive < self._size
        if needs_thread:
            try:
                self._begin_thread()
            except (RuntimeError, MemoryError) as error:
                if not self.is_alive and future.cancel():
                    raise NoThread(str(error)) from error
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  as its base
        """Let the threads end when all jobs are done. Returns at once, whatever `wait` says."""
        with self._changed:
            self._is_shut_down = True
            self._changed.notify_all()

    def _begin_thread(self) -> None:
        """Begin a thread by way of one that may wait for it."""
        name = f"{self._name} {next(self._numbers)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        _thread.start_new_thread(thread.start, ())

    # -- in the threads --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._changed:
            if self._alive == self._size:
                return  # two were begun for one place
            self._alive += 1
        try:
            while self._work():
                pass
        except BaseException:
            with self._changed:
                self._alive -= 1
            raise
        finally:
            connections.close_all()

    def _work(self) -> bool:
        """Do the next job; False when none has come for a while, and then this thread counts no more."""
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._waiting or self._is_shut_down, self._linger)
            finally:
                self._idle -= 1
            if not self._waiting:
                self._alive -= 1
                return False
            future, call = self._waiting.popleft()
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is raised where it was asked for
            future.set_exception(error)
            del future  # or its error's traceback would keep it, and it the error
        return True
