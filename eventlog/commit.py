"""The writing of a batch: one write, one fdatasync, and what follows from an error of either.

A failed fsync may have dropped dirty pages, and a retry can falsely succeed; so it halts the
log, and only recovery opens it again. A write that found no space is taken back, durably.
"""

import errno
from contextlib import suppress

import structlog
from attrs import define, frozen

from eventlog.batch import Batch, Tail
from eventlog.disk import Disk
from eventlog.errors import LogFull, LogHalted
from eventlog.segment import SEGMENTS, segment_name, segment_path

logger = structlog.get_logger("eventlog.writer")

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@frozen
class Limits:
    """Bounds of the writer."""

    segment_bytes_max: int = 1 << 30
    batch_events_max: int = 4096
    batch_bytes_max: int = 8 << 20
    append_bytes_max: int = 64 << 20
    queue_events_max: int = 16_384
    queue_bytes_max: int = 64 << 20
    unindexed_events_max: int = 500_000
    checkpoint_interval_ms: int = 200
    """The least time from one signature to the next; every commit is to be covered within 250."""
    ahead_bytes: int = 2 << 20
    """How many NULs are written ahead of the events: a write into them changes no metadata, so its fsync is shorter."""
    ahead_after_batches: int = 100
    """A log that is hardly written to goes without."""
    ahead_free_bytes_min: int = 1 << 30


@define
class Committer:
    """Makes batches durable. For one thread at a time."""

    _disk: Disk
    _limits: Limits
    _tail: Tail
    """Where the events on disk end."""
    _batches: int = 0
    _ahead_to: int = 0
    """Up to which offset the newest segment holds NULs that were made durable."""

    def commit(self, batch: Batch) -> None:
        """Make *batch* durable; see the table of failures in docs/architecture.md.

        Raises:
            LogFull: there was no space; nothing of it is left.
            LogHalted: what is on disk is not known.

        """
        segment = batch.tail.segment
        assert segment is not None
        path = segment_path(segment)
        is_new = segment != self._tail.segment
        try:
            if is_new:
                if self._ahead_to and self._tail.segment is not None:
                    self._cut_padding(self._tail.segment, self._tail.segment_bytes)
                self._disk.create(path)
            self._disk.write(path, batch.offset, batch.data)
        except OSError as error:
            self._cut_back(path, batch.offset, is_new, error)
            raise LogFull() from error
        try:
            self._disk.sync(path)
            if is_new:
                self._disk.sync_folder(SEGMENTS)
        except OSError as error:
            raise self._halt(segment, batch, error) from error
        if is_new and self._tail.segment is not None:
            with suppress(OSError):  # the mode protects from slips only; open completes it
                self._disk.make_readonly(segment_path(self._tail.segment))
        self._tail = batch.tail

    def write_ahead(self) -> None:
        """Once in a while, fill the segment with NULs behind its events: what is written into them has a shorter fsync.

        Raises:
            LogHalted: as `commit` does.

        """
        limits, end = self._limits, self._tail.segment_bytes
        self._batches += 1
        if self._batches < limits.ahead_after_batches or end + limits.ahead_bytes // 2 < self._ahead_to:
            return
        assert self._tail.segment is not None, "it follows a commit"
        path = segment_path(self._tail.segment)
        start, ahead_to = max(end, self._ahead_to), end + limits.ahead_bytes
        try:
            if self._disk.free_bytes() < limits.ahead_free_bytes_min:
                return
            self._disk.write(path, start, bytes(ahead_to - start))
            self._disk.sync(path)
        except OSError as error:
            self._cut_back(path, end, False, error)
        else:
            self._ahead_to = ahead_to

    def finish(self) -> None:
        """Cut the padding off the newest segment; what is left of it by a failure does no harm."""
        if self._ahead_to and self._tail.segment is not None:
            with suppress(OSError):
                self._cut_padding(self._tail.segment, self._tail.segment_bytes)

    def _cut_padding(self, segment: int, end: int) -> None:
        """Cut a finished segment to its events, durably, before there is a next one and it is read to its end."""
        path = segment_path(segment)
        self._disk.truncate(path, end)
        self._disk.sync(path)
        self._ahead_to = 0

    def _cut_back(self, path: str, size: int, is_new: bool, error: OSError) -> None:
        """Take a batch that did not fit off the disk again, durably; halt where that cannot be done."""
        segment = self._tail.segment or 0
        if error.errno not in _NO_SPACE:
            raise self._halt(segment, None, error) from error
        try:
            if is_new:
                if self._disk.size(path) is not None:
                    self._disk.remove(path)
                    self._disk.sync_folder(SEGMENTS)
            else:
                self._disk.truncate(path, size)
                self._disk.sync(path)
                self._ahead_to = 0
        except OSError as second:
            raise self._halt(segment, None, second) from second
        logger.error("log.full", path=path, error=str(error))

    def _halt(self, segment: int, batch: Batch | None, error: OSError) -> LogHalted:
        logger.error(
            "log.halted",
            segment=segment_name(segment) if segment else "",
            offset=batch.offset if batch else self._tail.segment_bytes,
            seq=self._tail.next_seq,
            error=str(error),
        )
        return LogHalted(str(error))
