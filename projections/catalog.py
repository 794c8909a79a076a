"""The catalog: one row a run, for the lists, and where a run's bytes lie, for everything else.

The core of a run stays in the log; a row holds the filter columns, what was added since,
and the place of the created event. Rows are keyed by the seq of that event, so a rebuilt
catalog equals the incremental one row for row. `query.py` reads it.
"""

from pathlib import Path
from typing import Any, ClassVar

from eventlog.canonical import canonical
from eventlog.clock import time_us
from eventlog.event import Recorded
from projections import database
from projections.projection import Saved
from projections.run import events
from projections.run.events import run_of, run_slice
from projections.run.fold import fold, state_json, state_of
from projections.run.model import RunState

CONTEXT_FILTERS = (
    "event_type",
    "session_id",
    "batch_label",
    "workflow_session_id",
    "material_id",
    "machine_id",
    "tool_kind",
    "parent_run_id",
)
PLAIN_FILTERS = ("status", "mode", "tool_id", "risk_level")

COLUMNS = (
    "id",
    "run_id",
    "withdrawn",
    "created_us",
    *PLAIN_FILTERS,
    "score",
    "block_reason",
    "feasibility_sha256",
    "toolpaths_sha256",
    *CONTEXT_FILTERS,
    "other_context",
    "segment",
    "offset",
    "length",
    "run_start",
    "run_length",
    "explanation_status",
    "advisory_count",
    "state",
)
_COLUMN_TYPES = {
    "id": "INTEGER PRIMARY KEY",
    "run_id": "TEXT NOT NULL UNIQUE",
    "withdrawn": "INTEGER NOT NULL",
    "created_us": "INTEGER NOT NULL",
    "score": "",  # no type: a number comes back as it was, 80 as 80 and 80.0 as 80.0
    "feasibility_sha256": "BLOB",
    "toolpaths_sha256": "BLOB",
    "state": "BLOB",
}


_NUMBERS = ("segment", "offset", "length", "run_start", "run_length", "advisory_count")


def _tables() -> str:
    columns = ", ".join(
        f"{name} {_COLUMN_TYPES.get(name, 'TEXT' if name not in _NUMBERS else 'INTEGER')}" for name in COLUMNS
    )
    return (
        f"CREATE TABLE run ({columns});"
        "CREATE TABLE advisory (advisory_id TEXT, created_us INTEGER, run_id TEXT, id INTEGER,"
        " PRIMARY KEY (advisory_id, created_us, run_id)) WITHOUT ROWID;"
    )


def _indexes() -> str:
    indexes = ["CREATE INDEX run_by_time ON run (withdrawn, created_us, run_id);"]
    indexes += [f"CREATE INDEX run_by_{name} ON run (withdrawn, {name}, created_us, run_id);" for name in PLAIN_FILTERS]
    indexes += [
        f"CREATE INDEX run_by_{name} ON run (withdrawn, {name}, created_us, run_id) WHERE {name} IS NOT NULL;"
        for name in CONTEXT_FILTERS
    ]
    return "".join(indexes)


_INSERT = f"INSERT OR FAIL INTO run ({', '.join(COLUMNS)})"
_DELETE_ADVISORY = (
    "DELETE FROM advisory WHERE advisory_id = ?1 AND run_id = ?2"
    " AND created_us = (SELECT created_us FROM run WHERE run_id = ?2)"
)
_UPDATE = "UPDATE run SET withdrawn = ?, explanation_status = ?, advisory_count = ?, state = ? WHERE id = ?"


class Catalog:
    """The writing side. One connection, one thread; readers have their own (`query.py`)."""

    name: ClassVar[str] = "catalog"
    version: ClassVar[int] = 1

    def __init__(self, path: Path, *, bulk: bool = False) -> None:
        """Open or make the database at *path*; *bulk* is for a new one that is folded from the first event."""
        self.path = path
        self._db = database.connect(path, _tables(), _indexes(), bulk=bulk)
        self._rows: dict[str, list[Any]] = {}
        self._states: dict[str, RunState] = {}
        self._advisories: list[tuple[str, str]] = []
        self._renewed: list[str] = []
        self._gone: list[tuple[str, str]] = []

    def saved(self) -> Saved | None:
        """Return how far the stored state covers the log."""
        row = self._db.execute("SELECT * FROM saved").fetchone()
        return Saved.from_row(row) if row else None

    def make_whole(self) -> None:
        """End the bulk: make the indexes, and all of it durable."""
        database.make_whole(self._db, self.path, _indexes())

    def apply(self, recorded: Recorded) -> None:
        """Fold one event."""
        run_id = recorded.stream
        kind = recorded.type
        # A created run is its stream's first event: there is nothing to look up.
        before = None if kind == events.CREATED else self._state(run_id)
        state = fold(before, recorded)
        if kind in events.BEGINNINGS:
            self._rows[run_id] = _row(recorded)
            if before is not None:
                self._renew(run_id, before)
        elif kind == events.ADVISORY_ATTACHED:
            self._advisories.append((run_id, recorded.data["advisory"]["advisory_id"]))
        self._states[run_id] = state

    def commit(self, saved: Saved) -> None:
        """Store rows, states and the position in one transaction."""
        with self._db:
            self._store_rows()
            changed = [
                (int(s.withdrawn is not None), s.explanation_status, len(s.advisory_inputs), state_json(s), s.seq)
                for s in self._states.values()
                if s.revision
            ]
            self._db.executemany(_UPDATE, changed)
            self._db.executemany(
                "INSERT OR REPLACE INTO advisory SELECT ?, created_us, run_id, id FROM run WHERE run_id = ?",
                [(advisory_id, run_id) for run_id, advisory_id in self._advisories],
            )
            self._db.execute("DELETE FROM saved")
            self._db.execute("INSERT INTO saved VALUES (?, ?, ?, ?, ?)", saved.as_row())
        self.rollback()

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""
        self._rows, self._states, self._advisories = {}, {}, []
        self._renewed, self._gone = [], []

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _state(self, run_id: str) -> RunState | None:
        if run_id in self._states:
            return self._states[run_id]
        row = self._db.execute("SELECT id, state FROM run WHERE run_id = ?", (run_id,)).fetchone()
        return state_of(*row) if row else None

    def _renew(self, run_id: str, before: RunState) -> None:
        """Only an import after a withdrawal begins an id anew; then the old view goes."""
        self._renewed.append(run_id)
        self._gone += [(advisory["advisory_id"], run_id) for advisory in before.advisory_inputs]
        self._advisories = [pair for pair in self._advisories if pair[0] != run_id]

    def _store_rows(self) -> None:
        self._db.executemany(_DELETE_ADVISORY, self._gone)
        self._db.executemany("DELETE FROM run WHERE run_id = ?", [(run_id,) for run_id in self._renewed])
        database.insert(self._db, _INSERT, list(self._rows.values()))


def _row(recorded: Recorded) -> list[Any]:
    run = run_of(recorded)
    decision, hashes, context = run["decision"], run["hashes"], dict(run["context"])
    start, length = run_slice(recorded)
    filters = [context.pop(name, None) for name in CONTEXT_FILTERS]
    return [
        recorded.seq,
        run["run_id"],
        0,
        time_us(run["created_at_utc"]),
        run["status"],
        run["mode"],
        run["tool_id"],
        decision["risk_level"],
        decision["score"],
        decision["block_reason"],
        bytes.fromhex(hashes["feasibility_sha256"]),
        bytes.fromhex(hashes["toolpaths_sha256"]) if hashes["toolpaths_sha256"] else None,
        *filters,
        canonical(context).decode() if context else None,
        recorded.place.segment,
        recorded.place.offset,
        recorded.place.length,
        start,
        length,
        "NONE",
        0,
        None,
    ]
