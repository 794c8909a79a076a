"""The migration: a v1 record and what comes with it is one append, so it is there wholly or not at all.

Every record is judged alone, and by the same function in a rehearsal as in earnest. What is in the
log already stays as it is: the same record again is unchanged, another one under its id a conflict.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from api.migration.v1 import ImportedRun, Note, RecordError, read_record
from api.migration.v1_source import V1Attachments
from eventlog.batch import Stream
from eventlog.blobs import BlobMismatch, Blobs, BlobTooLarge
from eventlog.canonical import canonical
from eventlog.errors import AppendTooLarge, LogBusy, RevisionConflict
from eventlog.event import Draft, Origin, Recorded
from eventlog.follow import Follower, last_whole_batch
from eventlog.log import Log
from eventlog.posix import PosixDisk
from projections.run import events

# What waits for the disk at once: enough for group commit, and below what the log's queue takes.
RECORDS_IN_FLIGHT_MAX = 256
EVENTS_IN_FLIGHT_MAX = 4096
BYTES_IN_FLIGHT_MAX = 16 << 20

_CLI = Origin(actor="cli")
_CHUNK_BYTES = 1 << 20

Known = Callable[[str], bytes | None]
"""Gives the SHA-256 of the v1 record that a run was imported from, NOT_IMPORTED for another run, None for none."""

NOT_IMPORTED = b""
Progress = Callable[[int], None]
"""Hears how many records are done."""


@define
class Report:
    """What a migration did, or (`dry_run`) would do; `--json` prints it as it is."""

    total: int = 0
    imported: int = 0
    unchanged: int = 0
    conflicts: int = 0
    failed: int = 0
    errors: list[dict[str, str]] = field(factory=list)
    notes: list[dict[str, str]] = field(factory=list)
    backup: dict[str, str] | None = None
    import_id: str | None = None
    dry_run: bool = False

    @property
    def is_good(self) -> bool:
        """Tell whether every record is in the log as v1 has it."""
        return not self.errors

    def as_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return attrs.asdict(self)

    def take(self, imported: ImportedRun) -> None:
        """Count a run that is imported."""
        self.imported += 1
        self.notes += _as_dicts(imported.notes)

    def fail(self, run_id: str, name: str, reason: str) -> None:
        """List a record that cannot be imported."""
        self.failed += 1
        self.errors.append({"run_id": run_id, "field": name, "reason": reason})

    def conflict(self, run_id: str, there: bytes | None) -> None:
        """List a record whose id the log has for something else."""
        self.conflicts += 1
        how = "a run that was not imported" if there == NOT_IMPORTED else "a run imported from other content"
        self.errors.append({"run_id": run_id, "field": "run_id", "reason": f"the log has {how} under this id"})


def rehearse(
    records: Iterable[tuple[str, Any]], known: Known, attachments: V1Attachments, on_progress: Progress
) -> Report:
    """Return what a migration of *records* would report; nothing is written."""
    report = Report(dry_run=True)
    for key, record in records:
        if (imported := _judge(key, record, known, attachments, report)) is not None:
            report.take(imported)
        on_progress(report.total)
    return report


async def migrate(
    records: Iterable[tuple[str, Any]],
    log: Log,
    blobs: Blobs,
    attachments: V1Attachments,
    import_id: str,
    on_progress: Progress,
) -> Report:
    """Append what of *records* is not in the log yet, and return once all of it is durable.

    Raises:
        LogFull, LogHalted, OSError: the machine failed; what was done stays, and a second run goes on from there.

    """
    report = Report(import_id=import_id)
    known = known_of(log)
    window = _Window()
    for key, record in records:
        imported = _judge(key, record, known, attachments, report)
        if imported is None:
            continue
        drafts = _drafts(log, imported, import_id)
        if not window.has_room(drafts):
            await _append_all(window, log, blobs, attachments, report)
            window = _Window()
            on_progress(report.total - 1)
        window.add(imported, drafts)
    await _append_all(window, log, blobs, attachments, report)
    on_progress(report.total)
    return report


def known_of(log: Log) -> Known:
    """Return what the open *log* has."""

    def known(run_id: str) -> bytes | None:
        there: bytes | None = None
        for recorded in log.read_stream(run_id):
            if recorded.type in events.BEGINNINGS:
                there = _origin_of(recorded)
        return there

    return known


def known_in(data_dir: Path) -> Known:
    """Return what the log in *data_dir* has, if there is one, without its lock and without writing.

    Raises:
        LogCorrupt, LogDamaged: it cannot be read.

    """
    there: dict[str, bytes] = {}
    disk = PosixDisk(data_dir)
    try:
        end, follower = last_whole_batch(disk), Follower(disk)
        while follower.at.next_seq < end.next_seq:
            for recorded in follower.read(end):
                if recorded.type in events.BEGINNINGS:
                    there[recorded.stream] = _origin_of(recorded)
    finally:
        disk.close()
    return there.get


def _origin_of(beginning: Recorded) -> bytes:
    return _digest(beginning.data["v1"]) if beginning.type == events.IMPORTED else NOT_IMPORTED


def _digest(record: Any) -> bytes:
    return sha256(canonical(record)).digest()


def _judge(key: str, record: Any, known: Known, attachments: V1Attachments, report: Report) -> ImportedRun | None:
    """Return the run that *record* becomes; None, with the reason in *report*, if it is not to be imported."""
    report.total += 1
    there = known(key)
    if there is not None and there == _digest(record):
        report.unchanged += 1
        return None
    try:
        imported = read_record(key, record, find_blob=attachments.size)
    except RecordError as error:
        report.fail(key, error.field, error.reason)
        return None
    if there is not None:
        report.conflict(key, there)
        return None
    return imported


def _drafts(log: Log, imported: ImportedRun, import_id: str) -> list[Draft]:
    notes = _as_dicts(imported.notes)
    data = {"run": imported.run, "import_id": import_id, "v1": imported.v1, "notes": notes}
    payloads = [(events.IMPORTED, data)]
    payloads += [(events.ADVISORY_ATTACHED, {"advisory": advisory}) for advisory in imported.advisories]
    if imported.explanation is not None:
        payloads.append((events.EXPLANATION_SET, imported.explanation))
    payloads += [(events.ATTACHMENT_ADDED, {"attachment": attachment}) for attachment in imported.attachments]
    return [log.draft(kind, imported.run_id, payload, _CLI) for kind, payload in payloads]


def _as_dicts(notes: Iterable[Note]) -> list[dict[str, str]]:
    return [attrs.asdict(note) for note in notes]


@define
class _Window:
    """Runs that are appended together."""

    runs: list[tuple[ImportedRun, list[Draft]]] = field(factory=list)
    events: int = 0
    bytes: int = 0

    def has_room(self, drafts: list[Draft]) -> bool:
        """Tell whether *drafts* fit; the first always do."""
        return not self.runs or (
            len(self.runs) < RECORDS_IN_FLIGHT_MAX
            and self.events + len(drafts) <= EVENTS_IN_FLIGHT_MAX
            and self.bytes + _size(drafts) <= BYTES_IN_FLIGHT_MAX
        )

    def add(self, imported: ImportedRun, drafts: list[Draft]) -> None:
        self.runs.append((imported, drafts))
        self.events += len(drafts)
        self.bytes += _size(drafts)


def _size(drafts: list[Draft]) -> int:
    return sum(draft.size for draft in drafts)


async def _append_all(window: _Window, log: Log, blobs: Blobs, attachments: V1Attachments, report: Report) -> None:
    """Append the runs of *window* at once; after an error of the machine too, each is awaited."""
    appends = (_append(imported, drafts, log, blobs, attachments) for imported, drafts in window.runs)
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    for (imported, _), outcome in zip(window.runs, outcomes, strict=True):
        match outcome:
            case None:
                report.take(imported)
            case RevisionConflict():
                report.conflict(imported.run_id, known_of(log)(imported.run_id))
            case AppendTooLarge():
                report.fail(imported.run_id, "$", str(outcome))
            case BlobMismatch() | BlobTooLarge():
                report.fail(imported.run_id, "attachments", "the bytes of an attachment changed while they were read")
            case _:
                raise outcome


async def _append(
    imported: ImportedRun, drafts: list[Draft], log: Log, blobs: Blobs, attachments: V1Attachments
) -> None:
    # The blobs first: an event never names bytes that are not durable.
    for attachment in imported.attachments:
        digest, size = attachment["sha256"], attachment["size_bytes"]
        await blobs.put(_chunks(attachments, digest), bytes_max=size, expected_sha256=digest)
    while True:
        try:
            await log.append(drafts, Stream.ABSENT, _CLI)
            return
        except LogBusy as busy:  # the index is behind
            await asyncio.sleep(busy.retry_after_s)


async def _chunks(attachments: V1Attachments, digest: str) -> AsyncIterator[bytes]:
    path = attachments.path(digest)
    if path is None:  # gone since it was found
        return
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
