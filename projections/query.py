"""Reading the catalog: one run, or a page of the runs that match.

Every single filter, alone and with dates, has an index in the order of its page. Another
combination is driven by its rarest filter and examines a bounded number of candidates, each
by a look into the indexes of the other filters, whose neighbours in time lie side by side;
so that no question, however it is put, holds up the others.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from eventlog.clock import time_text
from eventlog.event import Place
from projections.catalog import CONTEXT_FILTERS
from projections.database import open_for_reading
from projections.filters import Check, Driver, Filters, Key, check_of, residual
from projections.run.fold import state_of
from projections.run.model import RunState

CANDIDATES_MAX = 500
FIRST_CANDIDATES = 250
COUNT_MAX = 400
"""A filter that finds more than this is common; among common ones it hardly matters which one drives."""
TOOLS_MAX = 200
MODES_MAX = 100
TOTAL_TIME_MAX_S = 2.0

_PLACE_COLUMNS = "id, segment, offset, length, run_start, run_length, state"
_ITEM_COLUMNS = (
    "run_id, created_us, status, mode, tool_id, risk_level, score, block_reason, feasibility_sha256,"
    f" toolpaths_sha256, {', '.join(CONTEXT_FILTERS)}, other_context, explanation_status, advisory_count"
)


@frozen
class Found:
    """A run: where its created event lies, where the run stands in it, and its state."""

    seq: int
    place: Place
    run_start: int
    run_length: int
    state: RunState


@frozen
class Page:
    """One page: rows, and the key after which the next page begins (None at the end)."""

    rows: list[tuple[Any, ...]]
    next_after: Key | None


class Query:
    """A reader of the catalog with a connection of its own; for one thread at a time."""

    def __init__(self, path: Path, *, at_rest: bool = False) -> None:
        """Open the catalog at *path*, which must be there, for reading only; *at_rest*: nobody writes it now."""
        self._db = open_for_reading(path, at_rest=at_rest)
        self._db.execute("PRAGMA cache_size = -8000")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def run(self, run_id: str) -> Found | None:
        """Return where run *run_id* is and its state; None if the catalog has none."""
        row = self._db.execute(f"SELECT {_PLACE_COLUMNS} FROM run WHERE run_id = ?", (run_id,)).fetchone()  # noqa: S608
        return _found(row) if row else None

    def listed(self, run_id: str) -> tuple[Any, ...] | None:
        """Return the row of an index item of run *run_id*; None if the lists do not have it."""
        columns = f"created_us, run_id, {_ITEM_COLUMNS}"
        statement = f"SELECT {columns} FROM run WHERE run_id = ? AND withdrawn = 0"  # noqa: S608 (names are ours)
        row: tuple[Any, ...] | None = self._db.execute(statement, (run_id,)).fetchone()
        return row

    def page(self, filters: Filters, after: Key | None, limit: int, *, full: bool) -> Page:
        """Return up to *limit* runs after *after*, as places (`full`) or as rows of an index item."""
        keys, next_after = self._keys(filters, after, limit)
        columns = _PLACE_COLUMNS if full else _ITEM_COLUMNS
        statement = f"SELECT created_us, run_id, {columns} FROM run WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        rows = self._db.execute(statement, (orjson.dumps([key[2] for key in keys]).decode(),)).fetchall()
        rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
        return Page(rows, next_after)

    def total(self, filters: Filters) -> int | None:
        """Return how many runs match; None if counting takes over 2 s."""
        deadline = time.monotonic() + TOTAL_TIME_MAX_S
        self._db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        where, values = residual(filters)
        source = "run"
        if filters.advisory_id is not None:
            source = "run WHERE id IN (SELECT id FROM advisory WHERE advisory_id = ?) AND"
            values = [filters.advisory_id, *values]
        else:
            source = "run WHERE"
        try:
            return int(self._db.execute(f"SELECT count(*) FROM {source} {where}", values).fetchone()[0])  # noqa: S608
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            return None
        finally:
            self._db.set_progress_handler(None, 0)

    def _keys(self, filters: Filters, after: Key | None, limit: int) -> tuple[list[tuple[int, str, int]], Key | None]:
        """Return the (created_us, run_id, id) of one page, and where the next one begins."""
        driver, rest = self._driver(filters)
        if not rest:
            found = [key[:3] for key in self._merged(driver, filters, after, limit + 1)]
            return found[:limit], (found[limit - 1][:2] if len(found) > limit else None)
        check = check_of(driver, filters, self._tools(filters.tool_id_prefix))
        matched: list[tuple[int, str, int]] = []
        budget, chunk = CANDIDATES_MAX, FIRST_CANDIDATES
        while budget > 0:
            candidates = self._merged(driver, filters, after, min(chunk, budget), check)
            matched += [key[:3] for key in candidates if key[3]]
            if len(matched) > limit:
                return matched[:limit], matched[limit - 1][:2]
            if len(candidates) < min(chunk, budget):
                return matched, None
            after = candidates[-1][:2]
            budget -= len(candidates)
            chunk = budget
        return matched, after

    def _driver(self, filters: Filters) -> tuple[Driver, bool]:
        """Return what to walk along, and whether other filters remain to be checked."""
        drivers = [Driver(name, (value,)) for name, value in filters.equal.items()]
        if filters.advisory_id is not None:
            drivers.append(Driver("advisory_id", (filters.advisory_id,)))
        if filters.tool_id_prefix is not None and len(tools := self._tools(filters.tool_id_prefix)) <= TOOLS_MAX:
            drivers.append(Driver("tool_id", tuple(tools)))
        wanted = len(filters.equal) + (filters.advisory_id is not None) + (filters.tool_id_prefix is not None)
        rest = wanted > 1 or filters.advisory_id is not None or len(drivers) < wanted
        if not drivers:
            return Driver(), rest
        if len(drivers) == 1:
            return drivers[0], rest
        return min(drivers, key=lambda driver: self._count(driver, filters)), rest

    def _count(self, driver: Driver, filters: Filters) -> int:
        """Return how many runs *driver* would walk along, as far as it matters."""
        count = 0
        for statement, values in driver.branches(filters, None):
            left = COUNT_MAX - count
            if left <= 0:
                break
            counting = f"SELECT count(*) FROM (SELECT 1 {statement} LIMIT ?)"  # noqa: S608 (names are ours)
            count += self._db.execute(counting, (*values, left)).fetchone()[0]
        return count

    def _merged(
        self, driver: Driver, filters: Filters, after: Key | None, limit: int, check: Check | None = None
    ) -> list[tuple[int, str, int, int]]:
        """Return the first *limit* keys of all branches together, in the order of pages, and whether *check* holds."""
        merged: list[tuple[int, str, int, int]] = []
        condition, condition_values = check or ("1", ())
        for statement, values in driver.branches(filters, after):
            ordered = f"SELECT created_us, run_id, id {statement} ORDER BY created_us DESC, run_id DESC LIMIT ?"
            checked = f"SELECT created_us, run_id, id, {condition} FROM ({ordered}) AS candidate"  # noqa: S608
            merged += self._db.execute(checked, (*condition_values, *values, limit)).fetchall()
            if len(merged) > 4 * limit:
                merged = sorted(merged, reverse=True)[:limit]
        return sorted(merged, reverse=True)[:limit]

    def _tools(self, prefix: str | None) -> list[str]:
        """Return the tool ids that start with *prefix*, by skipping along the index; at most TOOLS_MAX + 1."""
        tools: list[str] = []
        if prefix is None:
            return tools
        for withdrawn in (0, 1):
            tool = _next(self._db, "tool_id", withdrawn, ">=", prefix)
            while tool is not None and tool.startswith(prefix) and len(tools) <= TOOLS_MAX:
                tools.append(tool)
                tool = _next(self._db, "tool_id", withdrawn, ">", tool)
        return sorted(set(tools))

    def modes(self) -> list[str]:
        """Return the modes of the runs in force, by skipping along the index; the first MODES_MAX of them."""
        modes: list[str] = []
        mode = _next(self._db, "mode", 0, ">=", "")
        while mode is not None and len(modes) < MODES_MAX:
            modes.append(mode)
            mode = _next(self._db, "mode", 0, ">", mode)
        return modes


def _next(db: sqlite3.Connection, column: str, withdrawn: int, relation: str, value: str) -> str | None:
    """Return the next value of *column* in its index."""
    row = db.execute(
        f"SELECT {column} FROM run INDEXED BY run_by_{column} WHERE withdrawn = ? AND {column} {relation} ?"  # noqa: S608
        f" ORDER BY {column} LIMIT 1",
        (withdrawn, value),
    ).fetchone()
    return row[0] if row else None


def _found(row: tuple[Any, ...]) -> Found:
    seq, segment, offset, length, start, run_length, state = row
    return Found(seq, Place(segment, offset, length), start, run_length, state_of(seq, state))


def found_of(row: tuple[Any, ...]) -> Found:
    """Return the place of one row of a page asked for in full."""
    return _found(row[2:])


def artifact_path(created_at_utc: str, run_id: str) -> str:
    """Return where the run's core file lies, relative to the runs root."""
    return f"{created_at_utc[:10]}/{run_id}.json"


def index_item(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return one row of a page as an item of the list."""
    run_id, created_us, status, mode, tool_id, risk, score, reason, feasibility, toolpaths = row[2:12]
    filters = row[12 : 12 + len(CONTEXT_FILTERS)]
    other_context, explanation_status, advisory_count = row[12 + len(CONTEXT_FILTERS) :]
    context = {name: value for name, value in zip(CONTEXT_FILTERS, filters, strict=True) if value is not None}
    if other_context:
        context |= orjson.loads(other_context)
    created_at_utc = time_text(created_us)
    return {
        "run_id": run_id,
        "created_at_utc": created_at_utc,
        "status": status,
        "mode": mode,
        "tool_id": tool_id,
        "risk_level": risk,
        "score": score,
        "feasibility_sha256": feasibility.hex(),
        "toolpaths_sha256": toolpaths.hex() if toolpaths else None,
        "artifact_path": artifact_path(created_at_utc, run_id),
        "context": context,
        "explanation_status": explanation_status,
        "advisory_count": advisory_count,
        "block_reason": reason,
    }
