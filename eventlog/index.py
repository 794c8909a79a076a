"""Where each event lies, each stream's revision, each idempotency key. Derived, rebuildable.

The index holds only events that were fsynced. New ones are findable at once (in memory)
and reach SQLite in the background, many in one statement: SQLite then works through them
without the interpreter lock, so that indexing never stands in the way of answering.
"""

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field, frozen

from eventlog.event import Place, Recorded
from eventlog.recovery import End

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE event (seq INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER, length INTEGER);
CREATE TABLE stream (stream TEXT, revision INTEGER, seq INTEGER, PRIMARY KEY (stream, revision)) WITHOUT ROWID;
CREATE TABLE key (
    actor TEXT, key TEXT, request_sha256 TEXT, first INTEGER, last INTEGER, PRIMARY KEY (actor, key)
) WITHOUT ROWID;
CREATE TABLE segment (number INTEGER PRIMARY KEY, end INTEGER);
"""


@frozen
class KeyUse:
    """The request that used an idempotency key, and the events that it wrote."""

    request_sha256: str
    first: int
    last: int


@define
class _Unsaved:
    """Indexed events that SQLite does not have yet."""

    events: dict[int, Place] = field(factory=dict)
    revisions: dict[str, int] = field(factory=dict)
    seqs: dict[str, list[int]] = field(factory=dict)
    keys: dict[tuple[str, str], KeyUse] = field(factory=dict)


class Index:
    """The index of one log. Methods are for one thread (the event loop's), `save` for one other."""

    def __init__(self, path: Path, log_id: str) -> None:
        """Open the index at *path*; one that is not of log *log_id*, or not readable, is made anew."""
        self._path = path
        self._writing = _open(path, log_id)
        self._reading = sqlite3.connect(path, check_same_thread=False)
        self._reading.execute("PRAGMA query_only = 1")
        self._fresh = _Unsaved()
        self._saving = _Unsaved()
        self._lock = threading.Lock()

    @property
    def unsaved(self) -> int:
        """How many events wait to be saved."""
        return len(self._fresh.events) + len(self._saving.events)

    def end(self) -> End:
        """Return where the saved part ends."""
        row = self._reading.execute(
            "SELECT seq, segment, offset + length FROM event ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return End(row[0] + 1, row[1], row[2]) if row else End()

    def segment_ends(self) -> dict[int, int]:
        """Return for each segment the byte offset at which its saved events end."""
        return dict(self._reading.execute("SELECT number, end FROM segment"))

    def add(self, events: Iterable[Recorded], revisions: dict[str, int]) -> None:
        """Make durable *events* findable; *revisions* are the new revisions of their streams."""
        fresh = self._fresh
        for recorded in events:
            fresh.events[recorded.seq] = recorded.place
        fresh.revisions.update(revisions)

    def add_stream(self, stream: str, first: int, last: int) -> None:
        """Note that *stream* owns the seqs *first* to *last*."""
        self._fresh.seqs.setdefault(stream, []).extend(range(first, last + 1))

    def add_key(self, actor: str, key: str, use: KeyUse) -> None:
        """Note who used an idempotency key."""
        self._fresh.keys[actor, key] = use

    def place(self, seq: int) -> Place | None:
        """Return where event *seq* lies; None if there is no such event."""
        if (place := self._fresh.events.get(seq) or self._saving.events.get(seq)) is not None:
            return place
        row = self._reading.execute("SELECT segment, offset, length FROM event WHERE seq = ?", (seq,)).fetchone()
        return Place(*row) if row else None

    def seqs(self, stream: str) -> list[int]:
        """Return the seqs of *stream*, oldest first; none if there is no such stream."""
        saved = self._reading.execute("SELECT seq FROM stream WHERE stream = ? ORDER BY revision", (stream,))
        # The saving part may have reached SQLite a moment ago: a seq counts once.
        found = {row[0] for row in saved}
        found.update(self._saving.seqs.get(stream, ()), self._fresh.seqs.get(stream, ()))
        return sorted(found)

    def revisions(self, streams: Iterable[str]) -> dict[str, int]:
        """Return the revision of each of *streams* that exists; the first event makes revision 0."""
        known: dict[str, int] = {}
        unknown: list[str] = []
        for stream in streams:
            revision = self._fresh.revisions.get(stream, self._saving.revisions.get(stream))
            if revision is None:
                unknown.append(stream)
            else:
                known[stream] = revision
        if len(unknown) == 1:  # the usual batch of a quiet log, and a third of the time
            of_one = "SELECT stream, max(revision) FROM stream WHERE stream = ? GROUP BY stream"
            known.update(self._reading.execute(of_one, unknown))
        elif unknown:
            known.update(
                self._reading.execute(
                    "SELECT stream, max(revision) FROM stream"
                    " WHERE stream IN (SELECT value FROM json_each(?)) GROUP BY stream",
                    (orjson.dumps(unknown).decode(),),
                )
            )
        return known

    def key(self, actor: str, key: str) -> KeyUse | None:
        """Return how *actor* used *key*; None if not yet."""
        if (use := self._fresh.keys.get((actor, key)) or self._saving.keys.get((actor, key))) is not None:
            return use
        row = self._reading.execute(
            "SELECT request_sha256, first, last FROM key WHERE actor = ? AND key = ?", (actor, key)
        ).fetchone()
        return KeyUse(*row) if row else None

    def begin_save(self) -> bool:
        """Set apart what is to be saved next; False if there is nothing. Call on the owning thread."""
        if not self._saving.events:
            self._saving, self._fresh = self._fresh, _Unsaved()
        return bool(self._saving.events)

    def save(self) -> None:
        """Write what was set apart, in one transaction. May be called on another thread.

        Raises:
            sqlite3.Error: nothing was written; call it again later.

        """
        part = self._saving
        events = [[seq, p.segment, p.offset, p.length] for seq, p in part.events.items()]
        ends = {p.segment: p.offset + p.length for p in part.events.values()}
        streams = [
            [stream, part.revisions[stream] - len(seqs) + 1 + i, seq]
            for stream, seqs in part.seqs.items()
            for i, seq in enumerate(seqs)
        ]
        keys = [[actor, key, u.request_sha256, u.first, u.last] for (actor, key), u in part.keys.items()]
        with self._lock, self._writing:
            self._insert("event", 4, events)
            self._insert("stream", 3, streams)
            self._insert("key", 5, keys)
            self._insert("segment", 2, [[number, end] for number, end in ends.items()])

    def end_save(self) -> None:
        """Forget the copy in memory of what `save` wrote. Call on the owning thread."""
        self._saving = _Unsaved()

    def close(self) -> None:
        """Close both connections; SQLite writes its WAL back."""
        self._reading.close()
        with self._lock:
            self._writing.close()

    def _insert(self, table: str, columns: int, rows: list[list[Any]]) -> None:
        if not rows:
            return
        values = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(columns))
        statement = f"INSERT OR REPLACE INTO {table} SELECT {values} FROM json_each(?)"  # noqa: S608 (names are ours)
        self._writing.execute(statement, (orjson.dumps(rows).decode(),))


def _open(path: Path, log_id: str) -> sqlite3.Connection:
    try:
        connection = _connect(path)
        if _is_of(connection, log_id):
            return connection
        connection.close()
    except sqlite3.DatabaseError as error:
        # Only a file that is no database is derived state gone bad; a locked or full one is not.
        if not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error):
            pass
        else:
            raise
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    connection = _connect(path)
    with connection:
        connection.executescript(_SCHEMA)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("log_id", log_id), ("version", str(_SCHEMA_VERSION))]
        )
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
    return connection


def _is_of(connection: sqlite3.Connection, log_id: str) -> bool:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return False
    facts = dict(connection.execute("SELECT name, value FROM meta"))
    return facts == {"log_id": log_id, "version": str(_SCHEMA_VERSION)}
