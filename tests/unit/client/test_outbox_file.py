"""What is on disk after whatever happens to a disk."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from djwsbridge.client.outbox import Draft
from djwsbridge.client.outbox_file import OutboxFile

A, B, C = (Draft(name, 1, "hello") for name in "abc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.jsonl"


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """Let a file grow by so many bytes and no more; what is beyond is not written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kept(path: Path) -> list[Draft]:
    """Return what the next process finds."""
    return OutboxFile(path).load()


def test_what_is_not_let_go_of_is_kept_in_order(path: Path) -> None:
    file = OutboxFile(path)
    assert file.load() == []
    for draft in (A, B, C):
        file.add(draft)
    file.remove("b")
    file.remove("x")
    assert kept(path) == [A, C]
    assert kept(path) == [A, C]


@pytest.mark.parametrize("size", range(0, 50, 7))
def test_half_a_line_spoils_none_after_it(path: Path, size: int) -> None:
    file = OutboxFile(path)
    file.load()
    file.add(A)
    with room_for(path, size), pytest.raises(OSError, match="File too large"):
        file.add(B)
    file.add(C)
    assert kept(path) == [A, C]


def test_what_could_not_be_let_go_of_goes_with_the_next_one(path: Path) -> None:
    file = OutboxFile(path)
    file.load()
    file.add(A)
    file.add(B)
    for name in "ab":
        with room_for(path, 2), pytest.raises(OSError, match="File too large"):
            file.remove(name)
    file.add(C)
    assert kept(path) == [C]


def test_a_message_that_comes_again_is_kept(path: Path) -> None:
    file = OutboxFile(path)
    file.load()
    file.add(A)
    with room_for(path, 2), pytest.raises(OSError, match="File too large"):
        file.remove("a")
    file.add(A)
    file.add(B)
    assert kept(path) == [A, B]
