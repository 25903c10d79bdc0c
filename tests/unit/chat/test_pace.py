from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from djwsbridge.chat.pace import Coalescer, Throttle

INTERVAL = 1.0


def newest() -> Coalescer[str, int]:
    return Coalescer(INTERVAL, max)


class TestCoalescer:
    def test_passes_the_first_on_and_holds_the_next(self) -> None:
        coalescer = newest()
        assert coalescer.deadline is None
        assert coalescer.put("a", 1, now=10.0) == 1
        assert coalescer.put("a", 2, now=10.1) is None
        assert coalescer.put("a", 3, now=10.2) is None
        assert coalescer.put("b", 9, now=10.3) == 9
        assert coalescer.deadline == 11.0
        assert coalescer.take_due(now=10.9) == []
        assert coalescer.take_due(now=11.0) == [3]
        assert coalescer.deadline == 11.3

    def test_says_nothing_twice(self) -> None:
        coalescer = newest()
        coalescer.put("a", 3, now=10.0)
        assert coalescer.put("a", 2, now=10.1) is None
        assert coalescer.take_due(now=11.0) == []

    def test_forgets_who_has_been_silent(self) -> None:
        coalescer = newest()
        coalescer.put("a", 1, now=10.0)
        assert coalescer.take_due(now=11.0) == []
        assert coalescer.deadline is None
        assert coalescer.put("a", 2, now=11.0) == 2

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.floats(0.01, 0.7))))
    def test_each_key_is_heard_once_an_interval_and_its_last_word_in_the_end(
        self, puts: list[tuple[str, int, float]]
    ) -> None:
        coalescer: Coalescer[str, tuple[str, int]] = Coalescer(INTERVAL, max)
        now, told = 0.0, list[tuple[str, int, float]]()

        def run_until(moment: float) -> None:
            while (deadline := coalescer.deadline) is not None and deadline <= moment:
                told.extend((*value, deadline) for value in coalescer.take_due(now=deadline))

        for key, number, wait in puts:
            now += wait
            run_until(now)
            value = coalescer.put(key, (key, number), now=now)
            if value is not None:
                told.append((*value, now))
        run_until(now + 3 * INTERVAL)
        assert coalescer.deadline is None
        for key in "ab":
            heard = [(number, moment) for name, number, moment in told if name == key]
            moments = [moment for _, moment in heard]
            gaps = [after - before for before, after in itertools.pairwise(moments)]
            assert all(gap > INTERVAL - 1e-9 for gap in gaps)
            said = [number for name, number, _ in puts if name == key]
            assert bool(heard) == bool(said)
            if said:
                assert heard[-1][0] >= said[-1]
                assert max(number for number, _ in heard) == max(said)


class TestThrottle:
    def test_admits_each_key_once_an_interval(self) -> None:
        throttle: Throttle[str] = Throttle(3.0)
        moments = (0.0, 1.0, 2.9, 3.0, 5.0, 6.0)
        assert [throttle.admit("a", now=now) for now in moments] == [
            True, False, False, True, False, True,
        ]  # fmt: skip
        assert throttle.admit("b", now=6.0)

    def test_remembers_nobody_for_longer(self) -> None:
        throttle: Throttle[int] = Throttle(3.0)
        for number in range(100):
            throttle.admit(number, now=float(number))
        assert len(throttle._until) == 3
