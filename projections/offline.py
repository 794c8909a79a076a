"""The projections worked on without a server: brought to the head, or rebuilt.

Both need the log open, which holds the writer's lock, and the projections' lock beside it. A
rebuilt database is swapped in only when it has reached the head; until then the old one stays.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from eventlog.commit import Limits
from eventlog.errors import EventLogError, LogLocked
from eventlog.log import Log
from eventlog.posix import PosixDisk
from projections.files import Files
from projections.known import NAMES, SWAPPED, database_of
from projections.lock import ProjectionsLock
from projections.projection import ProjectionFailed
from projections.rebuild import BYTES_AT_ONCE, calm_collector, rebuilt, started
from projections.runner import Runner
from projections.standing import stored_of
from projections.stopped import forget, note

LOCK_WAIT_MAX_S = 30.0
"""How long to wait for the projections' process of a server that was killed a moment ago."""

Progress = Callable[[int], None]
"""Hears how many events are done."""


@frozen
class ProjectionsLocked(EventLogError):
    """Another process runs the projections of this data directory."""

    code: ClassVar[str] = "PROJECTIONS_LOCKED"
    data_dir: str

    @property
    def message(self) -> str:
        return f"Another process runs the projections of {self.data_dir}. Wait until it has ended, and try again."


@contextmanager
def opened(data_dir: Path, limits: Limits | None = None) -> Iterator[tuple[asyncio.Runner, Log]]:
    """Hold the log open, with a loop to run what awaits; between two runs Ctrl-C works as ever.

    Raises:
        LogLocked: another process is its writer.
        LogDamaged: it is corrupt; nothing was changed.

    """

    async def open_log() -> Log:
        return Log.open(data_dir, limits=limits)

    with asyncio.Runner() as loop:
        log = loop.run(open_log())
        try:
            yield loop, log
        finally:
            loop.run(log.close())


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Be the one process that runs the projections.

    Raises:
        ProjectionsLocked: another one is, and does not end.

    """
    try:
        lock = ProjectionsLock(data_dir, LOCK_WAIT_MAX_S)
    except LogLocked:
        raise ProjectionsLocked(str(data_dir)) from None
    try:
        yield
    finally:
        lock.release()


def catch_up(log: Log, data_dir: Path, runs_dir: Path, on_progress: Progress) -> None:
    """Bring every projection to the head of the open *log*; each gets its chance, whatever the others do.

    *on_progress* hears the events done by all of them together.

    Raises:
        ProjectionFailed: one stopped at an event.
        ProjectionsLocked: another process runs them.

    """
    failed: list[ProjectionFailed] = []
    with locked(data_dir), closing(PosixDisk(data_dir)) as disk:
        for i, name in enumerate(NAMES):
            tell = partial(_tell, on_progress, i * log.end.next_seq)
            try:
                with (
                    _noting(name, log, data_dir, runs_dir),
                    closing(started(name, data_dir, runs_dir, disk, log.identity, log.end, tell)) as runner,
                ):
                    _fold(runner, log, tell)
            except ProjectionFailed as failure:
                failed.append(failure)
    if failed:
        raise failed[0]


def rebuild(name: str, log: Log, data_dir: Path, runs_dir: Path, on_progress: Progress) -> int:
    """Fold projection *name* anew from the first event of the open *log*; return how many files went to the quarantine.

    Call it with the lock (`locked`). Interrupted anywhere, it leaves what a second run, or a server, goes on from.

    Raises:
        ProjectionFailed: an event cannot be folded; a database stays as it was.

    """
    calm_collector()
    tell = partial(_tell, on_progress, 0)
    with closing(PosixDisk(data_dir)) as disk, _noting(name, log, data_dir, runs_dir):
        if name in SWAPPED:
            rebuilt(SWAPPED[name], database_of(data_dir, name), disk, log.identity, log.end, tell)
            return 0
        files = Files(data_dir, runs_dir)
        files.reset()
        with closing(Runner(files, disk, log.identity, bytes_at_once=BYTES_AT_ONCE)) as runner:
            _fold(runner, log, tell)
        return files.quarantined


@contextmanager
def _noting(name: str, log: Log, data_dir: Path, runs_dir: Path) -> Iterator[None]:
    """Note for whoever lists projection *name* that it stopped, as a server does; forget it when it got to the end."""
    try:
        yield
    except ProjectionFailed as failure:
        kept = stored_of(name, data_dir, runs_dir, log.identity)
        if kept is None or kept.position < failure.seq:  # else a rebuild failed, and the old state is beyond that
            note(data_dir, failure)
        raise
    forget(data_dir, name)


def _fold(runner: Runner, log: Log, tell: Progress) -> None:
    runner.run_to(log.end, tell)
    if runner.failed is not None:
        raise runner.failed


def _tell(on_progress: Progress, before: int, position: int) -> None:
    on_progress(before + position + 1)
