"""Taking an import back: v1 is restored from its backup, and every run of the import is withdrawn. The log keeps them.

What is to be done is found out before anything is changed; run again after an interruption, it goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field, frozen

from api.migration.holdings import Holdings
from api.migration.import_record import ImportRecord, ended, imports
from api.migration.judging import payloads_beside
from api.migration.migrate import CLI
from api.migration.report import Lines
from api.migration.v1 import RecordError, read_record
from api.migration.v1_copies import SAFETY, kept_copy, restore, sha256_of
from eventlog.canonical import canonical
from eventlog.clock import Clock
from eventlog.errors import LogBusy, RunlogError
from eventlog.event import Recorded
from eventlog.log import Log
from projections.run import events

WITHDRAWN_AT_ONCE = 256

Withdraw = Callable[[str, dict[str, Any], int], Awaitable[None]]
"""Withdraws a run, with the data of the event, which is at a revision."""


@frozen
class ImportNotFound(RunlogError):
    """No import that could be rolled back was made from this backup (exit code 3)."""

    code: ClassVar[str] = "IMPORT_NOT_FOUND"
    backup: str
    backup_sha256: str
    without_backup: str | None
    """The id of the newest import of just these bytes, if it was made with --no-backup."""
    rolled_back: str | None
    """The same, if it was rolled back already."""

    @property
    def message(self) -> str:
        if self.rolled_back:
            return f"Import {self.rolled_back} was rolled back already; nothing was changed. `runlog status` tells where things stand."
        if self.without_backup:
            return (
                f"Import {self.without_backup} was made with --no-backup, so it cannot be rolled back; nothing was "
                "changed. Its runs can be withdrawn one by one."
            )
        return (
            f"No import was made from {self.backup} (SHA-256 {self.backup_sha256}); nothing was changed. Name the "
            "backup that `runlog migrate` reported, unchanged; <data-dir>/imports/ lists them."
        )


@frozen
class ImportEmpty(RunlogError):
    """The import brought no run, so there is nothing to take back (exit code 3)."""

    code: ClassVar[str] = "IMPORT_EMPTY"
    import_id: str

    @property
    def message(self) -> str:
        return (
            f"Import {self.import_id} imported nothing, so there is nothing to take back; nothing was changed. The runs "
            "of its v1 file, if they are here, came with another import: name the backup of that one."
        )


@define
class Rollback:
    """What a rollback did; `refused` are runs that were added to since their import."""

    import_id: str | None = None
    withdrawn: int = 0
    refused: Lines = field(factory=Lines)
    safety_copy: str | None = None
    restored: bool = False


@frozen
class Plan:
    """The imports that a backup belongs to; `record` is the one to name."""

    backup: Path
    sha256: str
    records: tuple[ImportRecord, ...]

    @property
    def record(self) -> ImportRecord:
        """The newest that imported anything, else the newest."""
        return next((one for one in reversed(self.records) if one.counts.get("imported")), self.records[-1])

    @property
    def import_ids(self) -> list[str]:
        """The ids of all."""
        return [one.import_id for one in self.records]

    @property
    def reason(self) -> str:
        """Why the runs are withdrawn."""
        return f"import {self.record.import_id} was rolled back"


def plan_of(backup: Path, data_dir: Path) -> Plan:
    """Return which imports *backup* undoes.

    Raises:
        ImportNotFound: none that could be rolled back.

    """
    digest = sha256_of(backup)
    same = [one for one in imports(data_dir) if one.v1_sha256 == digest]
    backed_up = [one for one in same if one.backup_sha256 == digest]
    ready = tuple(one for one in backed_up if one.state != "rolled_back")
    if not ready:
        newest = same[-1] if same else None  # of the same bytes: what it did is what stands now
        bare = newest.import_id if newest and not newest.backup else None
        over = newest.import_id if newest and newest.state == "rolled_back" else None
        raise ImportNotFound(str(backup), digest, bare, over)
    return Plan(backup, digest, ready)


def _added_to(run_ids: Iterable[str], holdings: Holdings) -> Iterator[str]:
    """Give those runs that anybody added to since their import."""
    for run_id in run_ids:
        stream = holdings.stream(run_id)
        if len(stream) > 1 and _is_added_to(run_id, stream):
            yield run_id


def undo(plan: Plan, path: Path, holdings: Holdings, done: Rollback, clock: Clock, *, force: bool) -> bool:
    """Keep a copy of the v1 file at *path* as it is now, and restore it; False if runs stand against it, unless *force*.

    Raises:
        LogCorrupt: what the log holds of the import is not known.
        ImportEmpty: it holds nothing.

    """
    holdings.check_whole()
    if not holdings.has_of_imports(plan.import_ids):
        raise ImportEmpty(plan.record.import_id)
    if not force:
        for run_id in _added_to(holdings.of_imports(plan.import_ids), holdings):
            done.refused.append(run_id)
    if done.refused:
        return False
    done.safety_copy = kept_copy(path, SAFETY, clock)["path"]
    restore(plan.backup, path, plan.sha256)
    done.restored = True
    return True


async def withdraw_all(
    plan: Plan, holdings: Holdings, withdraw: Withdraw, done: Rollback, on_progress: Callable[[int], None]
) -> None:
    """Withdraw every run of the plan's imports that is in force, many at a time."""
    run_ids = holdings.of_imports(plan.import_ids)
    while some := list(islice(run_ids, WITHDRAWN_AT_ONCE)):
        await asyncio.gather(*(_withdraw(run_id, plan, holdings, withdraw) for run_id in some))
        done.withdrawn += len(some)
        on_progress(done.withdrawn)


async def _withdraw(run_id: str, plan: Plan, holdings: Holdings, withdraw: Withdraw) -> None:
    held = holdings.get(run_id)
    assert held is not None, "it was found in force"
    await withdraw(run_id, {"reason": plan.reason, "import_id": held.import_id}, held.revision)


def withdraw_in(log: Log) -> Withdraw:
    """Return what withdraws runs in the open *log*."""

    async def withdraw(run_id: str, data: dict[str, Any], revision: int) -> None:
        draft = log.draft(events.WITHDRAWN, run_id, data, CLI)
        while True:
            try:
                await log.append([draft], revision, CLI)
                return
            except LogBusy as busy:  # the index is behind
                await asyncio.sleep(busy.retry_after_s)

    return withdraw


def finish(plan: Plan, data_dir: Path, clock: Clock) -> None:
    """Note that the imports are rolled back."""
    for record in plan.records:
        ended(data_dir, clock, record, "rolled_back")


def _is_added_to(run_id: str, stream: list[Recorded]) -> bool:
    begin = max(i for i, one in enumerate(stream) if one.type in events.BEGINNINGS)
    imported, later = stream[begin], stream[begin + 1 :]
    sizes = {
        one.data["attachment"]["sha256"]: one.data["attachment"]["size_bytes"]
        for one in later
        if one.type == events.ATTACHMENT_ADDED
    }
    try:
        run = read_record(run_id, imported.data["v1"], find_blob=sizes.get)
    except RecordError:  # an older version read it otherwise
        return True
    came_along = {(kind, canonical(data)) for kind, data in payloads_beside(run)}
    return any((one.type, canonical(one.data)) not in came_along for one in later)
