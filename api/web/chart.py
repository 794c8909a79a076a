"""Counts over time as bars that stand on each other. Pure: places in percent, so that it is sharp at any width.

Every day of the span has its place, also one without a run; a long span is told by weeks or months, or by centuries if
a run says that it is of the year 9999, so that the bars are never many.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from enum import StrEnum
from math import ceil, log10
from typing import Self

from attrs import frozen

TICKS_MAX = 4
MARKS_MAX = 3
_LONGEST = {"day": 100, "week": 7 * 104, "month": 31 * 240, "year": 366 * 100, "decade": 3660 * 100}
"""How many days a span may have for its bars to be this narrow."""
_GAP = 0.24
"""So much of a bar's place stays free."""

Counts = Mapping[str, int]


class Unit(StrEnum):
    """What one bar stands for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    DECADE = "decade"
    CENTURY = "century"

    @classmethod
    def of(cls, days: int) -> Self:
        """Return the finest unit that leaves bars wide enough to be seen."""
        return cls(next((name for name, longest in _LONGEST.items() if days <= longest), "century"))

    def start(self, day: date) -> date:
        """Return the first day of the unit that *day* is in."""
        if self is Unit.WEEK:
            return date.fromordinal(max(1, day.toordinal() - day.weekday()))
        if self in _YEARS:
            return date(max(1, day.year - day.year % _YEARS[self]), 1, 1)
        return day if self is Unit.DAY else day.replace(day=1)

    def following(self, start: date) -> date:
        """Return the first day of the next one.

        Raises:
            OverflowError: there is none, at the end of the year 9999.

        """
        days = 366 * _YEARS[self] if self in _YEARS else {Unit.DAY: 1, Unit.WEEK: 7, Unit.MONTH: 31}[self]
        return self.start(start + timedelta(days=days))

    def named(self, start: date) -> str:
        """Return what the unit that begins at *start* is called."""
        return start.isoformat()[: 4 if self in _YEARS else 7 if self is Unit.MONTH else 10]


_YEARS = {Unit.YEAR: 1, Unit.DECADE: 10, Unit.CENTURY: 100}


@frozen
class Row:
    """One unit: its name, and how often each name was counted in it."""

    start: date
    name: str
    counts: Counts

    @property
    def total(self) -> int:
        """How many there are of all names."""
        return sum(self.counts.values())


def rows(counted: Mapping[date, Counts], since: date, until: date, unit: Unit) -> list[Row]:
    """Return each unit from *since* to *until*, oldest first, with the counts of its days; no later day counts."""
    sums: dict[date, dict[str, int]] = {start: {} for start in _starts(unit, since, until)}
    for day, counts in counted.items():
        if day > until:
            continue
        mine = sums[unit.start(day)]
        for name, count in counts.items():
            mine[name] = mine.get(name, 0) + count
    return [Row(start, unit.named(start), counts) for start, counts in sums.items()]


def _starts(unit: Unit, since: date, until: date) -> Iterator[date]:
    start = unit.start(since)
    with suppress(OverflowError):
        while start <= until:
            yield start
            start = unit.following(start)


@frozen
class Part:
    """One piece of a bar; y and height in percent, y from the top."""

    name: str
    y: float
    height: float


@frozen
class Bar:
    """The bar of one unit; x and width in percent. The place is the bar and half of the gap at each side."""

    x: float
    width: float
    place_x: float
    place_width: float
    said: str
    parts: tuple[Part, ...]


@frozen
class Tick:
    """A line across, and what it stands for."""

    y: float
    text: str


@frozen
class Mark:
    """The name of a unit below its bar."""

    x: float
    anchor: str
    text: str


@frozen
class Chart:
    """A chart as it is drawn."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


def stacked(found: Sequence[Row], names: Sequence[str], *, shares: bool = False) -> Chart:
    """Return the chart of *found*, the first of *names* lowest; of *shares*, every bar is as high as the whole."""
    step = 25 if shares else _step(max((row.total for row in found), default=0))
    top = 100 if shares else step * max(1, ceil(max((row.total for row in found), default=0) / step))
    ticks = [Tick(100 - value / top * 100, f"{value:,}{'%' if shares else ''}") for value in range(0, top + 1, step)]
    place = 100 / max(1, len(found))
    bars = []
    for number, row in enumerate(found):
        whole = (row.total or 1) if shares else top
        bars.append(
            Bar(
                x=(number + _GAP / 2) * place,
                width=place * (1 - _GAP),
                place_x=number * place,
                place_width=place,
                said=_said(row, names),
                parts=tuple(_parts(row.counts, names, whole)),
            )
        )
    return Chart(tuple(bars), tuple(ticks), tuple(_marks([row.name for row in found])))


def _parts(counts: Counts, names: Sequence[str], whole: int) -> Iterator[Part]:
    below = 0
    for name in names:
        if count := counts.get(name, 0):
            below += count
            yield Part(name, 100 - below / whole * 100, count / whole * 100)


def _said(row: Row, names: Sequence[str]) -> str:
    counted = ", ".join(f"{row.counts[name]:,} {name}" for name in names if row.counts.get(name))
    return f"{row.name}: {counted or 'no runs'}"


def _step(most: int) -> int:
    """Return the least of 1, 2, 5, 10, 20, 50, … that needs no more than so many lines."""
    if most <= TICKS_MAX:
        return 1
    ten = int(10 ** int(log10(most / TICKS_MAX)))
    return next(ten * factor for factor in (1, 2, 5, 10) if ten * factor * TICKS_MAX >= most)


def _marks(names: Sequence[str]) -> Iterator[Mark]:
    count = min(MARKS_MAX, len(names))
    for number in range(count):
        at = round(number * (len(names) - 1) / max(1, count - 1))
        if len(names) <= 2 * MARKS_MAX:  # few, wide bars: each mark in the middle of its own
            yield Mark((at + 0.5) / len(names) * 100, "middle", names[at])
            continue
        anchor = "start" if number == 0 else "end" if number == count - 1 else "middle"
        x = {"start": 0.0, "end": 100.0}.get(anchor, (at + 0.5) / len(names) * 100)
        yield Mark(x, anchor, names[at])
