"""The pool of threads: which thread does what, when it begins and ends, and what a dead one costs."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from unittest.mock import Mock

import pytest

from djwsbridge.thread_pool import NoThread, ThreadPool, end_threads
from tests.servers import TIMEOUT, wait_until

SUBMITTERS = 4
LINGER = 2.0  # seconds
EACH = 300  # jobs


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Hold jobs back until it is set; in the end it is."""
    gate = threading.Event()
    yield gate
    gate.set()


def results_of(futures: list[Future[Any]]) -> list[Any]:
    return [future.result(TIMEOUT) for future in futures]


def test_a_thread_begins_when_all_others_are_busy_up_to_the_size() -> None:
    pool, both = ThreadPool(2, "pool", linger=LINGER), threading.Barrier(2, timeout=TIMEOUT)

    def meet() -> int:
        both.wait()
        return threading.get_ident()

    assert len(set(results_of([pool.submit(meet) for _ in range(6)]))) == 2


def test_a_thread_that_is_free_takes_the_next_job() -> None:
    pool, seen = ThreadPool(8, "pool", linger=LINGER), set()
    for _ in range(20):
        seen.add(pool.submit(threading.current_thread).result(TIMEOUT))
        wait_until(lambda: pool._idle == 1, "the thread to be free")
    assert {thread.name for thread in seen} == {"pool 0"}
    assert len(seen) == 1


def test_a_pool_that_is_shut_down_does_its_jobs_and_ends(gate: threading.Event) -> None:
    pool = ThreadPool(1, "pool", linger=threading.TIMEOUT_MAX)
    futures = [pool.submit(gate.wait, TIMEOUT), pool.submit(int)]
    pool.shutdown()
    gate.set()
    assert results_of(futures) == [True, 0]
    wait_until(lambda: not pool.is_alive, "the thread to end")


def test_jobs_of_one_thread_are_done_in_order(gate: threading.Event) -> None:
    pool, seen = ThreadPool(1, "pool", linger=LINGER), []  # type: ignore[var-annotated]
    futures = [pool.submit(gate.wait, TIMEOUT), *[pool.submit(seen.append, n) for n in range(50)]]
    gate.set()
    results_of(futures)
    assert seen == list(range(50))


def test_what_a_job_raises_is_raised_where_it_was_asked_for() -> None:
    pool = ThreadPool(1, "pool", linger=LINGER)
    failed = [pool.submit(lambda: 1 / 0), pool.submit(lambda: exec("raise SystemExit(1)"))]
    assert [type(future.exception(TIMEOUT)) for future in failed] == [ZeroDivisionError, SystemExit]
    assert pool.submit(lambda: 7).result(TIMEOUT) == 7


def test_a_job_that_was_cancelled_is_not_done(gate: threading.Event) -> None:
    pool, seen = ThreadPool(1, "pool", linger=LINGER), []  # type: ignore[var-annotated]
    first, second = pool.submit(gate.wait, TIMEOUT), pool.submit(seen.append, 2)
    assert second.cancel()
    gate.set()
    results_of([first, pool.submit(seen.append, 3)])
    assert seen == [3]


def test_a_thread_without_a_job_ends_and_another_begins() -> None:
    pool = ThreadPool(1, "pool", linger=0.01)
    first = pool.submit(threading.current_thread).result(TIMEOUT)
    first.join(TIMEOUT)
    assert not pool.is_alive
    assert pool.submit(threading.current_thread).result(TIMEOUT) is not first


def test_no_job_is_left_where_threads_end_while_others_submit() -> None:
    pool, before = ThreadPool(1, "pool", linger=0.0), sys.getswitchinterval()
    done: list[int] = []

    def submit() -> None:
        done.extend(pool.submit(abs, n).result(TIMEOUT) for n in range(EACH))

    submitters = [threading.Thread(target=submit) for _ in range(SUBMITTERS)]
    sys.setswitchinterval(1e-6)  # seconds: threads take turns within nearly every line
    try:
        for submitter in submitters:
            submitter.start()
        for submitter in submitters:
            submitter.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(done) == sorted([*range(EACH)] * SUBMITTERS)


def test_a_thread_that_dies_before_it_runs_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it does in a process without memory, see https://github.com/python/cpython/issues/140746."""
    died = threading.Event()

    def die(thread: threading.Thread) -> None:
        died.set()
        raise SystemExit  # unlike a MemoryError, it is not printed

    pool = ThreadPool(1, "pool", linger=LINGER)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "_bootstrap", die)
        first = pool.submit(lambda: 1)
        assert died.wait(TIMEOUT)
    assert results_of([pool.submit(lambda: 2), first]) == [2, 1]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_system_without_threads_is_told_of_and_nothing_is_done_later(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pool, seen = ThreadPool(1, "pool", linger=LINGER), []  # type: ignore[var-annotated]
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", Mock(side_effect=error))
        with pytest.raises(NoThread):
            pool.submit(seen.append, 1)
    pool.submit(seen.append, 2).result(TIMEOUT)
    assert seen == [2]


def test_busy_threads_do_what_a_system_without_more_of_them_cannot(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    pool = ThreadPool(2, "pool", linger=LINGER)
    first = pool.submit(gate.wait, TIMEOUT)
    wait_until(first.running, "the first job to be under way")
    monkeypatch.setattr(_thread, "start_new_thread", Mock(side_effect=RuntimeError))
    second = pool.submit(lambda: 2)
    gate.set()
    assert second.result(TIMEOUT) == 2


def test_threads_that_are_told_to_end_are_waited_for_and_others_begin() -> None:
    pool = ThreadPool(1, "pool", linger=threading.TIMEOUT_MAX)
    first = pool.submit(threading.current_thread).result(TIMEOUT)
    end_threads(TIMEOUT)
    assert not first.is_alive()
    second = pool.submit(threading.current_thread).result(TIMEOUT)
    assert second is not first
    assert pool.submit(threading.current_thread).result(TIMEOUT) is second


def test_a_busy_thread_that_is_told_to_end_first_does_its_jobs(gate: threading.Event) -> None:
    pool = ThreadPool(1, "pool", linger=threading.TIMEOUT_MAX)
    thread = pool.submit(threading.current_thread).result(TIMEOUT)
    futures = [pool.submit(gate.wait, TIMEOUT), pool.submit(int)]
    end_threads(0.0)
    assert thread.is_alive()
    gate.set()
    assert results_of(futures) == [True, 0]
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_thread_that_ends_all_threads_does_not_wait_for_itself() -> None:
    pool = ThreadPool(1, "pool", linger=LINGER)
    pool.submit(end_threads, threading.TIMEOUT_MAX).result(TIMEOUT)


FORK = """
import os, time
from djwsbridge.thread_pool import ThreadPool

pool = ThreadPool(1, "pool", linger=60)
pool.submit(int).result()
while pool._idle == 0:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    pool.submit(os._exit, 7).result(10)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


def test_a_forked_process_has_threads_of_its_own() -> None:
    """As Celery's children have, and the live server of Channels' tests. The parent's threads are not in the child."""
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=TIMEOUT)
