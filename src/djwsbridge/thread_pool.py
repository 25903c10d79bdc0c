"""A pool of threads for an event loop, which never waits until a thread has begun."""

from __future__ import annotations

import _thread
import functools
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import connections

__all__ = ["NoThread", "ThreadPool", "end_threads"]

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
        # All threads until they have closed their connections.
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        # How often the threads were told to end: one that began before ends when it has nothing to do.
        self._dismissals = 0
        with _lock:
            _pools.add(self)

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

    def forget_threads(self) -> None:
        """Begin anew in a forked process: there are no threads, and a copy of a job is none of its own."""
        self._changed = threading.Condition()
        self._waiting.clear()
        self._alive = self._idle = 0
        self._threads.clear()

    def dismiss(self) -> list[threading.Thread]:
        """Let the threads of now end when they have nothing to do. Others begin for later jobs.

        Returns:
            The threads, to wait until they have closed their connections.
        """
        with self._changed:
            self._dismissals += 1
            self._changed.notify_all()
            return list(self._threads)

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
            self._threads.add(threading.current_thread())
            dismissals = self._dismissals
        try:
            while self._work(dismissals):
                pass
        except BaseException:
            with self._changed:
                self._alive -= 1
            raise
        finally:
            connections.close_all()

    def _work(self, dismissals: int) -> bool:
        """Do the next job; False when none has come for a while, and then this thread counts no more."""
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(
                    lambda: self._waiting or self._must_end(dismissals), self._linger
                )
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

    def _must_end(self, dismissals: int) -> bool:
        return self._is_shut_down or self._dismissals != dismissals


# Guards the pools of this process.
_lock = threading.Lock()
_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


def end_threads(timeout: float) -> None:
    """End the threads of all pools that have nothing to do, and return when their connections are closed.

    Args:
        timeout: seconds after which this returns although a thread still has something to do.
    """
    deadline = time.monotonic() + timeout
    with _lock:
        pools = list(_pools)
    for thread in [thread for pool in pools for thread in pool.dismiss()]:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


def _forget_after_fork() -> None:
    """Begin anew in a child process, which has none of its parent's threads."""
    global _lock  # noqa: PLW0603  a thread of the parent may have held it
    _lock = threading.Lock()
    for pool in list(_pools):
        pool.forget_threads()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_after_fork)
