"""Which connections are told that a topic has moved, and when."""

from __future__ import annotations

import pytest

from djwsbridge.announcements import Announcements
from djwsbridge.sequencer import Tip


class Reader:
    def __init__(self) -> None:
        self.told: list[dict[str, int]] = []

    def tell_moved(self, seqs: dict[str, int]) -> None:
        self.told.append(seqs)


def tip(seq: int, epoch: str = "e") -> Tip:
    return Tip(epoch, seq)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def announcements(reader: Reader) -> Announcements:
    announcements = Announcements()
    announcements.add(["room.1", "room.2"], reader)
    announcements.begin({"room.1": tip(5), "room.2": tip(7)})
    return announcements


def test_what_has_moved_is_told_in_one_piece(announcements: Announcements, reader: Reader) -> None:
    announcements.tell({"room.1": tip(6), "room.2": tip(8), "room.3": tip(9)})
    assert reader.told == [{"room.1": 6, "room.2": 8}]


def test_what_was_told_is_not_told_again(announcements: Announcements, reader: Reader) -> None:
    announcements.tell({"room.1": tip(5)})
    announcements.tell({"room.1": tip(6)})
    announcements.tell({"room.1": tip(6)})
    assert reader.told == [{"room.1": 6}]


def test_another_epoch_is_told(announcements: Announcements, reader: Reader) -> None:
    announcements.tell({"room.1": tip(5, "f")})
    assert reader.told == [{"room.1": 5}]


def test_a_reader_that_has_left_is_told_nothing(
    announcements: Announcements, reader: Reader
) -> None:
    announcements.remove(["room.1"], reader)
    announcements.tell({"room.1": tip(6), "room.2": tip(8)})
    assert reader.told == [{"room.2": 8}]
    announcements.remove(["room.2", "room.9"], reader)
    assert not announcements.topics()


def test_readers_that_began_at_different_moments_are_all_told(
    announcements: Announcements, reader: Reader
) -> None:
    """The second connection read the log before the first one, and was told later."""
    late = Reader()
    announcements.add(["room.1"], late)
    announcements.begin({"room.1": tip(4)})
    announcements.tell({"room.1": tip(5)})
    assert late.told == [{"room.1": 5}]
