"""A migration without a server: under the writer's lock, with a record of the import that is durable before its first event.

Who is refused the lock leaves nothing behind. Interrupted anywhere, it goes on when it is run again.
"""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import evolve, frozen

from api.migration.holdings import Holdings
from api.migration.import_record import begun, ended, interrupted
from api.migration.migrate import CLI, Importer, keeper_of
from api.migration.report import Report
from api.migration.rollback import Plan, Rollback, finish, undo, withdraw_all, withdraw_in
from api.migration.v1_copies import BACKUP, kept_copy, sha256_of
from api.migration.v1_source import V1Attachments
from api.migration.v1_text import V1Unreadable, records_of
from api.settings import Settings
from eventlog.blobs import Blobs
from eventlog.clock import Clock, SystemClock
from eventlog.commit import Limits
from eventlog.errors import EventLogError
from eventlog.log import Log
from projections.known import NAMES
from projections.offline import catch_up, opened
from projections.projection import ProjectionFailed

Bars = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: what is done, of how many, in which unit; gives what hears how many are done."""
Say = Callable[[str], None]


@frozen
class Source:
    """The v1 file as an import reads it: from its backup, if there is one, so that nobody changes it meanwhile."""

    path: Path
    text: Path
    sha256: str
    backup: dict[str, str] | None

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.text.stat().st_size


def source_of(path: Path, settings: Settings, clock: Clock, report: Report, say: Say, *, with_backup: bool) -> Source:
    """Return the v1 file at *path* with its backup, which *report* and *say* are told of."""
    source = _kept(path, settings, clock, with_backup=with_backup)
    report.backup = source.backup
    if source.backup:
        say(f"The v1 file is kept at {source.backup['path']} (SHA-256 {source.backup['sha256']}).")
    return source


def _kept(path: Path, settings: Settings, clock: Clock, *, with_backup: bool) -> Source:
    """Back the v1 file up, unless an interrupted import of it left a whole backup."""
    digest = sha256_of(path)
    before = interrupted(settings.data_dir, digest)
    if before and before.backup and _is_whole(before.backup):
        return Source(path, Path(before.backup["path"]), digest, before.backup)
    if not with_backup:
        return Source(path, path, digest, None)
    backup = kept_copy(path, BACKUP, clock)
    return Source(path, Path(backup["path"]), backup["sha256"], backup)


def migrate_offline(
    path: Path,
    attachments: V1Attachments,
    settings: Settings,
    report: Report,
    *,
    with_backup: bool,
    batch_size: int,
    bars: Bars,
    say: Say,
) -> str:
    """Import the v1 file at *path*; return what kept the projections from coming to the head ("" for nothing).

    Raises:
        LogLocked, LogDamaged: nothing was done.
        LogFull, LogHalted, OSError: the machine failed; a second run goes on from there.
        LogCorrupt: what the log has under an id cannot be read; the records before are told of.

    """
    clock = SystemClock()
    with opened(settings.data_dir, Limits(segment_bytes_max=settings.segment_bytes_max)) as (loop, log):
        source = source_of(path, settings, clock, report, say, with_backup=with_backup)
        record = begun(settings.data_dir, clock, str(path), source.sha256, source.backup)
        report.import_id = record.import_id
        keep = keeper_of(Blobs(settings.attachments_dir), attachments)
        importer = Importer(log, record.import_id, CLI, keep, report.take, batch_size)
        with bars("Importing", source.size, "bytes") as on_bytes:
            is_whole = loop.run(_import_all(importer, source, attachments, report, on_bytes))
        counts = report.counts
        counts["imported"] += importer.resumed
        counts["unchanged"] -= importer.resumed
        ended(settings.data_dir, clock, record, "done" if is_whole else "stopped", counts)
        return caught_up(log, settings, bars)


def caught_up(log: Log, settings: Settings, bars: Bars) -> str:
    """Bring the projections to the head; return what kept them from it ("" for nothing): what was written is durable all the same."""
    try:
        with bars("Projecting", len(NAMES) * log.end.next_seq, "events") as on_progress:
            catch_up(log, settings.data_dir, settings.runs_dir, on_progress)
    except ProjectionFailed as error:
        return f"The projections are not at the head: {error}"  # what is to be done, it says itself
    except (OSError, sqlite3.Error, EventLogError) as error:
        return f"The projections are not at the head: {error} A server brings them there when it starts."
    return ""


async def _import_all(
    importer: Importer, source: Source, attachments: V1Attachments, report: Report, on_bytes: Callable[[int], None]
) -> bool:
    """Import every record; tell whether the text was whole."""
    try:
        for record in records_of(source.text, on_bytes):
            await importer.add(record, attachments.size)
    except V1Unreadable as error:
        await importer.flush()
        report.end(evolve(error, path=str(source.path)).message)  # as a rehearsal says it
        return False
    await importer.flush()
    return True


def _is_whole(backup: dict[str, str]) -> bool:
    path = Path(backup["path"])
    return path.is_file() and sha256_of(path) == backup["sha256"]


def roll_back_offline(plan: Plan, path: Path, settings: Settings, done: Rollback, *, force: bool, bars: Bars) -> str:
    """Undo the imports of *plan*, unless runs were added to; return what kept the projections from the head.

    Raises:
        LogLocked, LogDamaged: nothing was done.
        LogFull, LogHalted, OSError: the machine failed; a second run goes on from there.

    """
    clock = SystemClock()
    with (
        opened(settings.data_dir, Limits(segment_bytes_max=settings.segment_bytes_max)) as (loop, log),
        Holdings.of(settings.data_dir) as holdings,
    ):
        if not undo(plan, path, holdings, done, clock, force=force):
            return ""
        with bars("Withdrawing", holdings.count(imported=True), "runs") as on_progress:
            loop.run(withdraw_all(plan, holdings, withdraw_in(log), done, on_progress))
        finish(plan, settings.data_dir, clock)
        return caught_up(log, settings, bars)
