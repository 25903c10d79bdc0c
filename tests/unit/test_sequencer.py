"""The sequencer lets every durable push through once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.protocol.codec import encode_push
from djwsbridge.sequencer import MAX_HELD, Sequencer, seq_of


def test_seq_of_reads_the_number_without_reading_the_push():
    assert seq_of(encode_push("message.sent", topic="room.1", seq=7, data={"seq": 3})) == 7
    assert (
        seq_of(encode_push("typing", topic="room.1", data={"seq": 3, "data": {"seq": 4}})) is None
    )
    assert seq_of(encode_push("typing", topic="room.1", data='"seq":3,"data":')) is None


def test_what_comes_next_goes_through_and_what_was_there_does_not():
    sequencer = Sequencer()
    assert sequencer.start("room.1", 4) == []
    assert sequencer.accept("room.1", 5, "five") == ["five"]
    assert sequencer.accept("room.1", 5, "five") == []
    assert sequencer.accept("room.1", 4, "four") == []
    assert sequencer.delivered("room.1") == 5


def test_what_comes_too_early_waits_for_what_is_missing():
    sequencer = Sequencer()
    sequencer.start("room.1", 0)
    assert sequencer.accept("room.1", 3, "three") == []
    assert sequencer.accept("room.1", 2, "two") == []
    assert sequencer.has_gaps
    assert sequencer.gaps() == {"room.1": 0}
    assert sequencer.accept("room.1", 1, "one") == ["one", "two", "three"]
    assert not sequencer.has_gaps
    assert sequencer.gaps() == {}
    sequencer.accept("room.1", 9, "nine")
    assert sequencer.has_gaps
    sequencer.forget("room.1")
    assert not sequencer.has_gaps


def test_an_unknown_topic_begins_with_its_first_push():
    sequencer = Sequencer()
    assert sequencer.accept("room.1", 9, "nine") == ["nine"]
    assert sequencer.delivered("room.1") == 9
    sequencer.forget("room.1")
    assert sequencer.delivered("room.1") is None


def test_what_one_reader_has_recovered_the_others_still_get():
    sequencer = Sequencer()
    sequencer.start("room.1", 100)
    # Somebody comes back and reads up to 110 from the log; 101 to 110 are still on their way here.
    assert sequencer.start("room.1", 110) == []
    assert sequencer.accept("room.1", 101, "101") == ["101"]
    assert sequencer.behind({"room.1": 110}) == {"room.1": 101}


def test_it_knows_which_topics_are_behind_the_log():
    sequencer = Sequencer()
    sequencer.start("room.1", 3)
    sequencer.start("room.2", 3)
    assert sequencer.behind({"room.1": 5, "room.2": 3, "room.3": 9}) == {"room.1": 3}


def test_what_waits_is_bounded():
    sequencer = Sequencer()
    sequencer.start("room.1", 0)
    for seq in range(2, MAX_HELD + 100):
        assert sequencer.accept("room.1", seq, str(seq)) == []
    # The log gives back what was not held.
    out = sequencer.accept("room.1", 1, "1")
    assert out == [str(seq) for seq in range(1, MAX_HELD + 2)]


@given(
    st.lists(st.integers(1, 12), max_size=80),
    st.integers(0, 5),
)
def test_whatever_comes_in_goes_out_ascending_and_once(arrivals: list[int], start: int):
    sequencer = Sequencer()
    sequencer.start("t", start)
    out = [int(text) for seq in arrivals for text in sequencer.accept("t", seq, str(seq))]
    assert out == list(range(start + 1, start + 1 + len(out)))
    reached = start
    while reached + 1 in arrivals:
        reached += 1
    assert sequencer.delivered("t") == reached
