"""The single writer. An append resolves only after an fsync that covers its bytes.

It takes everything that waits, writes it with one write, calls one fdatasync, then
resolves the appends; it never waits for company. A failed fsync may have dropped dirty
pages, and a retry can falsely succeed; so the log halts, and only recovery opens it again.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread

import structlog

from eventlog.batch import Append, Appended, Batch, Expected, Tail, decide_batch
from eventlog.clock import Clock
from eventlog.commit import Committer, Limits
from eventlog.disk import Disk
from eventlog.errors import AppendTooLarge, EventLogError, LogBusy, LogFull, LogHalted
from eventlog.event import Draft, Origin
from eventlog.index import Index, KeyUse
from eventlog.segment import segment_name

logger = structlog.get_logger("eventlog.writer")

HELD_US_MAX = 5_000_000
"""Of the log's time ahead of the clock (microseconds): above it, the operator is told."""


class Writer:
    """Queue, group commit, halt. All methods belong to the event loop; only `_work` runs on the writer's thread.

    One batch at a time is on its way to the disk. What is appended meanwhile waits, and goes with the next.
    """

    def __init__(
        self,
        disk: Disk,
        index: Index,
        clock: Clock,
        tail: Tail,
        limits: Limits,
        on_commit: Callable[[Batch], None],
    ) -> None:
        """Start from *tail*, which recovery has made durable; *on_commit* hears of each durable batch."""
        self._disk, self._index, self._clock, self._limits = disk, index, clock, limits
        self._on_commit = on_commit
        self.on_fsync: Callable[[float], None] | None = None
        """Hears how long each write with its fsync took (seconds)."""
        self.rest_s: Callable[[], float] = lambda: 0.0
        """Tells how long to rest before the next batch (seconds), where others need time."""
        self.tail = tail
        self.halted: LogHalted | None = None
        self.queued_bytes = 0
        self.queued_events = 0
        self._waiting: deque[Append] = deque()
        self._busy = False
        """Whether a batch is on its way, or is about to be taken."""
        self._closing = False
        self._is_held = False
        """Whether it was told that the clock stepped back, which it has not made up for yet."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._committer = Committer(disk, limits, tail)
        """Belongs to the writer's thread."""
        # Not an executor: its futures cost more than the hop, and there is one kind of work.
        self._to_thread: SimpleQueue[tuple[list[Append], Batch] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def held_us(self) -> int:
        """How far the log's time runs ahead of the clock, which has stepped back (microseconds)."""
        return max(0, self.tail.time_us - self._clock.now_us())

    async def append(self, drafts: Sequence[Draft], expected: Expected, origin: Origin) -> Appended:
        """Return once *drafts* (of one stream, in one batch) are durable, or were already by the same key.

        Raises:
            RevisionConflict: the stream is not as *expected*.
            IdempotencyKeyReused: the key stands for another request.
            LogBusy, LogFull, AppendTooLarge: nothing was written.
            LogHalted: the outcome is not known.

        """
        appended: Appended = await self.begin(drafts, expected, origin)
        return appended

    def begin(self, drafts: Sequence[Draft], expected: Expected, origin: Origin) -> "asyncio.Future[Appended]":
        """Put *drafts* into the queue; the future comes to what `append` returns or raises.

        Raises:
            LogBusy, AppendTooLarge, LogHalted: as `append` does; nothing was put into the queue.

        """
        assert drafts, "an append has events"
        append = Append(drafts, expected, origin, self._loop.create_future())
        self._admit(append)
        self._waiting.append(append)
        self.queued_events += len(drafts)
        self.queued_bytes += append.size
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._take_rested)  # with all that this turn of the loop appends
        done: asyncio.Future[Appended] = append.done
        return done

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closing = True
        await self._idle.wait()
        self._to_thread.put(None)
        self._thread.join()
        if self.halted is None:
            self._committer.finish()

    def _admit(self, append: Append) -> None:
        if self.halted is not None:
            raise self.halted
        if append.size > self._limits.append_bytes_max:
            raise AppendTooLarge(append.size, self._limits.append_bytes_max)
        full = (
            self.queued_events + len(append.drafts) > self._limits.queue_events_max
            or (self.queued_bytes and self.queued_bytes + append.size > self._limits.queue_bytes_max)
            or self._index.unsaved > self._limits.unindexed_events_max
        )
        if full or self._closing:
            raise LogBusy()

    def _take_rested(self) -> None:
        """Begin the next batch, after a rest where one is asked for and something waits."""
        rest_s = 0.0
        if self._waiting and not self._closing:
            try:
                rest_s = self.rest_s()
            except Exception as error:  # a fault of ours elsewhere: no reason to leave appends waiting
                logger.error("log.rest_not_known", error=repr(error))
        if rest_s:
            self._loop.call_later(rest_s, self._take)
        else:
            self._take()

    def _take(self) -> None:
        """Begin the next batch; go idle where nothing waits."""
        while self._waiting:
            waiting = self._next_waiting()
            if self.halted is not None:
                self._refuse(waiting, self.halted)
                continue
            try:
                batch = self._decide(waiting)
            except sqlite3.Error as error:  # the index could not be asked: nothing was written
                logger.warning("index.not_readable", error=str(error))
                self._refuse(waiting, LogBusy())
                continue
            except Exception as error:  # a fault of ours, before anything was written
                self._halt_by(waiting, error)
                continue
            if batch.data:
                self._to_thread.put((waiting, batch))
                return
            self._answer(waiting, batch)
        self._busy = False
        self._idle.set()

    def _work(self) -> None:
        """Make batches durable, one after the other; the writer's thread."""
        broken: Exception | None = None
        while (given := self._to_thread.get()) is not None:
            started = time.monotonic()
            failure = broken  # a batch may be on its way here before the loop has heard
            if failure is None:
                try:
                    self._committer.commit(given[1])
                except Exception as error:
                    failure = error
            taken_s = time.monotonic() - started
            self._loop.call_soon_threadsafe(self._written, *given, failure, taken_s)
            try:
                if failure is None:
                    self._committer.write_ahead()
            except Exception as error:  # whatever it was: were this thread to end, appends would wait for ever
                broken = error
                self._loop.call_soon_threadsafe(self._halt_by, (), error)

    def _written(self, waiting: list[Append], batch: Batch, failure: Exception | None, taken_s: float) -> None:
        """Tell what became of a batch, and begin the next."""
        if failure is None:
            if self.on_fsync:
                self.on_fsync(taken_s)
            try:
                self._answer(waiting, batch)
            except Exception as error:  # it is durable, but not known here: only recovery finds it again
                self._halt_by(waiting, error)
        elif isinstance(failure, LogFull):
            self._refuse(waiting, failure)
        else:  # what is on disk is not known any more
            self._halt_by(waiting, failure)
        self._take_rested()

    def _answer(self, waiting: list[Append], batch: Batch) -> None:
        self._publish(batch)
        self._drop(waiting[: batch.taken])

    def _refuse(self, waiting: Sequence[Append], error: EventLogError) -> None:
        _fail(waiting, error)
        self._drop(waiting)

    def _halt_by(self, waiting: Sequence[Append], error: Exception) -> None:
        if isinstance(error, LogHalted):  # the disk failed, and the committer told of it
            self.halted = error
        else:
            segment = self.tail.segment
            logger.error(
                "log.halted",
                segment=segment_name(segment) if segment else None,
                offset=self.tail.segment_bytes if segment else None,
                seq=self.tail.next_seq,
                error=repr(error),
                exc_info=error,
            )
            self.halted = LogHalted(repr(error))
        self._refuse(waiting, self.halted)

    def _next_waiting(self) -> list[Append]:
        """Return what the next batch may hold; it stays in the queue until it is dealt with."""
        taken: list[Append] = []
        events = size = 0
        for append in self._waiting:
            events += len(append.drafts)
            size += append.size
            if taken and (events > self._limits.batch_events_max or size > self._limits.batch_bytes_max):
                break
            taken.append(append)
        return taken

    def _drop(self, dealt_with: Sequence[Append]) -> None:
        for append in dealt_with:
            self._waiting.popleft()
            self.queued_events -= len(append.drafts)
            self.queued_bytes -= append.size

    def _decide(self, waiting: Sequence[Append]) -> Batch:
        revisions = self._index.revisions({append.stream for append in waiting})
        now_us = self._clock.now_us()
        self._watch_clock(self.tail.time_us - now_us)
        return decide_batch(waiting, self.tail, now_us, revisions, self._index.key, self._limits.segment_bytes_max)

    def _watch_clock(self, held_us: int) -> None:
        """Tell once of a clock that stepped back, until it has caught up."""
        if held_us <= 0:
            self._is_held = False
        elif held_us > HELD_US_MAX and not self._is_held:
            self._is_held = True
            logger.warning("clock.stepped_back", held_s=held_us / 1e6)

    def _publish(self, batch: Batch) -> None:
        if batch.events:
            self.tail = batch.tail
            self._index_batch(batch)
            self._on_commit(batch)
        for append, outcome in batch.outcomes:
            if append.done.done():  # the client went away; its events are durable all the same
                continue
            if isinstance(outcome, EventLogError):
                append.done.set_exception(outcome)
            else:
                append.done.set_result(outcome)

    def _index_batch(self, batch: Batch) -> None:
        revisions: dict[str, int] = {}
        for append, outcome in batch.outcomes:
            if not isinstance(outcome, Appended) or outcome.replayed:
                continue
            revisions[append.stream] = outcome.revision
            self._index.add_stream(append.stream, outcome.first, outcome.last)
            if (key := append.origin.idempotency) is not None:
                use = KeyUse(key.request_sha256, outcome.first, outcome.last)
                self._index.add_key(append.origin.actor, key.key, use)
        self._index.add(batch.events, revisions)


def _fail(appends: Sequence[Append], error: EventLogError) -> None:
    for append in appends:
        if not append.done.done():
            append.done.set_exception(error)
