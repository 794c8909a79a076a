"""What the API would serve of a run: its row in the catalog, and the bytes that the row points to.

Read without a lock, beside a server too, and without a trace. A row that is newer than what was
read of the log says nothing: the run was added to meanwhile.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, frozen

from api.migration.holdings import Holdings
from eventlog.errors import EventLogError
from projections.catalog import Catalog
from projections.database import is_damage
from projections.known import database_of
from projections.query import Found, Query, index_item
from projections.run.fold import view_bytes
from projections.standing import standings


@frozen
class Shown:
    """What is served of a run: the merged view as JSON, and its item in the list; None for what cannot be."""

    view: bytes | None
    item: dict[str, Any] | None


@define
class Served:
    """The catalog, at the head of what `holdings` has; `fault` says what kept it from being read to the end."""

    _query: Query
    _holdings: Holdings
    fault: str = ""

    @classmethod
    def of(cls, data_dir: Path, runs_dir: Path, holdings: Holdings) -> "Served | None":
        """Return the catalog of the log that *holdings* read; None if there is none, or it does not cover that log."""
        path = database_of(data_dir, Catalog.name)
        with suppress(EventLogError, FileNotFoundError):
            position = next(one.position for one in standings(data_dir, runs_dir) if one.name == Catalog.name)
            if path.exists() and position >= holdings.last_seq:
                # Without a WAL nobody has it open, and then nothing need be made beside it in order to read.
                return cls(Query(path, at_rest=not path.with_name(f"{path.name}-wal").exists()), holdings)
        return None

    def get(self, run_id: str) -> Shown | None:
        """Return what is served of a run; None if it was added to since the log was read, or the catalog is broken."""
        if self.fault:
            return None
        try:
            try:
                found = self._query.run(run_id)
            except (AttributeError, LookupError, TypeError, ValueError):  # the row's state is none
                return Shown(None, None)
            if found is None:
                return Shown(None, None)
            if found.state.last_seq > self._holdings.last_seq:
                return None
            row = self._query.listed(run_id)
            return Shown(self._view(found), None if row is None else _item(row))
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.fault = str(error)
            return None

    def close(self) -> None:
        """Close the catalog."""
        self._query.close()

    def _view(self, found: Found) -> bytes | None:
        recorded = self._holdings.event_at(found.seq, found.place)
        if recorded is None:
            return None
        run = recorded.bytes[found.run_start : found.run_start + found.run_length]
        return view_bytes(run, recorded.hash, found.state)


def _item(row: tuple[Any, ...]) -> dict[str, Any] | None:
    """Return an item of the list; None where a column holds what it cannot be made of."""
    try:
        return index_item(row)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
        return None


def item_of(view: dict[str, Any]) -> dict[str, Any]:
    """Return the item of the list that a merged view makes, but its path."""
    decision, hashes = view["decision"], view["hashes"]
    plain = ("run_id", "created_at_utc", "status", "mode", "tool_id", "context", "explanation_status")
    return {name: view[name] for name in plain} | {
        "risk_level": decision["risk_level"],
        "score": decision["score"],
        "block_reason": decision["block_reason"],
        "feasibility_sha256": hashes["feasibility_sha256"],
        "toolpaths_sha256": hashes["toolpaths_sha256"],
        "advisory_count": len(view["advisory_inputs"]),
    }
