"""What the stats say of a span of days, for whoever wants to see at one look how it goes.

Read from sums that follow each run, so it costs a few rows a day, however many runs there are.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from pathlib import Path

from attrs import frozen

from projections import database

ROWS_MAX = 8


@frozen
class Tool:
    """How many runs a tool had, and how many of them were blocked."""

    tool_id: str
    total: int
    blocked: int


@frozen
class Reason:
    """How often runs were blocked for a reason; empty where none was given."""

    text: str
    total: int


@frozen
class Overview:
    """The runs in force that were created on the days asked for."""

    by_day: Mapping[date, Mapping[str, int]]
    """Status to count, of the days that have runs."""
    risk_by_day: Mapping[date, Mapping[str, int]]
    tools: tuple[Tool, ...]
    """Those that were blocked most, the most first."""
    reasons: tuple[Reason, ...]
    newest: date | None
    """The last day of all that has runs; None if there are no runs at all."""
    before: Mapping[str, int]
    """Status to count of the days before that were asked for too."""

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(sum(counts.values()) for counts in self.by_day.values())

    def of_status(self, status: str) -> int:
        """Return how many runs have this status."""
        return sum(counts.get(status, 0) for counts in self.by_day.values())


def overview(path: Path, since: date | None, earlier: date | None = None) -> Overview:
    """Return what the database at *path* says of the days from *since* on, or of all of them.

    The days from *earlier* to *since* are summed up to compare with.
    """
    first = since.isoformat() if since else ""
    with closing(database.open_for_reading(path)) as db:
        rows = db.execute(
            "SELECT day, status, risk_level, total FROM daily WHERE day >= ? AND total > 0 ORDER BY day", (first,)
        ).fetchall()
        tools = db.execute(
            "SELECT tool_id, sum(total), sum(blocked) AS often FROM tool WHERE day >= ? GROUP BY tool_id"
            " HAVING often > 0 ORDER BY often DESC, tool_id LIMIT ?",
            (first, ROWS_MAX),
        ).fetchall()
        reasons = db.execute(
            "SELECT block_reason, sum(total) AS often FROM reason WHERE day >= ? GROUP BY block_reason"
            " HAVING often > 0 ORDER BY often DESC, block_reason LIMIT ?",
            (first, ROWS_MAX),
        ).fetchall()
        newest = _newest(db)
        between = (earlier.isoformat() if earlier else first, first)
        before = db.execute(
            "SELECT status, sum(total) FROM daily WHERE day >= ? AND day < ? GROUP BY status", between
        ).fetchall()
    by_day: dict[date, dict[str, int]] = {}
    risk_by_day: dict[date, dict[str, int]] = {}
    for text, status, risk_level, total in rows:
        day = date.fromisoformat(text)
        for counts, name in ((by_day.setdefault(day, {}), status), (risk_by_day.setdefault(day, {}), risk_level)):
            counts[name] = counts.get(name, 0) + total
    return Overview(
        by_day,
        risk_by_day,
        tuple(Tool(*row) for row in tools),
        tuple(Reason(*row) for row in reasons),
        newest,
        {status: total for status, total in before if total},
    )


def _newest(db: sqlite3.Connection) -> date | None:
    row = db.execute("SELECT day FROM daily WHERE total > 0 ORDER BY day DESC LIMIT 1").fetchone()
    return date.fromisoformat(row[0]) if row else None
