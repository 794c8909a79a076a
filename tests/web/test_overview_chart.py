"""The bars of the overview: every day has its place, every run its part, whatever the span."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.web.chart import TICKS_MAX, Unit, rows, stacked
from api.web.overview import Span, charts
from projections.overview import Overview
from tests.server import FEW

NAMES = ("BLOCKED", "ERROR", "OK")
COUNTED = st.dictionaries(
    st.dates(), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 10**6), min_size=1), min_size=1, max_size=8
)


@given(COUNTED)
@FEW
def test_each_run_is_counted_in_the_one_unit_that_its_day_is_in(counted):
    first, last = min(counted), max(counted)
    unit = Unit.of((last - first).days + 1)
    found = rows(counted, first, last, unit)
    assert len(found) <= 250
    assert len({row.name for row in found}) == len(found)
    assert sum(row.total for row in found) == sum(sum(counts.values()) for counts in counted.values())
    for day, counts in counted.items():
        row = next(row for row in found if row.start == unit.start(day))
        assert row.total >= sum(counts.values())
    assert [row.start for row in found] == sorted(row.start for row in found)


@given(COUNTED, st.booleans())
@FEW
def test_bars_stay_within_the_chart_and_their_parts_join(counted, shares):
    first, last = min(counted), max(counted)
    found = rows(counted, first, last, Unit.of((last - first).days + 1))
    chart = stacked(found, NAMES, shares=shares)
    assert len(chart.bars) == len(found)
    assert 2 <= len(chart.ticks) <= TICKS_MAX + 2
    assert (chart.ticks[0].text.rstrip("%"), chart.ticks[0].y) == ("0", 100)
    assert abs(chart.ticks[-1].y) < 1e-9
    for bar, row in zip(chart.bars, found, strict=True):
        assert -1e-9 <= bar.x
        assert bar.x + bar.width <= 100 + 1e-9
        floor = 100.0
        for part in bar.parts:
            assert abs(part.y + part.height - floor) < 1e-6
            floor = part.y
        assert floor >= -1e-6
        if row.total and shares:
            assert abs(floor) < 1e-6


def test_a_day_without_a_run_has_its_place_and_says_so():
    day = date(2026, 1, 5)
    found = rows({day: {"OK": 3, "BLOCKED": 1}}, day, day + timedelta(days=1), Unit.DAY)
    chart = stacked(found, NAMES)
    assert [bar.said for bar in chart.bars] == ["2026-01-05: 1 BLOCKED, 3 OK", "2026-01-06: no runs"]
    assert [tick.text for tick in chart.ticks] == ["0", "1", "2", "3", "4"]
    assert [mark.text for mark in chart.marks] == ["2026-01-05", "2026-01-06"]


def of_days(by_day: dict[date, dict[str, int]]) -> Overview:
    return Overview(by_day, {day: {} for day in by_day}, (), (), max(by_day), {})


@pytest.mark.parametrize("ahead", [2, 36 * 365])
def test_a_run_of_a_day_to_come_leaves_a_range_that_ends_today_as_it_is(ahead):
    today = date(2026, 11, 20)
    found = of_days({today: {"OK": 1}, today + timedelta(days=1): {"OK": 2}, today + timedelta(days=ahead): {"OK": 4}})
    told = charts(found, Span.of("7", today))
    assert (told["unit"], told["later"]) == (Unit.DAY, 4)
    names = [(by_status.name, by_status.total) for by_status, _ in told["numbers"]]
    assert (names[:2], len(names)) == ([("2026-11-21", 2), ("2026-11-20", 1)], 8)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_all_of_time_has_few_bars_and_every_run(day):
    told = charts(of_days({date(2026, 11, 20): {"OK": 1}, day: {"OK": 2}}), Span.of("all", date(2026, 11, 20)))
    assert len(told["numbers"]) <= 101
    assert sum(by_status.total for by_status, _ in told["numbers"]) == 3
    assert told["later"] == 0


def test_long_spans_are_told_by_weeks_months_years_and_more():
    assert [Unit.of(days) for days in (1, 100, 101, 730, 5000, 9000, 40_000, date.max.toordinal())] == [
        "day",
        "day",
        "week",
        "month",
        "month",
        "year",
        "decade",
        "century",
    ]
    assert Unit.WEEK.named(Unit.WEEK.start(date(2026, 1, 1))) == "2025-12-29"
    assert Unit.MONTH.named(Unit.MONTH.start(date(2026, 1, 31))) == "2026-01"
    assert Unit.YEAR.named(Unit.YEAR.start(date(2026, 1, 31))) == "2026"
    assert Unit.DECADE.named(Unit.DECADE.start(date(2026, 1, 31))) == "2020"
    assert [row.name for row in rows({}, date.min, date(250, 1, 1), Unit.CENTURY)] == ["0001", "0100", "0200"]
    names = [row.name for row in rows({}, date(9999, 11, 3), date(9999, 12, 31), Unit.MONTH)]
    assert names == ["9999-11", "9999-12"]


def test_the_lines_across_are_few_and_round():
    for total in (0, 1, 3, 9, 41, 999, 12_345, 10**6):
        day = date(2026, 1, 5)
        chart = stacked(rows({day: {"OK": total}} if total else {}, day, day, Unit.DAY), NAMES)
        assert len(chart.ticks) <= TICKS_MAX + 2
        assert chart.ticks[1].text.replace(",", "").rstrip("0") in ("1", "2", "5")
