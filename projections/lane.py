"""One projection kept at the head by a thread of its own, and rebuilt when asked.

The machine's errors are waited out, for ever; an event that cannot be folded stops this projection
alone, until a retry or a rebuild. A database is rebuilt beside the one in use, by a second thread, and
swapped in by this one: between two commits, and never behind what was said of the old one.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from attrs import field, frozen

from eventlog.disk import Disk
from eventlog.errors import RunlogError
from eventlog.opening import Identity
from eventlog.recovery import End
from projections.catalog import Catalog
from projections.files import Files
from projections.give_way import GiveWay
from projections.known import SWAPPED, VERSIONS, database_of
from projections.projection import ProjectionFailed
from projections.rebuild import BYTES_AT_ONCE, Rebuild, started
from projections.recent import Recent
from projections.runner import Runner
from projections.stopped import facts_of, forget, note

logger = structlog.get_logger("projections.lane")

_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_PACES_S = {"files": 0.8, "stats": 0.8}
"""At least so long from one commit to the next, which costs more than what it holds; events are folded as they come."""

Say = Callable[..., None]
"""Called with facts by name, for the server to hear."""


@frozen
class Heads:
    """The newest end of the log that was heard of; `changed` is also what lanes wait on."""

    changed: threading.Condition = field(factory=threading.Condition)
    _newest: list[End] = field(factory=list)

    def set(self, end: End) -> None:
        """Note a newer end."""
        with self.changed:
            self._newest[:] = [end]
            self.changed.notify_all()

    @property
    def newest(self) -> End:
        """The newest end; waits for the first."""
        with self.changed:
            self.changed.wait_for(lambda: self._newest)
            return self._newest[0]

    def moved_within(self, seconds: float) -> None:
        """Wait at least a second, then until the end moves (a write found space again) or *seconds* are over."""
        before = self.newest
        time.sleep(_BACKOFF_S[0])
        with self.changed:
            self.changed.wait_for(lambda: self._newest[0] != before, max(0.0, seconds - _BACKOFF_S[0]))


class Lane:
    """One projection of the process; `run` never returns, `ask` may be called from any thread."""

    def __init__(
        self,
        name: str,
        data_dir: Path,
        runs_dir: Path,
        disk: Disk,
        identity: Identity,
        heads: Heads,
        recent: Recent,
        way: GiveWay,
        say: Say,
    ) -> None:
        self.name = name
        self._data_dir, self._runs_dir, self._disk, self._identity = data_dir, runs_dir, disk, identity
        self._heads, self._recent, self._way, self._say = heads, recent, way, say
        self._asked: set[str] = set()
        self._runner: Runner | None = None
        self._failed: ProjectionFailed | None = None
        self._is_hurried = False
        """Whether somebody waits for the commit under way."""
        self._due_at = 0.0
        """When what is folded is stored, unless somebody waits for it; of the clock of `time.monotonic`."""
        self._generation = 0
        self._is_building = self._is_converging = False
        self._built: Rebuild | None = None
        self._quarantined = 0

    def ask(self, what: str) -> None:
        """Ask for a `rebuild`, a `retry`, or to `hurry`: somebody waits for the next commit."""
        with self._heads.changed:
            if what == "hurry" and self.name == Catalog.name and self._has_work():
                self._way.claim()
            self._asked.add(what)
            self._heads.changed.notify_all()

    def run(self) -> None:
        """Keep the projection at the head, for ever."""
        attempts = 0
        while True:
            try:
                self._turn()
                attempts = 0
            except ProjectionFailed as failure:
                self._stop(failure, -1)
            except (OSError, sqlite3.Error) as error:
                self._wait_out(error, attempts)
                attempts += 1

    def _turn(self) -> None:
        if self._runner is None and self._failed is None:
            self._open()
        self._wait_for_work()
        self._answer()
        self._is_hurried = self._take_hurry()  # first: whoever asks has told of the end before
        end = self._heads.newest
        if self._built is not None:
            self._take_over(self._built, end)
        if self._runner is None or self._failed is not None:
            return
        self._runner.run_to(end, self._stored, lambda: self._is_hurried or self._is_converging or self._is_due())
        if self._runner.failed is not None:
            self._stop(self._runner.failed, self._runner.position)
        if self._is_converging:
            self._is_converging = False
            self._say_built(self._failed)

    def _wait_for_work(self) -> None:
        """Return when the log goes on, something was asked or built, or what is folded is to be stored."""
        with self._heads.changed:
            while not self._has_work():
                is_gathering = self._runner is not None and self._runner.folded > self._runner.position
                self._heads.changed.wait(max(0.0, self._due_at - time.monotonic()) if is_gathering else None)

    def _has_work(self) -> bool:
        runner = self._runner  # another thread may ask, while this one lets go of it
        if self._built is not None or self._asked - {"hurry"}:
            return True
        if runner is None or self._failed is not None:
            return False
        if self._heads.newest.next_seq - 1 > runner.folded:
            return True
        return runner.folded > runner.position and ("hurry" in self._asked or self._is_due())

    def _is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def _take_hurry(self) -> bool:
        with self._heads.changed:
            is_hurried = "hurry" in self._asked
            self._asked.discard("hurry")
            return is_hurried

    def _stand_aside(self) -> None:
        if self.name != Catalog.name and not self._is_hurried and "hurry" not in self._asked:
            self._way.stand_aside()

    def _stored(self, position: int) -> None:
        self._due_at = time.monotonic() + _PACES_S.get(self.name, 0.0)
        if self.name == Catalog.name:
            self._way.release()
        self._tell(position)

    def _answer(self) -> None:
        """Do what was asked."""
        with self._heads.changed:
            asked, self._asked = self._asked, self._asked & {"hurry"}
        if "retry" in asked and self._failed is not None:
            self._let_go()
            self._open()
        if "rebuild" in asked:
            if self.name == Files.name:
                self._converge()
            elif not self._is_building:
                self._is_building = True
                threading.Thread(target=self._build, name=f"rebuild-{self.name}", daemon=True).start()

    def _open(self) -> None:
        """Go on from the stored state, or from a new one where that is not of this log."""
        end = self._heads.newest
        runner = started(
            self.name,
            self._data_dir,
            self._runs_dir,
            self._disk,
            self._identity,
            end,
            self._tell_building,
            self._recent.read,
            self._stand_aside,
        )
        self._use(runner)

    def _use(self, runner: Runner) -> None:
        self._runner, self._failed = runner, None
        forget(self._data_dir, self.name)
        self._generation += 1
        self._tell(runner.position)

    def _stop(self, failure: ProjectionFailed, position: int) -> None:
        """Stand at *position* until somebody asks for a retry or a rebuild."""
        _log_cause(failure)
        self._failed = failure
        note(self._data_dir, failure)
        self._tell(position)

    def _let_go(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = self._failed = None

    # --- rebuilding

    def _converge(self) -> None:
        """Begin the files anew, in place."""
        self._let_go()
        files = Files(self._data_dir, self._runs_dir, stand_aside=self._stand_aside)
        files.reset()
        self._is_converging = True
        read, aside = self._recent.read, self._stand_aside
        self._use(Runner(files, self._disk, self._identity, bytes_at_once=BYTES_AT_ONCE, read=read, stand_aside=aside))

    def _build(self) -> None:
        """Fold a database beside the one in use, on a thread of its own, and hand it over when it is near the head."""
        attempts = 0
        while True:
            try:
                built = self._folded()
            except ProjectionFailed as failure:
                _log_cause(failure)
                self._is_building = False
                self._say_built(failure)
                return
            except (OSError, sqlite3.Error) as error:
                self._wait_out(error, attempts)
                attempts += 1
            else:
                break
        with self._heads.changed:
            self._built = built
            self._heads.changed.notify_all()

    def _folded(self) -> Rebuild:
        rebuild = Rebuild(SWAPPED[self.name], database_of(self._data_dir, self.name), self._disk, self._identity)
        try:
            rebuild.run_to(self._heads.newest, self._tell_building)
            rebuild.make_whole()
            for _ in range(2):  # what came meanwhile, and what came while that was folded
                rebuild.run_to(self._heads.newest, self._tell_building)
        except BaseException:
            rebuild.discard()
            raise
        return rebuild

    def _take_over(self, built: Rebuild, end: End) -> None:
        """Put what was built in the place of what is in use."""
        try:
            built.run_to(end, self._tell_building)
        except ProjectionFailed as failure:
            _log_cause(failure)
            built.discard()
            self._built, self._is_building = None, False
            self._say_built(failure)
            return
        self._let_go()
        built.put_in_place()  # fails it, the old one is opened again and goes on, and this is tried again
        self._built, self._is_building = None, False
        self._open()
        self._say_built(None)

    # --- telling

    def _wait_out(self, error: Exception, attempts: int) -> None:
        pause = _BACKOFF_S[min(attempts, len(_BACKOFF_S) - 1)]
        logger.warning("projection.retries", name=self.name, error=str(error), retry_in_s=pause)
        self._say(name=self.name, retrying=str(error))
        self._heads.moved_within(pause)

    def _tell(self, position: int) -> None:
        if self._runner is not None:
            self._quarantined = self._runner.quarantined
        self._say(
            name=self.name,
            version=VERSIONS[self.name],
            position=position,
            error=facts_of(self._failed) if self._failed else None,
            quarantined=self._quarantined,
            generation=self._generation,
        )

    def _tell_building(self, position: int) -> None:
        self._say(name=self.name, building=position)

    def _say_built(self, failure: ProjectionFailed | None) -> None:
        self._say(name=self.name, built=facts_of(failure) if failure else None)


def _log_cause(failure: ProjectionFailed) -> None:
    """Log the traceback of what nobody foresaw; an error of Runlog's own says all there is to know."""
    cause = failure.__cause__
    if cause is not None and not isinstance(cause, RunlogError):
        logger.error("projection.apply_raised", name=failure.name, seq=failure.seq, exc_info=cause)
