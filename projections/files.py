"""The files: the tree that readers of the old store know, kept as the log's events give it.

The position is saved only after the files that it covers are durable. What stands at a path is
ours if the log gives that content for that path at any time; anything else was changed by
someone, and is never lost: it goes to the quarantine before the right file is written.
"""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import structlog
from attrs import define, field

from eventlog.clock import Clock, SystemClock
from eventlog.disk import Disk
from eventlog.event import Place, Recorded
from eventlog.frame import BadFrame, decode
from eventlog.posix import PosixDisk
from eventlog.record import record
from eventlog.segment import segment_path
from projections import database
from projections.layout import contents, core_path, date_of, file_of
from projections.projection import Saved
from projections.quarantine import Quarantine
from projections.run import events
from projections.run.events import UnknownEvent, run_of
from projections.tree import Found, Tree

logger = structlog.get_logger("projections.files")

# `given` has every content that was ever given for a path, but a run's first core, whose hash is in `run`.
_TABLES = {
    "saved": "(log_id TEXT, version INTEGER, next_seq INTEGER, segment INTEGER, offset INTEGER, root BLOB)",
    "run": "(run_id TEXT PRIMARY KEY, date TEXT NOT NULL, core BLOB NOT NULL) WITHOUT ROWID",
    "given": "(run_id TEXT, path TEXT, sha256 BLOB, PRIMARY KEY (run_id, path, sha256)) WITHOUT ROWID",
}


@record
class _Wanted:
    """What a path is to hold after a commit: bytes with their SHA-256, or (None) nothing."""

    run_id: str
    content: bytes | None
    sha256: bytes | None


@define
class _Applied:
    """What was applied since the last commit."""

    runs: dict[str, tuple[str, bytes]] = field(factory=dict)
    """run id -> date and SHA-256 of the core, of the runs that began (anew)."""
    wanted: dict[str, _Wanted] = field(factory=dict)
    given: defaultdict[str, set[tuple[str, bytes]]] = field(factory=lambda: defaultdict(set))
    """run id -> paths and SHA-256 of contents, for the table of that name"""


class Files:
    """The projection. Its tree cannot be swapped: a rebuild converges in place, path by path."""

    name: ClassVar[str] = "files"
    version: ClassVar[int] = 1

    def __init__(
        self,
        data_dir: Path,
        runs_root: Path,
        clock: Clock | None = None,
        stand_aside: Callable[[], None] = lambda: None,
    ) -> None:
        """Open or make the state in *data_dir* and the tree at *runs_root*; another root, or a deleted tree, starts over.

        *stand_aside* is called before each file that is looked at or written.
        """
        self._data_dir = data_dir
        self._root = os.fsencode(runs_root.resolve())
        self._quarantine = Quarantine(data_dir / "quarantine", clock or SystemClock())
        self._tree = Tree(runs_root, self._quarantine, stand_aside)
        self._swept = is_bare = False
        try:
            with self._tree.opened():
                self._sweep()
                is_bare = self._tree.is_bare()
        except OSError as error:
            # A tree that is out of reach must not keep the other projections from starting; commit tries again.
            logger.warning("files.root_not_ready", error=str(error))
        self._path = data_dir / "files.sqlite"
        self._db = self._open()
        self._applied = _Applied()
        if is_bare and self._had_dates():
            logger.warning("projection.starts_over", name=self.name, reason="its folder holds no day any more")
            self.reset()

    @property
    def quarantined(self) -> int:
        """How many files this process found changed by others."""
        return self._quarantine.count

    def saved(self) -> Saved | None:
        """Return how far the tree covers the log; None if it was another tree."""
        row = self._db.execute("SELECT * FROM saved").fetchone()
        return Saved.from_row(row[:-1]) if row and row[-1] == self._root else None

    def reset(self) -> None:
        """Forget the state; the tree stays, and folding again keeps or rewrites each path."""
        self.rollback()
        _make_anew(self._db)

    def apply(self, recorded: Recorded) -> None:
        """Work out what one event does to the files of its run."""
        run_id, kind = recorded.stream, recorded.type
        if kind not in events.TYPES:
            raise UnknownEvent(recorded.seq, kind)
        if kind == events.WITHDRAWN:
            self._withdraw(run_id)
        elif kind in events.BEGINNINGS:
            self._begin(recorded, run_id)
        elif kind != events.ATTACHMENT_ADDED:
            self._give(recorded, run_id, self._run(run_id)[0])

    def commit(self, saved: Saved) -> None:
        """Store the files, then the position; after an error all of it can be done again."""
        if self._applied.wanted:
            with self._tree.opened():
                self._sweep()
                todo = self._settled()
                # Before any rename: a crash after it must find what it left to be ours.
                self._save_given()
                self._tree.store(todo)
        with self._db:
            rows = [(run_id, *row) for run_id, row in self._applied.runs.items()]
            database.insert(self._db, "INSERT OR REPLACE INTO run", rows)
            self._db.execute("DELETE FROM saved")
            self._db.execute("INSERT INTO saved VALUES (?, ?, ?, ?, ?, ?)", (*saved.as_row(), self._root))
        self.rollback()

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""
        self._applied = _Applied()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _begin(self, recorded: Recorded, run_id: str) -> None:
        # A created run is its stream's first event; only an import may begin an id anew, and then
        # the core before it is ours too.
        before = self._stored(run_id) if recorded.type == events.IMPORTED else None
        if before:
            self._applied.given[run_id].add((core_path(before[0], run_id), before[1]))
        date = date_of(run_of(recorded))
        self._applied.runs[run_id] = (date, self._give(recorded, run_id, date))

    def _give(self, recorded: Recorded, run_id: str, date: str) -> bytes:
        file = file_of(recorded, date)
        assert file is not None, "the types of event that give no file are told apart before"
        path, content = file
        digest = sha256(content).digest()
        if recorded.type != events.CREATED:
            self._applied.given[run_id].add((path, digest))
        self._applied.wanted[path] = _Wanted(run_id, content, digest)
        return digest

    def _withdraw(self, run_id: str) -> None:
        date, core = self._run(run_id)
        applied = self._applied
        applied.given[run_id].add((core_path(date, run_id), core))
        stored = self._db.execute("SELECT path FROM given WHERE run_id = ?", (run_id,))
        paths = {row[0] for row in stored} | {path for path, _ in applied.given[run_id]}
        applied.wanted.update(dict.fromkeys(paths, _Wanted(run_id, None, None)))

    def _run(self, run_id: str) -> tuple[str, bytes]:
        run = self._stored(run_id)
        assert run is not None, "only a creating event can be a stream's first"
        return run

    def _stored(self, run_id: str) -> tuple[str, bytes] | None:
        if run := self._applied.runs.get(run_id):
            return run
        row = self._db.execute("SELECT date, core FROM run WHERE run_id = ?", (run_id,)).fetchone()
        return (row[0], row[1]) if row else None

    def _had_dates(self) -> bool:
        """Tell whether the tree, as it was saved, had the folder of a date: each run left one, withdrawn or not."""
        return self.saved() is not None and self._db.execute("SELECT 1 FROM run LIMIT 1").fetchone() is not None

    def _sweep(self) -> None:
        if not self._swept:
            self._tree.sweep()
            self._swept = True

    def _settled(self) -> dict[str, bytes | None]:
        """Return what is to be written or removed, with what others put there out of the way."""
        todo: dict[str, bytes | None] = {}
        for path, wanted in self._applied.wanted.items():
            found = self._tree.look(path)
            if found is None:
                if wanted.content is None:
                    continue
            elif found.sha256 is not None and found.sha256 == wanted.sha256:
                continue
            elif not self._is_ours(path, wanted.run_id, found):
                self._tree.set_aside(path, wanted.sha256)
            todo[path] = wanted.content
        return todo

    def _is_ours(self, path: str, run_id: str, found: Found) -> bool:
        if found.sha256 is None:
            return False
        content = (path, found.sha256)
        if run_id in self._applied.given and content in self._applied.given[run_id]:
            return True
        known = "SELECT 1 FROM given WHERE run_id = ? AND path = ? AND sha256 = ?"
        if self._db.execute(known, (run_id, *content)).fetchone():
            return True
        # While the tree is folded anew, it may hold what later events give.
        given = contents(stream_of(self._data_dir, run_id))
        return any(sha256(one).digest() == found.sha256 for one in given.get(path, ()))

    def _save_given(self) -> None:
        if self._applied.given:
            with self._db:
                rows = [(run_id, *content) for run_id, some in self._applied.given.items() for content in some]
                self._db.executemany("INSERT OR IGNORE INTO given VALUES (?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
            logger.warning("files.not_readable", path=self._path.name, error=str(error))
            for suffix in ("-wal", "-shm", ""):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return _connect(self._path)


def stream_of(data_dir: Path, run_id: str) -> Iterable[Recorded]:
    """Return the durable events of a run, found through the log's index; none without one."""
    index = data_dir / "index.sqlite"
    if not index.exists():
        return []
    with closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        places = db.execute(
            "SELECT seq, segment, offset, length FROM stream JOIN event USING (seq) WHERE stream = ? ORDER BY seq",
            (run_id,),
        ).fetchall()
    disk = PosixDisk(data_dir)
    try:
        return [recorded for seq, *place in places if (recorded := _read(disk, seq, Place(*place)))]
    finally:
        disk.close()


def _read(disk: Disk, seq: int, place: Place) -> Recorded | None:
    """Return event *seq*; None for damaged bytes, which prove nothing (folding stops at them)."""
    try:
        frame = decode(disk.read(segment_path(place.segment), place.offset, place.length))
    except (BadFrame, FileNotFoundError):
        return None
    return Recorded(seq, frame.hash, frame.event, place) if frame.seq == seq else None


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    # What is ours must be known after a power loss that kept the renames: they come after this commit's fsync.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -16000")
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'saved'").fetchone():
        _make_anew(db)
    return db


def _make_anew(db: sqlite3.Connection) -> None:
    with db:
        db.execute("BEGIN")  # without it each of these would be a transaction of its own
        for table, columns in _TABLES.items():
            db.execute(f"DROP TABLE IF EXISTS {table}")
            db.execute(f"CREATE TABLE {table} {columns}")
