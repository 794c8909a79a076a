"""The bucket of one actor: never more than the burst at once, never more than the rate for long."""

from hypothesis import given
from hypothesis import strategies as st

from api.access.rate import Buckets
from tests.server import FEW

TIMES = st.lists(st.floats(0, 20), min_size=1, max_size=200).map(sorted)


@given(times=TIMES, per_second=st.floats(0.1, 50), burst=st.integers(1, 20))
@FEW
def test_in_no_span_of_time_does_more_get_through_than_burst_and_rate_allow(times, per_second, burst):
    buckets = Buckets(per_second, burst)
    through = [now for now in times if buckets.take("a", now) == 0]
    for first in range(len(through)):
        for last in range(first, len(through)):
            allowed = burst + (through[last] - through[first]) * per_second
            assert last - first + 1 <= allowed + 1e-6


@given(times=TIMES, per_second=st.floats(0.1, 50), burst=st.integers(1, 20))
@FEW
def test_who_waits_as_long_as_was_told_gets_through(times, per_second, burst):
    buckets = Buckets(per_second, burst)
    for now in times:
        wait_s = buckets.take("a", now)
        if wait_s:
            assert buckets.take("a", now + wait_s * 1.0001 + 1e-6) == 0
            return


def test_one_who_asks_too_often_does_not_slow_another():
    buckets = Buckets(1, 2)
    assert [buckets.take("a", 0) > 0 for _ in range(4)] == [False, False, True, True]
    assert buckets.take("b", 0) == 0


def test_a_clock_that_steps_back_fills_nothing_and_breaks_nothing():
    buckets = Buckets(1, 1)
    assert buckets.take("a", 10) == 0
    assert 0 < buckets.take("a", 5) <= 1


def test_without_a_rate_nobody_waits():
    buckets = Buckets(0, 1)
    assert all(buckets.take("a", 0) == 0 for _ in range(100))
