"""Reading the log in order, each event once, from a known place up to a durable end.

It needs no lock and no index. Bytes beyond the given end are never looked at: they may
belong to a batch that fails, is cut off, and is written again differently.
"""

from attrs import define, field

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Recorded
from eventlog.recovery import CHUNK_BYTES, End, survey
from eventlog.segment import SEGMENTS, BatchScan, segment_name, segment_numbers, segment_path


@define
class Follower:
    """A reader that remembers where it is."""

    _disk: Disk
    at: End = field(factory=End)

    def read(self, end: End, bytes_max: int = CHUNK_BYTES) -> list[Recorded]:
        """Return the next events up to *end*, at least one whole batch if there is one, else about *bytes_max*.

        Raises:
            LogCorrupt: the next event's bytes are not what was written.

        """
        events: list[Recorded] = []
        while not events and self.at.next_seq < end.next_seq:
            segment = self._segment(end)
            limit = end.offset if segment == end.segment else (self._disk.size(segment_path(segment)) or 0)
            start = self.at.offset if segment == self.at.segment else 0
            events = self._batches(segment, start, limit, bytes_max)
            if not events and segment == end.segment:  # else it would be asked for ever
                raise self._corrupt(segment, start)
        return events

    def _segment(self, end: End) -> int:
        """Return the segment of the next event: the present one, or the next when it is read to its end."""
        current = self.at.segment
        if current is not None and (
            current == end.segment or self.at.offset < (self._disk.size(segment_path(current)) or 0)
        ):
            return current
        later = [n for n in segment_numbers(self._disk.names(SEGMENTS)) if current is None or n > current]
        if not later:
            raise self._corrupt(current or 0, self.at.offset)
        self.at = End(self.at.next_seq, later[0], 0)
        return later[0]

    def _batches(self, segment: int, start: int, limit: int, bytes_max: int) -> list[Recorded]:
        scan = BatchScan(segment, self.at.next_seq, start, mid_batch=True)
        events: list[Recorded] = []
        offset = start
        while offset < limit and not events:
            data = self._disk.read(segment_path(segment), offset, min(bytes_max, limit - offset))
            if not data:
                break
            offset += len(data)
            events = [Recorded(p.frame.seq, p.frame.hash, p.frame.event, p.place) for p in scan.feed(data)]
            if scan.fault is not None:
                break
        self.at = End(scan.next_seq, segment, scan.good_end)
        if not events and start < limit:
            seq, at = scan.fault_at
            raise LogCorrupt(seq, segment_name(segment), at)
        return events

    def _corrupt(self, segment: int, offset: int) -> LogCorrupt:
        return LogCorrupt(self.at.next_seq, segment_name(segment) if segment else "", offset)


_LOOKS_MAX = 20
"""A writer that is found in the middle of a write so often in a row is none."""


def last_whole_batch(disk: Disk) -> End:
    """Return the end of the last whole batch, for readers that do not hold the writer's lock.

    Raises:
        LogDamaged: the newest segment has good frames behind a damaged one.

    """
    for segment in reversed(segment_numbers(disk.names(SEGMENTS))):
        head = disk.read(segment_path(segment), 0, 64)
        first = head.partition(b'"seq":')[2].partition(b",")[0]
        if first.isdigit():
            end = _surveyed(disk, segment, End(int(first), segment, 0))
            if end.offset:
                return end
    return End()


def _surveyed(disk: Disk, segment: int, start: End) -> End:
    """Return the end of the good batches of *segment*.

    A frame that is half written when it is read, and whole with others behind it a moment later, looks
    like damage; but only damage is still there at the next look.
    """
    seen: LogDamaged | None = None
    for _ in range(_LOOKS_MAX):
        try:
            return survey(disk, [segment], start).end
        except LogDamaged as damage:
            if seen is not None and damage.offset == seen.offset:
                raise
            seen = damage
    assert seen is not None
    raise seen
