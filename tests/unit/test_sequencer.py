"""The sequencer lets every durable push through once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.protocol.codec import encode_push
from djwsbridge.sequencer import MAX_HELD, REMEMBERED, Sequencer, Tip, seq_of


def test_seq_of_reads_the_number_without_reading_the_push():
    assert seq_of(encode_push("message.sent", topic="room.1", seq=7, data={"seq": 3})) == 7
    assert (
        seq_of(encode_push("typing", topic="room.1", data={"seq": 3, "data": {"seq": 4}})) is None
    )
    assert seq_of(encode_push("typing", topic="room.1", data='"seq":3,"data":')) is None


def test_what_comes_next_goes_through_and_what_was_there_does_not():
    sequencer = Sequencer()
    assert sequencer.start("room.1", Tip("e1", 4)) == []
    assert sequencer.accept("room.1", 5, "five") == ["five"]
    assert sequencer.accept("room.1", 5, "five") == []
    assert sequencer.delivered("room.1") == 5
    assert not sequencer.has_suspects


def test_what_comes_too_early_waits_for_what_is_missing():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 0))
    assert sequencer.accept("room.1", 3, "three") == []
    assert sequencer.accept("room.1", 2, "two") == []
    assert sequencer.suspects == {"room.1"}
    assert sequencer.accept("room.1", 1, "one") == ["one", "two", "three"]
    assert sequencer.suspects == set()
    sequencer.accept("room.1", 9, "nine")
    assert sequencer.has_suspects
    sequencer.forget("room.1")
    assert not sequencer.has_suspects


def test_an_unknown_topic_begins_with_its_first_push():
    sequencer = Sequencer()
    assert sequencer.accept("room.1", 9, "nine") == ["nine"]
    assert sequencer.delivered("room.1") == 9
    sequencer.forget("room.1")
    assert sequencer.delivered("room.1") is None


def test_what_one_reader_has_recovered_the_others_still_get():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 100))
    # A client comes back and reads up to 110 from the log; 101 to 110 are still on their way here.
    assert sequencer.start("room.1", Tip("e1", 110)) == []
    assert sequencer.accept("room.1", 101, "101") == ["101"]
    assert sequencer.position("room.1") == Tip("e1", 101)


def test_it_knows_which_topics_stand_elsewhere_in_the_log():
    sequencer = Sequencer()
    for topic in ("behind", "equal", "ahead", "renewed"):
        sequencer.start(topic, Tip("e1", 3))
    tips = {
        "behind": Tip("e1", 5),
        "equal": Tip("e1", 3),
        "ahead": Tip("e1", 2),
        "renewed": Tip("e2", 3),
        "unknown": Tip("e1", 9),
    }
    assert sequencer.differing(tips) == {"behind", "ahead", "renewed"}


def test_a_push_that_contradicts_what_was_released_stops_the_topic_until_the_log_was_read():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 4))
    sequencer.accept("room.1", 5, "five")
    assert sequencer.accept("room.1", 5, "another five") == []
    assert sequencer.suspects == {"room.1"}
    assert sequencer.accept("room.1", 6, "six") == []
    assert sequencer.trust("room.1") == ["six"]
    assert sequencer.suspects == set()


def test_a_number_from_before_the_memory_has_the_log_read_while_the_topic_goes_on():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 50))
    assert sequencer.accept("room.1", 41, "new") == []
    assert sequencer.suspects == {"room.1"}
    assert sequencer.accept("room.1", 51, "51") == ["51"]
    sequencer.trust("room.1")
    assert sequencer.suspects == set()


def test_another_epoch_puts_a_topic_in_doubt():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("", 0))
    sequencer.start("room.1", Tip("e1", 1))
    assert sequencer.suspects == set()
    sequencer.start("room.1", Tip("e2", 1))
    assert sequencer.suspects == {"room.1"}


def test_the_log_contradicts_only_what_is_remembered_and_not_erased():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 0))
    for seq in range(1, REMEMBERED + 3):
        sequencer.accept("room.1", seq, str(seq))
    assert sequencer.anchor("room.1") == 2
    assert not sequencer.contradicts("room.1", 2, "forgotten")
    assert not sequencer.contradicts("room.1", 5, "5")
    assert sequencer.contradicts("room.1", 5, "another")
    erased = encode_push("thing.done", topic="room.1", seq=5, data={"scrubbed": True})
    assert not sequencer.contradicts("room.1", 5, erased)


def test_a_topic_goes_on_from_another_history():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 4))
    sequencer.accept("room.1", 5, "five")
    sequencer.accept("room.1", 7, "seven")
    sequencer.restart("room.1", Tip("e2", 3))
    assert sequencer.suspects == set()
    assert sequencer.accept("room.1", 4, "new four") == ["new four"]
    sequencer.restart("room.2", Tip("e2", 3))
    assert sequencer.delivered("room.2") is None


def test_a_topic_goes_on_behind_what_the_log_has_deleted():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 4))
    sequencer.accept("room.1", 9, "nine")
    assert sequencer.skip("room.1", 3) == []
    assert sequencer.skip("room.1", 8) == ["nine"]
    assert sequencer.suspects == set()
    sequencer.accept("room.1", 9, "another nine")
    assert sequencer.skip("room.1", 20) == []
    assert sequencer.skip("room.2", 20) == []


def test_what_the_log_does_not_have_is_dropped():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 4))
    sequencer.accept("room.1", 9, "a lie")
    assert sequencer.held("room.1") == [9]
    sequencer.drop_held("room.1", [9])
    assert sequencer.suspects == set()


def test_it_tells_once_which_topics_have_moved():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 4))
    assert sequencer.take_moved() == set()
    sequencer.accept("room.1", 5, "five")
    assert sequencer.take_moved() == {"room.1"}
    assert sequencer.take_moved() == set()


def test_what_waits_is_bounded():
    sequencer = Sequencer()
    sequencer.start("room.1", Tip("e1", 0))
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
    sequencer.start("t", Tip("e1", start))
    out = [int(text) for seq in arrivals for text in sequencer.accept("t", seq, str(seq))]
    assert out == list(range(start + 1, start + 1 + len(out)))
    reached = start
    while reached + 1 in arrivals:
        reached += 1
    assert sequencer.delivered("t") == reached
