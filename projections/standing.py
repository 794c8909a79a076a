"""How far the projections are, and whether the files are what the log gives: read without a lock, beside a server too.

No state is changed, and beside a database without a WAL not even SQLite's own files are made.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from eventlog.disk import Disk
from eventlog.errors import EventLogError
from eventlog.event import Recorded
from eventlog.follow import Follower, last_whole_batch
from eventlog.opening import LOG_JSON, Identity, opened_checkpoint, read_identity
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from projections.check import Report, check
from projections.files import Files
from projections.known import NAMES, VERSIONS, database_of
from projections.projection import Saved
from projections.stopped import noted

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Called with how many events there are; gives a context of what hears how many are done."""


@frozen
class LogMissing(EventLogError):
    """There is no log in the data directory; none is made by looking for it."""

    code: ClassVar[str] = "LOG_MISSING"
    data_dir: str

    @property
    def message(self) -> str:
        return f"There is no log in {self.data_dir}. Give the right --data-dir, or make a log with `runlog serve`."


@frozen
class Standing:
    """How far a projection has come; `state` is `rebuilding` where what is stored does not belong to this log or code.

    `failed` is one that stopped at an event, in a server that runs or has ended; `error` names the event.
    """

    name: str
    version: int
    position: int
    head: int
    state: str
    error: dict[str, Any] | None


def require_log(data_dir: Path) -> None:
    """Return if there is a log in *data_dir*.

    Raises:
        LogMissing: there is none.

    """
    if not (data_dir / LOG_JSON).exists():
        raise LogMissing(str(data_dir))


def standings(data_dir: Path, runs_dir: Path) -> list[Standing]:
    """Return how far each projection has come, read without a lock, beside a server too.

    Raises:
        LogMissing: there is no log.
        LogDamaged: where it ends is not known.

    """
    with closing(PosixDisk(data_dir)) as disk:
        identity = _identity(disk, data_dir)
        # Before the head: what is stored then never lies beyond it, unless the log is another.
        stored = {name: stored_of(name, data_dir, runs_dir, identity) for name in NAMES}
        end = _end(disk, identity)
    found = []
    for name, saved in stored.items():
        if saved is not None and saved.end.next_seq > end.next_seq:
            saved = None
        position = saved.position if saved else -1
        error = noted(data_dir, name)
        if error is not None and not position < error["seq"] < end.next_seq:
            error = None  # it got over that event, or the log is another
        state = "failed" if error else "rebuilding" if saved is None and end.next_seq else "running"
        found.append(Standing(name, VERSIONS[name], position, end.next_seq - 1, state, error))
    return found


def check_files(data_dir: Path, runs_dir: Path, progress: Progress) -> Report:
    """Compare the files tree with the log, beside a server too; see `check`.

    Raises:
        LogMissing: there is no log.
        LogDamaged: where it ends is not known.
        LogCorrupt: an event does not match its hash, so what belongs in the tree is not known.

    """
    with closing(PosixDisk(data_dir)) as disk:
        identity = _identity(disk, data_dir)
        saved = stored_of(Files.name, data_dir, runs_dir, identity)
        end = _end(disk, identity)
        if saved is None or saved.end.next_seq > end.next_seq:
            # Nothing says how far the tree had come: then it must hold everything, or a lost state would excuse it.
            saved = Saved(identity.log_id, Files.version, end)
        with progress(end.next_seq) as on_progress:
            return check(_all_events(disk, end, on_progress), runs_dir, saved)


def stored_of(name: str, data_dir: Path, runs_dir: Path, identity: Identity) -> Saved | None:
    """Return how far the stored state of projection *name* covers the log; None if it is not of this log and code."""
    path = database_of(data_dir, name)
    if not path.exists():
        return None
    # Without a WAL nobody has it open, and then nothing need be made beside it in order to read.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5)) as db:
            row = db.execute("SELECT * FROM saved").fetchone()
    except sqlite3.DatabaseError:
        return None
    if row is None or (name == Files.name and row[5] != os.fsencode(runs_dir.resolve())):
        return None
    saved = Saved.from_row(row[:5])
    return saved if (saved.log_id, saved.version) == (identity.log_id, VERSIONS[name]) else None


def _identity(disk: Disk, data_dir: Path) -> Identity:
    identity = read_identity(disk)
    if identity is None:
        raise LogMissing(str(data_dir))
    return identity


def _end(disk: Disk, identity: Identity) -> End:
    """Return where the log ends: behind all that was signed, whatever is bad behind that."""
    # Before the segments are looked at: what a writer does meanwhile then never looks like damage.
    signed = opened_checkpoint(disk, identity.verifier)[1].size if identity.vkey else 0
    return last_whole_batch(disk, signed)


def _all_events(disk: Disk, end: End, on_progress: Callable[[int], None]) -> Iterator[Recorded]:
    follower = Follower(disk)
    while follower.at.next_seq < end.next_seq:
        yield from follower.read(end)
        on_progress(follower.at.next_seq)
