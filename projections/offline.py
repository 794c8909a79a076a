"""The projections worked on without a server: brought to the head, or rebuilt.

Both need the log open, which holds the writer's lock, and the projections' lock beside it. A
rebuilt database is swapped in only when it has reached the head; until then the old one stays.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from attrs import frozen

from eventlog.disk import Disk
from eventlog.errors import EventLogError, LogLocked
from eventlog.log import Log
from eventlog.posix import PosixDisk
from eventlog.writer import Limits
from projections.catalog import Catalog
from projections.files import Files
from projections.lock import ProjectionsLock
from projections.projection import Projection, ProjectionFailed, under
from projections.runner import Runner

LOCK_WAIT_MAX_S = 30.0
"""How long to wait for the projections' process of a server that was killed a moment ago."""

_SWAPPED = MappingProxyType({Catalog.name: Catalog})

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
    with locked(data_dir), _disk(data_dir) as disk:
        for i, projection in enumerate(under(data_dir, runs_dir=runs_dir)):
            before = i * log.end.next_seq
            with closing(projection):
                runner = Runner(projection, disk, log.identity, log.end)
                runner.run_to(log.end, partial(_tell, on_progress, before))
            if runner.failed is not None:
                failed.append(runner.failed)
    if failed:
        raise failed[0]


def rebuild(name: str, log: Log, data_dir: Path, runs_dir: Path, on_progress: Progress) -> int:
    """Fold projection *name* anew from the first event of the open *log*; return how many files went to the quarantine.

    Call it with the lock (`locked`). Interrupted anywhere, it leaves what a second run, or a server, goes on from.

    Raises:
        ProjectionFailed: an event cannot be folded; a database stays as it was.

    """
    with _disk(data_dir) as disk:
        if name == Files.name:
            with closing(Files(data_dir, runs_dir)) as files:
                _fold(files, disk, log, on_progress)
                return files.quarantined
        path = data_dir / f"{name}.sqlite"
        new = path.with_name(f"{path.name}.new")
        _remove_database(new)
        try:
            with closing(_SWAPPED[name](new)) as projection:
                _fold(projection, disk, log, on_progress)
            _fold_back_wal(new)
            _swap(new, path)
        finally:
            _remove_database(new)
    return 0


@contextmanager
def _disk(data_dir: Path) -> Iterator[PosixDisk]:
    with closing(PosixDisk(data_dir)) as disk:
        yield disk


def _fold(projection: Projection, disk: Disk, log: Log, on_progress: Progress) -> None:
    runner = Runner(projection, disk, log.identity, log.end)
    runner.start_over()
    runner.run_to(log.end, partial(_tell, on_progress, 0))
    if runner.failed is not None:
        raise runner.failed


def _tell(on_progress: Progress, before: int, position: int) -> None:
    on_progress(before + position + 1)


def _fold_back_wal(path: Path) -> None:
    """Put all of a database into its one file, durably; closing the last connection then removes the WAL."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        is_busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if is_busy:
        raise OSError(errno.EBUSY, "another process is reading it", str(path))


def _swap(new: Path, path: Path) -> None:
    """Put *new* in the place of the database at *path*."""
    # A WAL that stayed behind would be replayed into the new file. It is written back rather than
    # removed: the old file may need it to be whole, should this be interrupted before the rename.
    if path.exists():
        try:
            _fold_back_wal(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
