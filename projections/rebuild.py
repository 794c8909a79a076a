"""A state folded anew beside the one in use: nothing of it counts before it is swapped in at the head.

Interrupted anywhere, it leaves the old state as it was, and a second try begins from nothing.
"""

import gc
import sqlite3
from collections.abc import Callable
from pathlib import Path

import structlog

from eventlog.disk import Disk
from eventlog.follow import Follower
from eventlog.opening import Identity
from eventlog.recovery import End
from projections import database
from projections.files import Files
from projections.known import SWAPPED, database_of
from projections.projection import Swapped
from projections.runner import Read, Runner, reason_to_start_over

logger = structlog.get_logger("projections.rebuild")

BYTES_AT_ONCE = 8 << 20
"""Of the log between two commits. More is not faster, and takes more memory."""

Progress = Callable[[int], None]
"""Hears the position that was reached."""


def calm_collector() -> None:
    """Let the cyclic collector walk less: replay makes no cycles, and walking each batch doubles its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


class Rebuild:
    """One database that is folded from the first event."""

    def __init__(self, kind: type[Swapped], path: Path, disk: Disk, identity: Identity) -> None:
        """Begin from nothing beside the database at *path*, whatever an earlier try left."""
        self._path, self._new = path, _beside(path)
        database.remove(self._new)
        self._projection = kind(self._new, bulk=True)
        self._runner = Runner(self._projection, disk, identity, bytes_at_once=BYTES_AT_ONCE)

    @property
    def position(self) -> int:
        """The seq of the last event that was folded; -1 before the first."""
        return self._runner.position

    def run_to(self, end: End, on_progress: Progress) -> None:
        """Fold everything up to *end*.

        Raises:
            ProjectionFailed: an event cannot be folded.
            OSError, sqlite3.Error: `discard` it, and begin again later.

        """
        self._runner.run_to(end, on_progress)
        if self._runner.failed is not None:
            raise self._runner.failed

    def make_whole(self) -> None:
        """Make the indexes, and all of it durable; from here on it is fed as any other."""
        self._projection.make_whole()

    def put_in_place(self) -> None:
        """Make it the state that counts; nobody may be writing to the old one.

        Raises:
            OSError: somebody reads the old one for long; nothing was changed, and it can be tried again.

        """
        self._projection.close()
        database.swap_in(self._new, self._path)

    def discard(self) -> None:
        """Forget it."""
        self._projection.close()
        database.remove(self._new)


def rebuilt(kind: type[Swapped], path: Path, disk: Disk, identity: Identity, end: End, on_progress: Progress) -> None:
    """Fold the database at *path* anew up to *end*, and put it in place.

    Raises:
        ProjectionFailed: an event cannot be folded; the old database stays as it was.

    """
    rebuild = Rebuild(kind, path, disk, identity)
    try:
        rebuild.run_to(end, on_progress)
        rebuild.make_whole()
        rebuild.put_in_place()
    except BaseException:
        rebuild.discard()
        raise


def started(
    name: str,
    data_dir: Path,
    runs_dir: Path,
    disk: Disk,
    identity: Identity,
    end: End,
    on_progress: Progress,
    read: Read = Follower.read,
    stand_aside: Callable[[], None] = lambda: None,
) -> Runner:
    """Return the runner of projection *name*, from where it was saved; a state that is not of this log starts over.

    The files start over in place. A database is folded anew up to *end* first; the old one is not
    served meanwhile, for what is not of this log, or of this code, cannot be read as such.

    Raises:
        ProjectionFailed: a database that has to be folded anew meets an event that cannot be folded.

    """
    if name == Files.name:
        files = Files(data_dir, runs_dir, stand_aside=stand_aside)
        if reason := reason_to_start_over(files, identity, end):
            _warn(name, reason, is_new=files.saved() is None)
            files.reset()
        return Runner(files, disk, identity, read=read, stand_aside=stand_aside)
    kind, path = SWAPPED[name], database_of(data_dir, name)
    database.remove(_beside(path))  # what a process left that was ended
    stored = _stored(kind, path)
    reason = reason_to_start_over(stored, identity, end) if stored else "there is none"
    if stored is None or reason:
        if stored is not None:
            _warn(name, reason, is_new=stored.saved() is None)
            stored.close()
        on_progress(-1)  # whoever asks is to hear at once that there is nothing to read
        rebuilt(kind, path, disk, identity, end, on_progress)
        stored = kind(path)
    return Runner(stored, disk, identity, read=read, stand_aside=stand_aside)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _stored(kind: type[Swapped], path: Path) -> Swapped | None:
    if not path.exists():
        return None
    try:
        return kind(path)
    except sqlite3.DatabaseError as error:
        if not database.is_damage(error):
            raise
        logger.warning("projection.not_readable", name=kind.name, path=path.name, error=str(error))
        return None


def _warn(name: str, reason: str | None, *, is_new: bool) -> None:
    if not is_new:
        logger.warning("projection.starts_over", name=name, reason=reason)
