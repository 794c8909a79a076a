"""The log: open, append, read, read a stream, close. What it says is durable, is.

log = Log.open(data_dir)
appended = await log.append([log.draft(...)], Stream.ABSENT, origin)
log.read(appended.first).data
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from eventlog.background import is_set_within, later
from eventlog.batch import Appended, Batch, Expected
from eventlog.clock import Clock, SystemClock, uuid7
from eventlog.commit import Limits
from eventlog.disk import Disk
from eventlog.errors import PASSING, LogCorrupt, LogHalted, OutOfHandles
from eventlog.event import Draft, IdempotencyKey, Origin, Place, Recorded, draft
from eventlog.frame import BadFrame, decode
from eventlog.index import Index, KeyUse
from eventlog.lock import WriterLock
from eventlog.mending import recover
from eventlog.notary import Notary
from eventlog.note import Note
from eventlog.opening import Identity, make_log, opened_checkpoint, opened_signer, read_identity
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from eventlog.segment import segment_name, segment_path
from eventlog.upgrade import upgrade
from eventlog.writer import Writer

logger = structlog.get_logger("eventlog.log")

_SAVE_INTERVAL_S = 0.5


class Log:
    """One open log, held by this process alone. Its methods belong to the event loop that opened it."""

    def __init__(self, disk: Disk, index: Index, identity: Identity, clock: Clock, lock: WriterLock | None) -> None:
        """Use `Log.open`."""
        self._disk, self._index, self._clock, self._lock = disk, index, clock, lock
        self.identity = identity
        self.corrupt: dict[int, LogCorrupt] = {}
        """Events found not to match their hash since the start, by seq; at most 1,000 are kept."""
        self._listeners: list[Callable[[Batch], None]] = []
        self._saver_thread = ThreadPoolExecutor(1, "log-index")
        self._stopping = asyncio.Event()
        self._writer: Writer
        self._saver: asyncio.Task[None]
        self.notary: Notary
        """Who signs where the log stands, and proves it."""

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> "Log":
        """Open the log in *data_dir*, making a new one where none ever was; call inside a running loop.

        Raises:
            LogLocked: another process is its writer.
            LogDamaged: it is corrupt; nothing was changed.

        """
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(data_dir)
        index_path = data_dir / "index.sqlite"
        index_exists = index_path.exists()
        index: Index | None = None
        try:
            clock = clock or SystemClock()
            disk = disk or PosixDisk(data_dir)
            identity = read_identity(disk) or make_log(disk, clock, index_exists=index_exists)
            index = Index(index_path, identity.log_id)
            if not identity.vkey:
                identity = upgrade(disk, index, identity)
            signer = opened_signer(disk, identity)
            published, signed = opened_checkpoint(disk, signer.verifier)
            tail, tree = recover(disk, index, clock, identity, signer, signed)
            log = cls(disk, index, identity, clock, lock)
            limits = limits or Limits()
            log._writer = Writer(disk, index, clock, tail, limits, log._committed)
            interval_s = limits.checkpoint_interval_ms / 1000
            log.notary = Notary(
                disk, signer, tree, Note.parse(published), log._found_corrupt_at, tail.segment, interval_s
            )
        except BaseException:
            if index is not None:
                index.close()
                if not index_exists:  # a log that does not open is left as it was found
                    index_path.unlink(missing_ok=True)
            lock.release()
            raise
        log._saver = asyncio.create_task(log._save_index(), name="log-index")
        return log

    @property
    def head(self) -> int:
        """The seq of the last durable event; -1 if there is none."""
        return self._writer.tail.next_seq - 1

    @property
    def end(self) -> End:
        """Where the durable part ends, for those who follow the segments."""
        tail = self._writer.tail
        return End(tail.next_seq, tail.segment, tail.segment_bytes)

    @property
    def halted(self) -> LogHalted | None:
        """Why the log takes no more writes; None while it does."""
        return self._writer.halted

    @property
    def held_us(self) -> int:
        """How far the log's time runs ahead of a clock that stepped back (microseconds)."""
        return self._writer.held_us

    @property
    def queued_events(self) -> int:
        """How many events wait to be written."""
        return self._writer.queued_events

    @property
    def unindexed_events(self) -> int:
        """How many durable events the index on disk does not have yet."""
        return self._index.unsaved

    def on_commit(self, listener: Callable[[Batch], None]) -> None:
        """Have *listener* called with each batch once it is durable, before its appends are answered."""
        self._listeners.append(listener)

    def on_fsync(self, listener: Callable[[float], None]) -> None:
        """Have *listener* called with how long each commit took to reach the disk (seconds)."""
        self._writer.on_fsync = listener

    def rest_between_batches(self, rest_s: Callable[[], float]) -> None:
        """Have *rest_s* asked before each batch how long to rest (seconds); it must answer at once."""
        self._writer.rest_s = rest_s

    def draft(self, event_type: str, stream: str, data: dict[str, Any], origin: Origin) -> Draft:
        """Return a draft of an event of this log (see `event.draft`)."""
        event_id = uuid7(self._clock.now_us())
        return draft(event_type, stream, data, event_id=event_id, source=self.identity.source, origin=origin)

    async def append(self, drafts: Sequence[Draft], expected: Expected, origin: Origin) -> Appended:
        """Return once *drafts*, all of one stream, are durable; for the errors see `Writer.append`."""
        return await self._writer.append(drafts, expected, origin)

    def begin(self, drafts: Sequence[Draft], expected: Expected, origin: Origin) -> "asyncio.Future[Appended]":
        """Begin to append *drafts*, all of one stream, without waiting; see `Writer.begin`."""
        return self._writer.begin(drafts, expected, origin)

    def read(self, seq: int) -> Recorded | None:
        """Return event *seq*; None if there is none.

        Raises:
            LogCorrupt: its stored bytes do not match its hash.

        """
        place = self._index.place(seq)
        return self.read_at(seq, place) if place else None

    def read_at(self, seq: int, place: Place) -> Recorded:
        """Return event *seq*, which lies at *place*.

        Raises:
            LogCorrupt: its stored bytes do not match its hash, or are another event's.
            OutOfHandles: no file can be opened now.

        """
        try:
            frame = decode(self._disk.read(segment_path(place.segment), place.offset, place.length))
            if frame.seq != seq:
                raise BadFrame(f"it is event {frame.seq}")
        except (BadFrame, OSError) as error:
            if isinstance(error, OSError) and error.errno in PASSING:
                raise OutOfHandles() from error  # it says nothing of the event
            raise self._found_corrupt(seq, place, str(error)) from None
        return Recorded(seq, frame.hash, frame.event, place)

    def read_from(self, seq: int, bytes_max: int) -> list[Recorded]:
        """Return event *seq* and what follows it, about *bytes_max* of it; empty beyond the head.

        Raises:
            LogCorrupt: event *seq* does not match its hash. Another that does not ends what is returned.

        """
        place = self._index.place(seq)
        if place is None:
            return []
        events = [self.read_at(seq, place)]
        offset = place.offset + place.length
        data = self._disk.read(segment_path(place.segment), offset, max(0, bytes_max - place.length))
        start = 0
        while events[-1].seq < self.head and (end := data.find(b"\n", start) + 1):
            try:
                frame = decode(data[start:end])
            except BadFrame:
                break
            if frame.seq != events[-1].seq + 1:
                break
            at = Place(place.segment, offset + start, end - start)
            events.append(Recorded(frame.seq, frame.hash, frame.event, at))
            start = end
        return events

    def read_stream(self, stream: str) -> list[Recorded]:
        """Return all events of *stream*, oldest first.

        Raises:
            LogCorrupt: one of them does not match its hash.

        """
        return list(self._of_stream(stream, 0))

    def read_stream_from(self, stream: str, seq: int, bytes_max: int) -> list[Recorded]:
        """Return the events of *stream* from event *seq* on, about *bytes_max* of them; empty where there is none.

        Raises:
            LogCorrupt: the first of them does not match its hash. Another that does not ends what is returned.

        """
        events: list[Recorded] = []
        size = 0
        try:
            for one in self._of_stream(stream, seq):
                events.append(one)
                size += one.place.length
                if size >= bytes_max:
                    break
        except LogCorrupt:
            if not events:
                raise
        return events

    def _of_stream(self, stream: str, first: int) -> Iterator[Recorded]:
        for seq in self._index.seqs(stream):
            if seq >= first and (place := self._index.place(seq)) is not None:
                yield self.read_at(seq, place)

    def has_stream(self, stream: str) -> bool:
        """Tell whether *stream* has any event."""
        return bool(self._index.revisions((stream,)))

    def key_use(self, actor: str, key: IdempotencyKey) -> KeyUse | None:
        """Return how *actor* used this key before; None if not yet."""
        return self._index.key(actor, key.key)

    async def close(self) -> None:
        """Write what waits, sign it, save the index, give the lock back."""
        await self._writer.close()
        await self.notary.close()
        self._stopping.set()
        await self._saver
        self._saver_thread.shutdown()
        self._index.close()
        self._disk.close()
        if self._lock:
            self._lock.release()

    def _committed(self, batch: Batch) -> None:
        self.notary.committed(batch)
        for listener in self._listeners:
            listener(batch)

    def _found_corrupt_at(self, seq: int, reason: str) -> LogCorrupt:
        return self._found_corrupt(seq, self._index.place(seq) or Place(0, 0, 0), reason)

    def _found_corrupt(self, seq: int, place: Place, reason: str) -> LogCorrupt:
        error = LogCorrupt(seq, segment_name(place.segment) if place.segment else "", place.offset)
        if seq not in self.corrupt and len(self.corrupt) < 1000:
            self.corrupt[seq] = error
            logger.error("log.corrupt", segment=error.segment, offset=error.offset, seq=seq, error=reason)
        return error

    async def _save_index(self) -> None:
        """Save the index in the background; never fails an append, only waits and tries again."""
        wait_s = _SAVE_INTERVAL_S
        while True:
            stopping = await is_set_within(self._stopping, wait_s)
            if self._index.begin_save():
                try:
                    await asyncio.get_running_loop().run_in_executor(self._saver_thread, self._index.save)
                    self._index.end_save()
                    wait_s = _SAVE_INTERVAL_S
                except sqlite3.Error as error:
                    wait_s = later(wait_s)
                    logger.warning("index.not_saved", error=str(error), retry_in_s=wait_s)
            if stopping and (wait_s != _SAVE_INTERVAL_S or not self._index.unsaved):
                return  # what could not be saved is found again by the next open
