"""Lanes stand aside for the catalog, and are never held up by one that cannot go on."""

from threading import Event, Thread

import pytest
from attrs import define

from projections import give_way
from projections.give_way import GiveWay


class Lane:
    """A thread that stands aside once."""

    def __init__(self, way: GiveWay) -> None:
        self.began, self.went_on = Event(), Event()
        self._thread = Thread(target=self._run, args=(way,), daemon=True)
        self._thread.start()
        assert self.began.wait(10)

    def _run(self, way: GiveWay) -> None:
        self.began.set()
        way.stand_aside()
        self.went_on.set()


@define
class Clock:
    """Stands still until it is told to go on."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_nobody_stands_aside_while_nobody_waits() -> None:
    way = GiveWay()
    way.stand_aside()
    way.claim()
    way.release()
    way.stand_aside()


def test_lanes_stand_aside_until_the_catalog_has_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(give_way, "STOOD_MAX_S", 60)
    way = GiveWay()
    way.claim()
    lanes = [Lane(way), Lane(way)]
    assert not any(lane.went_on.wait(0.05) for lane in lanes)
    way.release()
    assert all(lane.went_on.wait(10) for lane in lanes)


def test_lanes_that_stood_aside_then_have_as_long_for_themselves_however_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(give_way, "STOOD_MAX_S", 60)
    clock = Clock()
    way = GiveWay(clock)
    way.claim()
    clock.now += 0.125
    way.release()
    for _ in range(3):
        way.claim()
        assert Lane(way).went_on.wait(10)
        clock.now += 0.03125
    clock.now += 0.03125
    way.claim()
    lane = Lane(way)
    assert not lane.went_on.wait(0.05), "they have had it"
    way.release()
    assert lane.went_on.wait(10)


def test_a_catalog_that_does_not_commit_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(give_way, "STOOD_MAX_S", 0.01)
    clock = Clock()
    way = GiveWay(clock)
    way.claim()
    clock.now += 5
    way.stand_aside()
    monkeypatch.setattr(give_way, "STOOD_MAX_S", 60)
    way.claim()
    assert Lane(way).went_on.wait(10), "it is theirs now"
