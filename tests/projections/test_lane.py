"""When a lane stores what it has folded; it is turned by hand, on this thread."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.follow import Follower, last_whole_batch
from eventlog.opening import read_identity
from eventlog.posix import PosixDisk
from projections import give_way, lane
from projections.give_way import GiveWay
from projections.lane import Heads, Lane
from projections.recent import Recent
from tests.projections.logs import append, many


class Turned:
    """A lane of a log of many batches, that hears of one batch more for each turn."""

    def __init__(self, name: str, data_dir: Path, disk: PosixDisk) -> None:
        follower, last = Follower(disk), last_whole_batch(disk, 0)
        self.ends = []
        while follower.read(last, 1):
            self.ends.append(follower.at)
        self.heads, self.way, self.positions = Heads(), GiveWay(), [-1]
        identity = read_identity(disk)
        assert identity is not None
        self.lane = Lane(name, data_dir, data_dir / "runs", disk, identity, self.heads, Recent(1), self.way, self._said)
        self.next_end()
        self.lane._open()
        if name == "files":  # a database is folded at once where there is none
            self.lane._turn()

    def _said(self, **facts: object) -> None:
        position = facts.get("position")
        if isinstance(position, int):
            self.positions.append(position)

    def next_end(self) -> int:
        """Tell of the next batch; return the seq at its end."""
        self.heads.set(self.ends.pop(0))
        return self.heads.newest.next_seq - 1


@pytest.fixture(params=["files", "stats"])
def turned(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turned]:
    monkeypatch.setattr(lane, "_PACES_S", {"files": 3600.0, "stats": 3600.0})
    told = many(12)
    for begin in range(0, len(told), 3):
        append(tmp_path, told[begin : begin + 3])
    with closing(PosixDisk(tmp_path)) as disk:
        turned = Turned(request.param, tmp_path, disk)
        yield turned
        turned.lane._let_go()


def test_what_is_folded_between_two_commits_is_stored_when_it_is_due(turned: Turned) -> None:
    turned.lane._due_at = 0.0
    stored = turned.next_end()
    turned.lane._turn()
    assert turned.positions[-1] == stored
    folded = turned.next_end()
    turned.lane._turn()
    runner = turned.lane._runner
    assert runner is not None
    assert (runner.folded, turned.positions[-1]) == (folded, stored), "not due"
    turned.lane._due_at = 0.0  # no event comes any more
    turned.lane._turn()
    assert turned.positions[-1] == runner.position == folded


def test_somebody_who_waits_has_it_stored_at_once_and_does_not_stand_aside(
    turned: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(give_way, "STOOD_MAX_S", 0.01)
    turned.lane._due_at = 1e12
    turned.way.claim()
    head = turned.next_end()
    turned.lane.ask("hurry")
    turned.lane._turn()
    assert turned.positions[-1] == head
    assert not turned.way._is_free.is_set(), "who stands aside for long takes the way back"
    turned.next_end()
    turned.lane._turn()
    assert turned.positions[-1] == head, "nobody waits"
    assert turned.way._is_free.is_set()


def test_a_lane_that_was_let_go_can_be_asked(turned: Turned) -> None:
    turned.lane._let_go()
    turned.lane.ask("hurry")
    assert not turned.lane._has_work()
