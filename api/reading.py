"""Reading runs back, never older than what was acknowledged before the read arrived.

A read notes the log's durable position and waits, within a bound, for the catalog to get there. The
catalog says where a run's bytes lie; the bytes themselves come from the log, checked against their hash.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from api.errors import ProjectionBehind
from api.settings import Settings
from eventlog.event import Recorded
from eventlog.log import Log
from eventlog.record import record
from projections.query import Found, Query
from projections.run.errors import RunNotFound, RunWithdrawn
from projections.run.events import is_run_id
from projections.run.fold import VIEW_VERSION, fold_stream, view_bytes, view_of
from projections.run.model import RunState, Withdrawn
from projections.supervisor import Projections

T = TypeVar("T")


@record
class View:
    """A run as everyone reads it: its JSON, its state, and the ETag that names both."""

    run_id: str
    json: bytes
    state: RunState

    @property
    def etag(self) -> str:
        """The strong ETag, with its quotes."""
        return f'"{self.state.last_seq}-{VIEW_VERSION}"'


class Reading:
    """The reading side of an open data directory; its methods belong to the event loop."""

    def __init__(self, settings: Settings, log: Log) -> None:
        """Read what *log* and the projections of its data directory hold."""
        self.settings, self.log = settings, log
        self._readers = ThreadPoolExecutor(2, "reader")
        self._of_thread = threading.local()
        self._catalog: Query | None = None
        self._catalog_there = asyncio.Event()
        self.projections = Projections(settings.data_dir, settings.runs_dir, log.end, self._projection_ready)

    def close_readers(self) -> None:
        """Let go of the readers' threads and of the catalog; the projections have ended."""
        self._readers.shutdown()
        if self._catalog:
            self._catalog.close()

    async def fresh(self, *, stale_ok: bool = False) -> None:
        """Return once reads cover everything that is durable now.

        Raises:
            ProjectionBehind: the catalog does not get there in time, or (`stale_ok`) is not there at all.

        """
        head = self.log.head
        if self._catalog is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.freshness_timeout_ms / 1000):
                    await self._catalog_there.wait()
        if self.projections.position("catalog") < head and not stale_ok:
            await self.projections.wait("catalog", head, self.settings.freshness_timeout_ms / 1000)
        if self._catalog is None or (self.projections.position("catalog") < head and not stale_ok):
            raise ProjectionBehind("catalog", self.projections.position("catalog"), head)

    @property
    def catalog(self) -> Query:
        """The catalog's reader for the event loop's own short look-ups; `fresh` first."""
        assert self._catalog is not None, "fresh() lets nobody through before the catalog is there"
        return self._catalog

    async def query(self, ask: Callable[[Query], T]) -> T:
        """Return what *ask* finds in the catalog, on a reader's thread; call `fresh` first."""
        return await self.in_reader(lambda: self._ask(ask))

    async def in_reader(self, read: Callable[[], T]) -> T:
        """Return what *read* gives, on a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    def _ask(self, ask: Callable[[Query], T]) -> T:
        mine = self._of_thread
        if getattr(mine, "opened_for", None) is not self._catalog:
            if getattr(mine, "query", None) is not None:
                mine.query.close()
            mine.query, mine.opened_for = Query(self._catalog_path), self._catalog
        return ask(mine.query)

    def view(self, run_id: str, *, include_withdrawn: bool = False) -> View:
        """Return run *run_id* as it is now; call `fresh` first.

        Raises:
            RunNotFound, RunWithdrawn: there is nothing (any more) to show.
            LogCorrupt: its event does not match its hash.

        """
        found = self.catalog.run(run_id) if is_run_id(run_id) else None
        if found is None:
            raise RunNotFound(run_id)
        if found.state.withdrawn is not None and not include_withdrawn:
            refuse_withdrawn(run_id, found.state.withdrawn)
        return View(run_id, self.found_json(found), found.state)

    def found_json(self, found: Found) -> bytes:
        """Return the merged view of a run that the catalog *found*."""
        recorded = self.log.read_at(found.seq, found.place)
        run = recorded.bytes[found.run_start : found.run_start + found.run_length]
        return view_bytes(run, recorded.hash, found.state)

    def events_of(self, run_id: str) -> list[Recorded]:
        """Return all events of run *run_id*, oldest first, also if it is withdrawn; from the log itself, so always fresh.

        Raises:
            RunNotFound: it has none.
            LogCorrupt: one of them does not match its hash.

        """
        recorded = self.log.read_stream(run_id) if is_run_id(run_id) else []
        if not recorded:
            raise RunNotFound(run_id)
        return recorded

    def view_until(self, run_id: str, is_until: Callable[[Recorded], bool]) -> View:
        """Return run *run_id* as it was after the last of its events that *is_until* holds for.

        Raises:
            RunNotFound: it was not there yet.

        """
        past = [recorded for recorded in self.log.read_stream(run_id) if is_until(recorded)]
        folded = fold_stream(past)
        if folded is None:
            raise RunNotFound(run_id)
        return View(run_id, view_of(*folded), folded[1])

    @property
    def _catalog_path(self) -> Path:
        return self.settings.data_dir / "catalog.sqlite"

    def _projection_ready(self, name: str) -> None:
        """Open the catalog, which its process may have made anew."""
        if name == "catalog":
            if self._catalog is not None:
                self._catalog.close()
            self._catalog = Query(self._catalog_path)
            self._catalog_there.set()


def refuse_withdrawn(run_id: str, withdrawn: Withdrawn) -> NoReturn:
    """Say that the run is no longer in force.

    Raises:
        RunWithdrawn: always.

    """
    raise RunWithdrawn(run_id, withdrawn.reason, withdrawn.at_utc, withdrawn.seq)
