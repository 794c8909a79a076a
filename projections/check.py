"""The whole tree against the whole log: every file that is missing, changed or none of ours is named.

Memory stays bounded whatever the number of runs: what is expected lies in a temporary database on disk.
It works beside a server: what the log gives beyond the saved position may be there already, or not yet.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import file_digest, sha256
from pathlib import Path

from attrs import define, field

from eventlog.event import Recorded
from projections.layout import added_range, core_path, date_of, file_of
from projections.projection import Saved
from projections.run import events
from projections.run.events import UnknownEvent, run_of
from projections.tree import TMP

_SCHEMA = """
CREATE TABLE run (run_id TEXT PRIMARY KEY, date TEXT) WITHOUT ROWID;
CREATE TABLE expected (path TEXT PRIMARY KEY, sha256 BLOB) WITHOUT ROWID;
CREATE TABLE later (path TEXT, sha256 BLOB, PRIMARY KEY (path, sha256)) WITHOUT ROWID;
"""
_REMOVED = b""
"""Stands in `later` for a file that goes with its run's withdrawal."""


@define
class Report:
    """What differs, as paths relative to the root; `files` counts those that were looked at."""

    missing: list[str] = field(factory=list)
    changed: list[str] = field(factory=list)
    foreign: list[str] = field(factory=list)
    files: int = 0

    @property
    def is_good(self) -> bool:
        """Tell whether the tree is what the log gives."""
        return not (self.missing or self.changed or self.foreign)


def check(follower_events: Iterable[Recorded], runs_root: Path, saved: Saved | None) -> Report:
    """Compare the tree at *runs_root* with what the log's events up to *saved* give.

    Take *saved* before the end up to which *follower_events* (the whole log from its start) go.
    Nothing is written but a temporary database, elsewhere.

    Raises:
        UnknownEvent: what belongs in the tree is not known to this version.

    """
    started_ns = time.time_ns()
    position = saved.position if saved else -1
    with closing(_temporary()) as db:
        expectation = _Expectation(db, position)
        for recorded in follower_events:
            expectation.add(recorded)
        report = Report()
        for path, entry in _walk(os.fsencode(runs_root)):
            report.files += 1
            if (fault := expectation.judge(path, entry)) and not _is_of_now(entry, started_ns):
                (report.changed if fault == "changed" else report.foreign).append(_printable(path))
        report.missing = expectation.missing()
    report.changed.sort()
    report.foreign.sort()
    return report


class _Expectation:
    """What the tree is to hold."""

    def __init__(self, db: sqlite3.Connection, position: int) -> None:
        self._db, self._position = db, position

    def add(self, recorded: Recorded) -> None:
        """Note what one event, the next of the log, does to the tree."""
        run_id = recorded.stream
        if recorded.type not in events.TYPES:
            raise UnknownEvent(recorded.seq, recorded.type)
        if recorded.type in events.BEGINNINGS:
            date = date_of(run_of(recorded))
            self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (run_id, date))
        elif recorded.type == events.ATTACHMENT_ADDED:
            return
        else:
            date = self._db.execute("SELECT date FROM run WHERE run_id = ?", (run_id,)).fetchone()[0]
        if recorded.type == events.WITHDRAWN:
            self._withdraw(date, run_id, is_later=recorded.seq > self._position)
        elif file := file_of(recorded, date):
            table = "later" if recorded.seq > self._position else "expected"
            row = (file[0], sha256(file[1]).digest())
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", row)  # noqa: S608 (names are ours)

    def judge(self, path: bytes, entry: os.DirEntry[bytes]) -> str | None:
        """Return what is wrong with one entry of the tree, `changed` or `foreign`; None for nothing."""
        if not path.isascii():
            return "foreign"
        name = path.decode()
        row = self._db.execute("SELECT sha256 FROM expected WHERE path = ?", (name,)).fetchone()
        later = {
            row[0] for row in self._db.execute("SELECT sha256 FROM later WHERE path = ?", (name.removesuffix(TMP),))
        }
        if later and name.endswith(TMP):
            return None
        if row is None and not later:
            return "foreign"
        self._db.execute("DELETE FROM expected WHERE path = ?", (name,))
        found = _sha256(entry)
        if found in later or (row and found == row[0]):
            return None
        return "changed"

    def missing(self) -> list[str]:
        """Return the expected paths that were not judged, sorted."""
        rest = "SELECT path FROM expected WHERE (path, ?) NOT IN (SELECT path, sha256 FROM later) ORDER BY path"
        return [row[0] for row in self._db.execute(rest, (_REMOVED,))]

    def _withdraw(self, date: str, run_id: str, *, is_later: bool) -> None:
        which = "WHERE path = ? OR (path >= ? AND path < ?)"
        values = (core_path(date, run_id), *added_range(date, run_id))
        if is_later:
            rows = [(*row, _REMOVED) for row in self._db.execute(f"SELECT path FROM expected {which}", values)]  # noqa: S608
            self._db.executemany("INSERT OR IGNORE INTO later VALUES (?, ?)", rows)
        else:
            self._db.execute(f"DELETE FROM expected {which}", values)  # noqa: S608 (names are ours)


def _temporary() -> sqlite3.Connection:
    """Return an empty database that has no name, and is gone when it is closed or the process ends."""
    # SQLite's own, for nothing may be written to the data directory. What is more than a few MiB lies where the system
    # keeps temporary files (TMPDIR, else /var/tmp): some 120 bytes for each file that the log gives.
    db = sqlite3.connect("", isolation_level=None)
    db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
    db.execute("BEGIN")
    return db


def _walk(root: bytes) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Give everything under *root* but folders, with relative paths; links are not followed."""
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(os.path.join(root, folder))
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    yield path, entry


def _sha256(entry: os.DirEntry[bytes]) -> bytes | None:
    """Return the SHA-256 of a file; None for what is no file, is gone or cannot be read."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        with open(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file_digest(file, "sha256").digest()
    except OSError:
        return None


def _is_of_now(entry: os.DirEntry[bytes], started_ns: int) -> bool:
    """Tell whether it was put there since the check began: then events give it that nobody has read yet."""
    try:
        return os.stat(entry.path, follow_symlinks=False).st_ctime_ns >= started_ns
    except FileNotFoundError:
        return True


def _printable(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
