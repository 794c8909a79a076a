"""The database of a projection that can be swapped: folded in from nothing in bulk, or kept at the head in place.

In bulk there is neither a journal nor an index, and nothing survives a crash: a half-made
database is thrown away. `make_whole` gives it its indexes, its WAL, and makes it durable.
"""

import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from eventlog.posix import sync_folder

_ROWS_AT_ONCE = 32
_SAVED = "CREATE TABLE saved (log_id TEXT, version INTEGER, next_seq INTEGER, segment INTEGER, offset INTEGER);"


def connect(path: Path, tables: str, indexes: str, *, bulk: bool) -> sqlite3.Connection:
    """Open the database at *path* for writing; make it of these *tables* (and *indexes*) if it is not there."""
    db = sqlite3.connect(path, timeout=10, check_same_thread=False)
    try:
        _configure(db, bulk=bulk)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'saved'").fetchone():
            with db:
                db.executescript(f"BEGIN; {_SAVED} {tables} {'' if bulk else indexes}")
    except BaseException:
        db.close()
        raise
    return db


def insert(db: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute *into* (`INSERT INTO table`) for all *rows*, which are of the same length, many to a statement.

    SQLite gives the interpreter lock away for each statement, and in a busy process it takes its time to come back.
    """
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    whole = len(rows) - len(rows) % _ROWS_AT_ONCE
    parts = (list(chain.from_iterable(rows[i : i + _ROWS_AT_ONCE])) for i in range(0, whole, _ROWS_AT_ONCE))
    db.executemany(f"{into} VALUES {', '.join([row] * _ROWS_AT_ONCE)}", parts)
    db.executemany(f"{into} VALUES {row}", rows[whole:])


def make_whole(db: sqlite3.Connection, path: Path, indexes: str) -> None:
    """Turn a database that was filled in bulk into what `connect` makes otherwise, durable."""
    with db:
        db.executescript(f"BEGIN; {indexes}")
    _configure(db, bulk=False)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _configure(db: sqlite3.Connection, *, bulk: bool) -> None:
    db.execute(f"PRAGMA journal_mode = {'OFF' if bulk else 'WAL'}")
    db.execute(f"PRAGMA synchronous = {'OFF' if bulk else 'NORMAL'}")
    db.execute(f"PRAGMA cache_size = {-64_000 if bulk else -16_000}")  # KiB
    db.execute("PRAGMA wal_autocheckpoint = 8000")


def open_for_reading(path: Path, timeout_s: float = 5, *, at_rest: bool = False) -> sqlite3.Connection:
    """Open the database at *path*, which must be there, for reading only.

    SQLite opens the file now and its WAL, by name, at the first read: a swap between the two
    would show the old file through the new one's WAL. So it reads at once, and looks.
    One that nobody writes (*at_rest*) is read without making SQLite's own files beside it.
    """
    how = "mode=ro&immutable=1" if at_rest else "mode=ro"
    while True:
        before = path.stat().st_ino
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=timeout_s, check_same_thread=False)
        try:
            db.execute("PRAGMA query_only = 1")
            db.execute("SELECT count(*) FROM saved").fetchone()
            if path.stat().st_ino == before:
                return db
        except BaseException:
            db.close()
            raise
        db.close()


def remove(path: Path) -> None:
    """Remove the database at *path*, if there is one."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def swap_in(new: Path, path: Path) -> None:
    """Put the closed database *new* in the place of the one at *path*, durably; a crash leaves the one or the other.

    Raises:
        OSError: somebody reads either for long; nothing was changed.

    """
    _fold_back_wal(new)
    # A WAL that stayed behind would be replayed into the new file. It is written back rather than
    # removed: the old file may need it to be whole, should this be interrupted before the rename.
    if path.exists():
        try:
            _fold_back_wal(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(new, path)
    sync_folder(path.parent)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Tell whether the bytes are no database, rather than that the machine failed it."""
    return not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error)


def _fold_back_wal(path: Path) -> None:
    """Put all of a database into its one file, durably; closing the last connection then removes the WAL."""
    with closing(sqlite3.connect(path, timeout=10)) as db:
        is_busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if is_busy:
        raise OSError(errno.EBUSY, "another process is reading it", str(path))
