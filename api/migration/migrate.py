"""The migration: a v1 record and what comes with it is one append, so it is there wholly or not at all.

Records are appended many at a time, and told of in their order, each once it is durable. A rehearsal
judges by the same function and writes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from api.migration.holdings import Held, Holdings, held_in
from api.migration.judging import Importable, judge
from api.migration.report import Report, Verdict, conflict, failed
from api.migration.v1 import ImportedRun
from api.migration.v1_events import FindBlob
from api.migration.v1_source import V1Attachments
from api.migration.v1_text import V1Record
from eventlog.blobs import BlobMismatch, Blobs, BlobTooLarge
from eventlog.commit import Limits
from eventlog.errors import AppendTooLarge, LogBusy, RevisionConflict
from eventlog.event import Draft, Origin, draft
from eventlog.log import Log
from projections.run import events

BATCH_SIZE = 256
"""Records that are appended at once: enough for group commit, and below what the log's queue takes."""
BATCH_SIZE_MAX = 4096
EVENTS_IN_FLIGHT_MAX = 4096
BYTES_IN_FLIGHT_MAX = 16 << 20
LINE_BYTES_MAX = 32 << 20
"""Of a line of an import through a server."""
ATTEMPTS_MAX = 16

CLI = Origin(actor="cli")
_CHUNK_BYTES = 1 << 20

KeepBlobs = Callable[[ImportedRun], Awaitable[None]]
"""Makes the blobs of a run's attachments durable, before any event names them."""
Tell = Callable[[Verdict], None]


def rehearse(records: Iterable[V1Record], holdings: Holdings, attachments: V1Attachments, report: Report) -> None:
    """Put into *report* what a migration of *records* would; nothing is written.

    Raises:
        V1NotAnObject, V1Unreadable: from *records*.

    """
    nobody = "0" * 32

    def make(kind: str, stream: str, data: dict[str, object]) -> Draft:
        return draft(kind, stream, data, event_id=nobody, source=f"urn:runlog:{nobody}", origin=CLI)

    for record in records:
        judged = judge(record, holdings.get(record.key), attachments.size, nobody, make)
        if isinstance(judged, Verdict):
            report.take(judged)
        elif judged.size > (limit := Limits().append_bytes_max):
            report.take(failed(record.key, "$", str(AppendTooLarge(judged.size, limit))))
        else:
            report.take(judged.verdict)
            holdings.pretend(record.key, Held(0, judged.digest, nobody))


@define
class Importer:
    """Appends records to a log; `tell` hears of each in order, once what became of it is durable."""

    log: Log
    import_id: str
    origin: Origin
    keep_blobs: KeepBlobs
    tell: Tell
    batch_size: int = BATCH_SIZE
    _first_seq: int = field(init=False)
    """Where the log ended when this try began."""
    _resumed: set[int] = field(factory=set)
    _waiting: list[tuple[V1Record, FindBlob, Verdict | Importable]] = field(factory=list)
    _ids: set[str] = field(factory=set)
    _events: int = 0
    _bytes: int = 0

    @_first_seq.default
    def _end_of_log(self) -> int:
        return self.log.end.next_seq

    @property
    def resumed(self) -> int:
        """How many runs, found unchanged, an interrupted try of this import had brought."""
        return len(self._resumed)

    async def add(self, record: V1Record, find_blob: FindBlob) -> None:
        """Judge *record*; it is imported by the next `flush` at the latest.

        Raises:
            LogFull, LogHalted, OSError: the machine failed; what was told of stays, and a second try goes on from there.

        """
        if record.key in self._ids:  # what was judged a moment ago decides
            await self.flush()
        judged = self._judge(record, find_blob)
        if isinstance(judged, Importable):
            if self._events and not self._has_room(judged):
                await self.flush()
            self._ids.add(record.key)
            self._events += len(judged.drafts)
            self._bytes += judged.size
        self._waiting.append((record, find_blob, judged))
        if len(self._waiting) >= self.batch_size:
            await self.flush()

    async def flush(self) -> None:
        """Return once all that was added is durable and told of; after an error of the machine, each is awaited."""
        waiting, self._waiting = self._waiting, []
        self._ids, self._events, self._bytes = set(), 0, 0
        imported = [
            self._import(record, find_blob, judged)
            for record, find_blob, judged in waiting
            if isinstance(judged, Importable)
        ]
        outcomes = iter(await asyncio.gather(*imported, return_exceptions=True))
        for _, _, judged in waiting:
            outcome = judged if isinstance(judged, Verdict) else next(outcomes)
            if isinstance(outcome, BaseException):
                raise outcome
            self.tell(outcome)

    def _has_room(self, judged: Importable) -> bool:
        return (
            self._events + len(judged.drafts) <= EVENTS_IN_FLIGHT_MAX
            and self._bytes + judged.size <= BYTES_IN_FLIGHT_MAX
        )

    def _judge(self, record: V1Record, find_blob: FindBlob) -> Verdict | Importable:
        stream = self.log.read_stream(record.key)
        held = held_in(stream)

        def make(kind: str, stream: str, data: dict[str, object]) -> Draft:
            return self.log.draft(kind, stream, data, self.origin)

        judged = judge(record, held, find_blob, self.import_id, make)
        if isinstance(judged, Verdict) and judged.outcome == "unchanged" and held and held.import_id == self.import_id:
            # By its seq: the same key twice is one run, and what this try appended is told of as imported.
            seq = max(one.seq for one in stream if one.type == events.IMPORTED)
            if seq < self._first_seq:
                self._resumed.add(seq)
        return judged

    async def _import(self, record: V1Record, find_blob: FindBlob, judged: Importable) -> Verdict:
        now: Verdict | Importable = judged
        for _ in range(ATTEMPTS_MAX):
            if isinstance(now, Verdict):
                return now
            try:
                await self.keep_blobs(now.run)
                await self._append(now)
            except AppendTooLarge as error:
                return failed(record.key, "$", str(error))
            except (BlobMismatch, BlobTooLarge):
                return failed(record.key, "attachments", "the bytes of an attachment changed while they were read")
            except RevisionConflict:  # somebody else wrote to this id meanwhile
                now = self._judge(record, find_blob)
            else:
                return now.verdict
        return conflict(record.key, is_imported=False)

    async def _append(self, judged: Importable) -> None:
        while True:
            try:
                await self.log.append(judged.drafts, judged.expected, self.origin)
                return
            except LogBusy as busy:  # the index is behind
                await asyncio.sleep(busy.retry_after_s)


def keeper_of(blobs: Blobs, attachments: V1Attachments) -> KeepBlobs:
    """Return what copies the blobs of a run from *attachments* to *blobs*."""

    async def keep(run: ImportedRun) -> None:
        for one in run.attachments:
            digest, size = one["sha256"], one["size_bytes"]
            await blobs.put(_chunks(attachments.path(digest)), bytes_max=size, expected_sha256=digest)

    return keep


async def _chunks(path: Path | None) -> AsyncIterator[bytes]:
    if path is None:  # gone since it was found
        return
    with suppress(FileNotFoundError), await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
