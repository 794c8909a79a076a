"""Stats: how many runs there are by day, status, risk level, mode and tool, kept as the events come.

A cell counts the runs that share all five, and why they were blocked; a withdrawn run is in none. Cells are
numbered as they first occur and stay when they are empty, and the sums over them that `overview.py` reads
follow each change of one, so a rebuilt database equals the incremental one row for row.
"""

from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from eventlog.event import Recorded
from projections import database
from projections.layout import date_of
from projections.projection import Saved
from projections.run import events
from projections.run.events import UnknownEvent, run_of

GROUPS = ("day", "status", "risk_level", "mode", "tool_id")
"""What counts can be grouped by."""

REASON_LENGTH_MAX = 200
"""So much of a reason tells one from another; the rest is read with the run."""

_COLUMNS = (*GROUPS, "block_reason")
_KNOWN_CELLS_MAX = 20_000
# Sums over the cells: a few rows a day, where there may be a cell for nearly every run.
_SUMS = (
    "CREATE TABLE daily (day TEXT, status TEXT, risk_level TEXT, total INTEGER NOT NULL,"
    " PRIMARY KEY (day, status, risk_level)) WITHOUT ROWID;"
    "CREATE TABLE tool (day TEXT, tool_id TEXT, total INTEGER NOT NULL, blocked INTEGER NOT NULL,"
    " PRIMARY KEY (day, tool_id)) WITHOUT ROWID;"
    "CREATE TABLE reason (day TEXT, block_reason TEXT, total INTEGER NOT NULL,"
    " PRIMARY KEY (day, block_reason)) WITHOUT ROWID;"
    "CREATE TRIGGER begun AFTER INSERT ON cell BEGIN"
    " INSERT OR IGNORE INTO daily VALUES (new.day, new.status, new.risk_level, 0);"
    " INSERT OR IGNORE INTO tool VALUES (new.day, new.tool_id, 0, 0);"
    " INSERT OR IGNORE INTO reason SELECT new.day, new.block_reason, 0 WHERE new.status = 'BLOCKED';"
    " END;"
    "CREATE TRIGGER counted AFTER UPDATE ON cell BEGIN"
    " UPDATE daily SET total = total + new.total - old.total"
    " WHERE day = new.day AND status = new.status AND risk_level = new.risk_level;"
    " UPDATE tool SET total = total + new.total - old.total,"
    " blocked = blocked + (new.status = 'BLOCKED') * (new.total - old.total)"
    " WHERE day = new.day AND tool_id = new.tool_id;"
    " UPDATE reason SET total = total + new.total - old.total"
    " WHERE new.status = 'BLOCKED' AND day = new.day AND block_reason = new.block_reason;"
    " END;"
)
_TABLES = (
    f"CREATE TABLE cell (id INTEGER PRIMARY KEY, {', '.join(f'{name} TEXT NOT NULL' for name in _COLUMNS)},"
    f" total INTEGER NOT NULL, UNIQUE ({', '.join(_COLUMNS)}));"
    # Which cell a run is counted in: a withdrawal says nothing of it.
    "CREATE TABLE run (run_id TEXT PRIMARY KEY, cell INTEGER NOT NULL) WITHOUT ROWID;"
    f"{_SUMS}"
)

_Cell = tuple[str, ...]


class Stats:
    """The writing side. One connection, one thread; readers ask through `counts`."""

    name: ClassVar[str] = "stats"
    version: ClassVar[int] = 2

    def __init__(self, path: Path, *, bulk: bool = False) -> None:
        """Open or make the database at *path*; *bulk* is for a new one that is folded from the first event."""
        self.path = path
        self._db = database.connect(path, _TABLES, "", bulk=bulk)
        self._known: dict[_Cell, int] = {}
        self.rollback()

    def saved(self) -> Saved | None:
        """Return how far the stored state covers the log."""
        row = self._db.execute("SELECT * FROM saved").fetchone()
        return Saved.from_row(row) if row else None

    def make_whole(self) -> None:
        """End the bulk: all of it durable."""
        database.make_whole(self._db, self.path, "")

    def apply(self, recorded: Recorded) -> None:
        """Count a run that begins, and no longer one that is withdrawn."""
        run_id, kind = recorded.stream, recorded.type
        if kind not in events.TYPES:
            raise UnknownEvent(recorded.seq, kind)
        cell = _cell_of(run_of(recorded)) if kind in events.BEGINNINGS else None  # first: it may raise
        if kind in (events.IMPORTED, events.WITHDRAWN):
            self._uncount(run_id)
        if cell is not None:
            self._count(run_id, cell)

    def commit(self, saved: Saved) -> None:
        """Store counts and position in one transaction."""
        with self._db:
            self._db.executemany(
                f"INSERT INTO cell VALUES (?, {'?, ' * len(_COLUMNS)} 0)",  # noqa: S608 (question marks alone)
                [(number, *cell) for cell, number in self._new.items()],
            )
            changes = [(change, number) for number, change in self._changes.items() if change]
            self._db.executemany("UPDATE cell SET total = total + ? WHERE id = ?", changes)
            gone = [(run_id,) for run_id, number in self._runs.items() if number is None]
            self._db.executemany("DELETE FROM run WHERE run_id = ?", gone)
            counted = [(run_id, number) for run_id, number in self._runs.items() if number is not None]
            database.insert(self._db, "INSERT OR REPLACE INTO run", counted)
            self._db.execute("DELETE FROM saved")
            self._db.execute("INSERT INTO saved VALUES (?, ?, ?, ?, ?)", saved.as_row())
        if len(self._known) < _KNOWN_CELLS_MAX:
            self._known |= self._new
        self.rollback()

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""
        self._new: dict[_Cell, int] = {}
        self._changes: dict[int, int] = {}
        self._runs: dict[str, int | None] = {}
        self._last = self._db.execute("SELECT coalesce(max(id), 0) FROM cell").fetchone()[0]

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _count(self, run_id: str, cell: _Cell) -> None:
        number = self._runs[run_id] = self._number(cell)
        self._changes[number] = self._changes.get(number, 0) + 1

    def _uncount(self, run_id: str) -> None:
        if run_id in self._runs:
            number = self._runs[run_id]
        else:
            row = self._db.execute("SELECT cell FROM run WHERE run_id = ?", (run_id,)).fetchone()
            number = row[0] if row else None
        if number is not None:
            self._runs[run_id] = None
            self._changes[number] = self._changes.get(number, 0) - 1

    def _number(self, cell: _Cell) -> int:
        number = self._known.get(cell) or self._new.get(cell)
        if number is None:
            where = " AND ".join(f"{name} = ?" for name in _COLUMNS)
            row = self._db.execute(f"SELECT id FROM cell WHERE {where}", cell).fetchone()  # noqa: S608 (our own names)
            if row:
                return int(row[0])
            self._last += 1
            number = self._new[cell] = self._last
        return number


def counts(path: Path, group_by: str, date_from: str | None, date_to: str | None) -> list[dict[str, Any]]:
    """Return the counts of the runs created on the days asked for (both inclusive), sorted by key.

    The database is opened for each question: it may be another one by the next.
    """
    assert group_by in GROUPS
    statement = (
        f"SELECT {group_by}, status, risk_level, sum(total) FROM cell WHERE day >= ? AND day <= ?"  # noqa: S608
        " GROUP BY 1, 2, 3 HAVING sum(total) > 0 ORDER BY 1, 2, 3"
    )
    with closing(database.open_for_reading(path)) as db:
        rows = db.execute(statement, (date_from or "", date_to or "~")).fetchall()
    items: dict[str, dict[str, Any]] = {}
    for key, status, risk_level, total in rows:
        item = items.setdefault(key, {"key": key, "total": 0, "by_status": {}, "by_risk_level": {}})
        item["total"] += total
        for name, value in (("by_status", status), ("by_risk_level", risk_level)):
            item[name][value] = item[name].get(value, 0) + total
    return list(items.values())


def _cell_of(run: dict[str, Any]) -> _Cell:
    decision, status = run["decision"], run["status"]
    reason = shortened(decision["block_reason"] or "") if status == "BLOCKED" else ""
    return (date_of(run), status, decision["risk_level"], run["mode"], run["tool_id"], reason)


def shortened(reason: str) -> str:
    """Return a reason as far as it is told apart from others."""
    return reason if len(reason) <= REASON_LENGTH_MAX else f"{reason[:REASON_LENGTH_MAX]}…"
