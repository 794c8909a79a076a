"""A projection dies at each event in turn, or is thrown back to each state that it ever stored: it comes to the same end.

The same is what a rebuild gives: tables row for row, files byte for byte.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from eventlog.event import Recorded
from eventlog.follow import Follower
from eventlog.opening import read_identity
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from projections.files import Files
from projections.known import NAMES, SWAPPED, database_of
from projections.offline import opened
from projections.projection import Projection, Saved
from projections.runner import Runner
from tests.projections.logs import append, many
from tests.projections.story import tree_of
from tests.projections.test_rebuild import rebuild_all, rows

TOLD = many(24)
EVENTS_A_BATCH = 4
BYTES_AT_ONCE = 1500
OPCODES_A_STEP = 12


class Killed(BaseException):
    """The process ends here."""


@define
class Watched:
    """A projection that calls back around what it does, and else is what it is."""

    projection: Projection
    before_apply: Callable[[int], None] = lambda _seq: None
    before_commit: Callable[[int], None] = lambda _position: None
    after_commit: Callable[[int], None] = lambda _position: None
    lives_on: bool = False
    """Whether it is not killed by what is raised."""
    stop_commit_after: int = 0
    """After how many steps of SQLite's the first commit is cut off; 0 for never."""

    @property
    def name(self) -> str:
        return self.projection.name

    @property
    def version(self) -> int:
        return self.projection.version

    def saved(self) -> Saved | None:
        return self.projection.saved()

    def apply(self, recorded: Recorded) -> None:
        self.before_apply(recorded.seq)
        self.projection.apply(recorded)

    def commit(self, saved: Saved) -> None:
        self.before_commit(saved.position)
        if self.stop_commit_after:
            left = iter(range(self.stop_commit_after))
            self.projection._db.set_progress_handler(lambda: next(left, -1) == -1, OPCODES_A_STEP)  # type: ignore[attr-defined]
        self.projection.commit(saved)
        self.after_commit(saved.position)

    def rollback(self) -> None:
        if self.lives_on:  # a process that was killed does not tidy up
            self.projection.rollback()

    def close(self) -> None:
        self.projection.close()


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of many batches, and what a rebuild makes of it."""
    data_dir = tmp_path_factory.mktemp("told")
    for begin in range(0, len(TOLD), EVENTS_A_BATCH):
        append(data_dir, TOLD[begin : begin + EVENTS_A_BATCH])
    rebuild_all(data_dir)
    return data_dir


@define
class Place:
    """A data directory with the log alone; its projection is opened and run again and again."""

    data_dir: Path
    name: str
    disk: PosixDisk
    end: End
    ends: list[End]
    """Of the batches on the way there."""

    @property
    def position(self) -> int:
        """How far its stored state covers the log."""
        path = database_of(self.data_dir, self.name)
        if not path.exists():
            return -1
        with closing(sqlite3.connect(path)) as db:
            row = db.execute("SELECT next_seq FROM saved").fetchone()
        return row[0] - 1 if row else -1

    def opened(self) -> Projection:
        """Return the projection with its stored state; one that is not there is begun."""
        if self.name != Files.name:
            return SWAPPED[self.name](database_of(self.data_dir, self.name))
        files = Files(self.data_dir, self.data_dir / "runs")
        if files.saved() is None:
            files.reset()
        return files

    def run(self, is_due: Callable[[], bool] = lambda: True, **watch: Any) -> None:
        """Run it to the head, batch by batch, from what is stored; a state that is not there is begun."""
        projection = self.opened()
        identity = read_identity(self.disk)
        assert identity is not None
        watched = Watched(projection, **watch)
        with closing(Runner(watched, self.disk, identity, bytes_at_once=BYTES_AT_ONCE)) as runner:
            for end in self.ends:
                runner.run_to(end, is_due=is_due)
                assert runner.folded == max(end.next_seq - 1, runner.position)
            runner.run_to(self.end)
            assert runner.failed is None
            assert runner.position == self.end.next_seq - 1

    def is_as_rebuilt(self, log_dir: Path) -> None:
        (schema, found), (wanted_schema, wanted) = (
            rows(database_of(each, self.name)) for each in (self.data_dir, log_dir)
        )
        if self.name == Files.name:
            found["saved"], wanted["saved"] = [[row[:-1] for row in each["saved"]] for each in (found, wanted)]  # roots
            assert tree_of(self.data_dir / "runs") == tree_of(log_dir / "runs")
            assert not (self.data_dir / "quarantine").exists(), "what it wrote itself it took for another's"
        assert (schema, found) == (wanted_schema, wanted)


@pytest.fixture(params=NAMES)
def place(request: pytest.FixtureRequest, log_dir: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(log_dir / "log", tmp_path / "log")
    with opened(log_dir) as (_, log):
        end = log.end
    with closing(PosixDisk(tmp_path)) as disk:
        follower, ends = Follower(disk), []
        while follower.read(end, 1):
            ends.append(follower.at)
        yield Place(tmp_path, request.param, disk, end, ends)


@pytest.mark.parametrize("moment", ["before_apply", "after_commit"])
def test_a_projection_that_is_killed_at_each_event_in_turn_equals_a_rebuild(
    place: Place, log_dir: Path, moment: str
) -> None:
    kills = 0
    for at in range(place.end.next_seq):

        def kill(seq: int, at: int = at) -> None:
            if seq >= at:
                raise Killed

        try:
            place.run(**{moment: kill})
        except Killed:
            kills += 1
    assert kills >= place.end.next_seq // EVENTS_A_BATCH
    place.run()
    place.is_as_rebuilt(log_dir)


@pytest.mark.parametrize("place", ["catalog", "stats"], indirect=True)
def test_a_commit_that_is_cut_off_at_any_step_is_there_as_a_whole_or_not_at_all(place: Place, log_dir: Path) -> None:
    """SQLite is stopped in the middle of its work, a little later each time, until no commit is cut off any more."""
    steps = cuts = 0
    while True:
        steps += 1
        before = place.position
        try:
            place.run(stop_commit_after=steps)
        except sqlite3.OperationalError:
            cuts += 1
            if place.position > before:  # it got over one, so the next is cut off from its beginning
                steps = 0
        else:
            break
    assert cuts > 20
    place.is_as_rebuilt(log_dir)


def test_a_projection_thrown_back_to_any_state_that_it_stored_equals_a_rebuild(place: Place, log_dir: Path) -> None:
    """As a power loss may do to a database; the files of then are those of now."""
    path, copies = database_of(place.data_dir, place.name), place.data_dir / "copies"
    copies.mkdir()

    def keep(position: int) -> None:
        with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(copies / f"{position}")) as copy:
            db.backup(copy)

    place.run(after_commit=keep)
    place.is_as_rebuilt(log_dir)
    stored = sorted(copies.iterdir())
    assert len(stored) > 5
    for copy in stored:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(copy, path)
        place.run()
        place.is_as_rebuilt(log_dir)


@pytest.mark.parametrize("commits_every", [2, 5, 1000])
def test_what_is_folded_ahead_of_its_commits_equals_a_rebuild_though_it_is_killed_before_them(
    place: Place, log_dir: Path, commits_every: int
) -> None:
    asked = 0
    positions = []

    def is_due() -> bool:
        nonlocal asked
        asked += 1
        return asked % commits_every == 0

    for at in range(10, place.end.next_seq, 9):

        def kill(seq: int, at: int = at) -> None:
            if seq >= at:
                raise Killed

        with suppress(Killed):
            place.run(is_due, before_apply=kill)
        positions.append(place.position)
    assert positions == sorted(positions)
    assert positions[-1] > 0, "what grows large is stored, due or not"
    place.run(is_due)
    place.is_as_rebuilt(log_dir)


def test_what_is_good_before_an_event_that_fails_is_stored_though_the_disk_refused_it_at_first(place: Place) -> None:
    refusals = iter([OSError("no space")])

    def refuse(_position: int) -> None:
        for error in refusals:
            raise error

    def fail(seq: int) -> None:
        if seq == 7:
            raise ValueError("not understood")

    projection = place.opened()
    identity = read_identity(place.disk)
    assert identity is not None
    watched = Watched(projection, before_apply=fail, before_commit=refuse, lives_on=True)
    with closing(Runner(watched, place.disk, identity, bytes_at_once=1 << 20)) as runner:
        with pytest.raises(OSError, match="no space"):
            runner.run_to(place.end)
        assert (runner.failed, runner.position, runner.folded) == (None, -1, -1)
        runner.run_to(place.end)
        assert runner.failed is not None
        assert runner.failed.seq == 7
    assert place.position == 6
