"""Whoever comes back gets exactly what was missed, or is told that nobody can say."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone

from djwsbridge.conf import settings
from djwsbridge.durable import Appended, NewEvent, Recovery
from djwsbridge.log import store
from djwsbridge.log.log import Log
from djwsbridge.log.models import Event, Topic
from djwsbridge.log.store import ROWS
from djwsbridge.protocol.codec import encode_push
from djwsbridge.protocol.pages import LARGEST_PAGE, PAGE_BYTES

pytestmark = [pytest.mark.database, pytest.mark.django_db]


def append(topic: str, count: int = 1) -> list[Appended]:
    with transaction.atomic():
        return Log().append(
            [NewEvent(topic, "thing.done", lambda seq, _now: seq) for _ in range(count)]
        )


def recover(epoch: str, seq: int, topic: str = "room.1") -> Recovery:
    return Log().recover([{topic: (epoch, seq)}])[0][topic]


def seqs(recovery: Recovery) -> list[int]:
    return [frame["seq"] for frame in frames(recovery)]


def frames(recovery: Recovery) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(recovery.events or b"[]")
    assert recovery.last == (found[-1]["seq"] if found else 0)
    return found


@pytest.fixture
def epoch() -> str:
    append("room.1", 10)
    return Topic.objects.get().epoch


def test_a_cursor_at_the_tip_has_missed_nothing(epoch: str):
    assert recover(epoch, 10) == Recovery(epoch=epoch, seq=10, recovered=True)


@pytest.mark.parametrize("seq", range(10))
def test_a_cursor_behind_gets_all_that_came_after_it(epoch: str, seq: int):
    recovery = recover(epoch, seq)
    assert recovery.recovered
    assert seqs(recovery) == list(range(seq + 1, 11))
    assert not recovery.more


def test_a_long_absence_comes_in_pages(epoch: str):
    append("room.1", ROWS + 20)
    first = recover(epoch, 5)
    assert (first.recovered, first.more, len(seqs(first))) == (True, True, ROWS)
    second = recover(epoch, first.last)
    assert (second.recovered, second.more) == (True, False)
    assert seqs(first) + seqs(second) == list(range(6, 10 + ROWS + 20 + 1))


def append_sized(topic: str, *sizes: int) -> str:
    """Append events whose frames have about this many bytes, and return the epoch."""
    events = [
        NewEvent(topic, "thing.done", partial(lambda text, _seq, _now: text, "é" * (size // 2)))
        for size in sizes
    ]
    with transaction.atomic():
        Log().append(events)
    return Topic.objects.get(name=topic).epoch


def test_a_page_holds_what_fits_into_its_bytes() -> None:
    epoch = append_sized("room.2", *[1_000] * 100)
    for size in (5_000, 20_000, PAGE_BYTES):
        page = Log().recover([{"room.2": (epoch, 10)}], size=size)[0]["room.2"]
        assert page.more
        assert size - 2_100 < page.size <= size + 2
        assert seqs(page) == list(range(11, page.last + 1))


def test_a_page_fits_when_later_events_are_larger_than_the_first_ones() -> None:
    epoch = append_sized("room.2", *[100] * store.SAMPLE, *[30_000] * 10)
    page = recover(epoch, 0, "room.2")
    assert (page.recovered, page.more) == (True, True)
    assert page.size <= PAGE_BYTES + 2
    assert len(seqs(page)) == store.SAMPLE + 1


def test_an_event_larger_than_a_page_comes_alone() -> None:
    epoch = append_sized("room.2", 100_000, 10)
    page = recover(epoch, 0, "room.2")
    assert (seqs(page), page.more) == ([1], True)
    assert (seqs(recover(epoch, 1, "room.2"))) == [2]


def test_a_large_page_holds_more(epoch: str) -> None:
    append("room.1", 3 * ROWS)
    page = Log().recover([{"room.1": (epoch, 0)}], size=LARGEST_PAGE)[0]["room.1"]
    assert seqs(page) == list(range(1, 3 * ROWS + 11))
    assert not page.more


def test_the_topics_of_an_answer_share_its_bytes(django_assert_num_queries: Any) -> None:
    sizes = {"room.2": 3_000, "room.3": 3_000, "room.4": 5_000, "room.5": 100}
    cursors = {name: (append_sized(name, *[size] * 10), 0) for name, size in sizes.items()}
    # The positions; `room.2`; `room.3` and `room.4` as for all who are as far, and what of them fits.
    with django_assert_num_queries(6):
        found = Log().recover([cursors])[0]
    assert [len(seqs(page)) for page in found.values()] == [10, 3, 1, 0]
    assert [page.more for page in found.values()] == [False, True, True, True]
    assert all(page.recovered for page in found.values())
    assert sum(page.size for page in found.values()) < PAGE_BYTES + 5_000
    at_the_tip = {**cursors, "room.5": (cursors["room.5"][0], 10)}
    assert not Log().recover([at_the_tip])[0]["room.5"].more


def test_nothing_is_recovered_without_a_cursor(epoch: str):
    expected = Recovery(epoch=epoch, seq=10, recovered=False)
    assert Log().recover([{"room.1": None}]) == [{"room.1": expected}]


def test_a_cursor_of_another_epoch_or_ahead_of_the_log_means_nothing(epoch: str):
    reason = "epoch_changed"
    expected = Recovery(epoch=epoch, seq=10, recovered=False, reason=reason)
    assert recover("another", 3) == expected
    assert recover(epoch, 11) == expected
    store.renew_epoch(["room.1"])
    renewed = recover(epoch, 10)
    assert (renewed.recovered, renewed.reason) == (False, reason)
    assert renewed.epoch != epoch


def test_a_cursor_older_than_what_is_kept_is_not_recovered(epoch: str):
    long_ago = timezone.now() - dt.timedelta(days=31)
    Event.objects.filter(seq__lte=4).update(created=long_ago)
    assert Log().prune() == 4
    assert not recover(epoch, 3).recovered
    assert seqs(recover(epoch, 4)) == [5, 6, 7, 8, 9, 10]
    Event.objects.all().delete()
    assert not recover(epoch, 4).recovered
    assert recover(epoch, 10).recovered


def test_what_misses_one_in_the_middle_is_not_recovered(epoch: str):
    # The database's clock had stepped back: a later event was older, and the first to be pruned.
    Event.objects.filter(seq=7).update(created=timezone.now() - dt.timedelta(days=31))
    assert Log().prune() == 1
    assert recover(epoch, 3) == Recovery(epoch=epoch, seq=10, recovered=False)
    assert seqs(recover(epoch, 7)) == [8, 9, 10]


def test_a_page_that_ends_before_the_tip_is_followed_by_another(epoch: str):
    Event.objects.filter(seq__gte=9).update(created=timezone.now() - dt.timedelta(days=31))
    assert Log().prune() == 2
    first = recover(epoch, 5)
    assert (first.recovered, first.more, seqs(first)) == (True, True, [6, 7, 8])
    assert not recover(epoch, 8).recovered


def test_a_topic_without_a_log_is_left_out():
    assert Log().recover([{"room.9": ("x", 3), "room.8": None}]) == [{}]


def test_recovery_reads_the_positions_once_and_each_topic_once_for_all_who_are_equally_far(
    epoch: str, django_assert_num_queries: Any
):
    append("room.2", 3)
    append("room.3", 3)
    cursors = {topic.name: (topic.epoch, 3) for topic in Topic.objects.all()}
    with django_assert_num_queries(2):
        recovered = Log().recover([cursors] * 5)
    assert [seqs(each["room.1"]) for each in recovered] == [[4, 5, 6, 7, 8, 9, 10]] * 5
    assert all(each.recovered for one in recovered for each in one.values())


def test_each_of_those_who_come_together_gets_what_they_missed(epoch: str):
    append("room.2", 2)
    ahead, behind, other = Log().recover(
        [{"room.1": (epoch, 9)}, {"room.1": (epoch, 7), "room.2": None}, {"room.9": None}]
    )
    assert seqs(ahead["room.1"]) == [10]
    assert seqs(behind["room.1"]) == [8, 9, 10]
    assert not behind["room.2"].recovered
    assert other == {}


def test_a_survey_names_the_topics_that_are_alive(epoch: str):
    append("room.2")
    other = Topic.objects.get(name="room.2").epoch
    Event.objects.filter(topic__name="room.2").update(
        created=timezone.now() - dt.timedelta(hours=1)
    )
    assert Log().survey(None).tips == {"room.1": (epoch, 10)}
    tips = Log().tips(["room.1", "room.2", "room.9"])
    assert tips == {"room.1": (epoch, 10), "room.2": (other, 1)}


def test_a_survey_finds_that_the_newest_event_of_the_last_one_is_gone(epoch: str):
    first = Log().survey(None)
    assert not first.is_rewound
    append("room.1")
    second = Log().survey(first.witness)
    assert not second.is_rewound
    assert second.witness != first.witness
    Event.objects.filter(topic__name="room.1", seq=11).delete()
    Topic.objects.filter(name="room.1").update(seq=10)
    assert Log().survey(second.witness).is_rewound
    assert not Log().survey(first.witness).is_rewound


def test_a_log_that_has_deleted_its_newest_events_was_not_rewound(epoch: str):
    witness = Log().survey(None).witness
    Log().clear("room.1")
    assert not Log().survey(witness).is_rewound


def test_a_survey_finds_another_event_in_the_place_of_the_newest(epoch: str):
    witness = Log().survey(None).witness
    assert witness is not None
    Event.objects.filter(pk=witness.id).update(created=timezone.now())
    assert Log().survey(witness).is_rewound


def test_a_survey_of_an_empty_log_has_no_witness(db: None):
    assert Log().survey(None) == (None, False, {})


def test_an_epoch_is_renewed_once(epoch: str):
    Log().renew("room.1", epoch)
    renewed = Log().tips(["room.1"])["room.1"]
    assert renewed.epoch != epoch
    Log().renew("room.1", epoch)
    assert Log().tips(["room.1"])["room.1"] == renewed


def test_the_first_push_of_a_topic_teaches_its_epoch():
    [first], [second] = append("room.5"), append("room.5")
    epoch = Topic.objects.get(name="room.5").epoch
    assert json.loads(first.text)["epoch"] == epoch
    assert "epoch" not in json.loads(second.text)


def test_an_erasure_reaches_the_log(epoch: str):
    store.replace_payloads("room.1", {3: '{"push":"gone","topic":"room.1","seq":3,"data":{}}'})
    assert next(frame["push"] for frame in frames(recover(epoch, 2))) == "gone"


def store_directly(seq: int, payload: str) -> None:
    """Put another payload under a number, as an older version, or a hand, has left it."""
    assert Event.objects.filter(topic__name="room.1", seq=seq).update(payload=payload)


def too_large(seq: int) -> str:
    blob = "€" * (settings.push_bytes // 3)
    return encode_push("thing.done", topic="room.1", seq=seq, data={"blob": blob})


@pytest.mark.parametrize("write", [too_large, lambda _seq: "{", lambda _seq: "[]"])
@pytest.mark.parametrize("size", [PAGE_BYTES, LARGEST_PAGE])
def test_an_event_that_no_client_can_read_spoils_its_own_topic_alone(
    epoch: str, write: Callable[[int], str], size: int
):
    append("room.2", 3)
    other = Topic.objects.get(name="room.2").epoch
    store_directly(10, write(10))
    [answer] = Log().recover([{"room.1": (epoch, 9), "room.2": (other, 1)}], size=size)
    assert answer["room.1"] == Recovery(epoch=epoch, seq=10, recovered=False)
    assert answer["room.2"].recovered
    assert seqs(answer["room.2"]) == [2, 3]


def test_what_comes_before_an_event_that_is_too_large_is_recovered(epoch: str):
    store_directly(5, too_large(5))
    first = recover(epoch, 2)
    assert (first.recovered, first.more) == (True, True)
    assert seqs(first) == [3, 4]
    assert recover(epoch, 4) == Recovery(epoch=epoch, seq=10, recovered=False)
    assert seqs(recover(epoch, 5)) == [6, 7, 8, 9, 10]


def test_the_largest_event_that_may_be_stored_is_recovered(epoch: str):
    blob = "€" * ((settings.PAYLOAD_BYTES - len('{"blob":""}')) // 3)
    with transaction.atomic():
        Log().append([NewEvent("room.1", "thing.done", lambda _seq, _now: {"blob": blob})])
    assert frames(recover(epoch, 10))[0]["data"]["blob"] == blob
