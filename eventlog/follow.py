"""Reading the log in order, each event once, from a known place up to a durable end.

It needs no lock and no index. Bytes beyond the given end are never looked at: they may
belong to a batch that fails, is cut off, and is written again differently.
"""

from attrs import define, field, frozen

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Recorded
from eventlog.frame import frame_start
from eventlog.recovery import CHUNK_BYTES, End, survey
from eventlog.segment import SEGMENTS, BatchScan, segment_name, segment_numbers, segment_path


@frozen
class EventMissing(LogCorrupt):
    """What lies where the next event should is not that event, or nothing is there."""

    @property
    def message(self) -> str:
        place = f" (segment {self.segment}, byte {self.offset})" if self.segment else ""
        return (
            f"Event {self.seq} was not found where the log should go on{place}. Ask the operator to run `runlog log verify` "
            "and to restore the data directory from a backup."
        )


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
            try:
                events = self._batches(segment, start, limit, bytes_max)
            except LogCorrupt:
                following = self._following(end)
                if following is None:
                    raise
                self.at = End(self.at.next_seq, following, 0)
                continue
            if not events and segment == end.segment:  # else it would be asked for ever
                raise self._missing(segment, start)
        return events

    def _segment(self, end: End) -> int:
        """Return the segment of the next event: the present one, or the next when it is read to its end."""
        current = self.at.segment
        if current is not None and (
            current == end.segment or self.at.offset < (self._disk.size(segment_path(current)) or 0)
        ):
            return current
        later = self._later(end)
        if not later:
            raise self._missing(current or 0, self.at.offset)
        self.at = End(self.at.next_seq, later[0], 0)
        return later[0]

    def _later(self, end: End) -> list[int]:
        current, last = self.at.segment or 0, end.segment or 0
        return [number for number in segment_numbers(self._disk.names(SEGMENTS)) if current < number <= last]

    def _following(self, end: End) -> int | None:
        """Return the next segment if it begins with the next event; None if it does not.

        What else the present one holds is then rubbish, of which `runlog log verify` tells: batches tile the
        sequence and none spans two segments, so no event lies between.
        """
        begins = frame_start(self.at.next_seq) + b'"first":%d,' % self.at.next_seq
        for segment in self._later(end):
            if head := self._disk.read(segment_path(segment), 0, len(begins)):
                return segment if head == begins else None
        return None

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
            begins = frame_start(seq)
            is_there = self._disk.read(segment_path(segment), at, len(begins)) == begins
            raise (LogCorrupt if is_there else EventMissing)(seq, segment_name(segment), at)
        return events

    def _missing(self, segment: int, offset: int) -> LogCorrupt:
        return EventMissing(self.at.next_seq, segment_name(segment) if segment else "", offset)


_LOOKS_MAX = 20
"""A writer that is found in the middle of a write so often in a row is none."""


def last_whole_batch(disk: Disk, signed: int) -> End:
    """Return the end of the last whole batch, for readers that do not hold the writer's lock.

    *signed* is how many events the checkpoint covers, 0 where none is signed yet. Read it before you call this:
    a writer signs only what it has written, so all of that is there then, however far the writer is by now.

    Raises:
        LogDamaged: the newest segment has good frames behind a damaged one, or an event that was signed for is not good.

    """
    end = _end_of_newest(disk)
    if end.next_seq < signed:
        raise _damage_below(disk, end, signed)
    return end


def _end_of_newest(disk: Disk) -> End:
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


def _damage_below(disk: Disk, end: End, signed: int) -> LogDamaged:
    """Return what is told of a log whose whole batches end at *end*: the event that keeps the next one from being whole."""
    what = f"its good events end at {end.next_seq}, and its checkpoint is signed for {signed}"
    newest = max(segment_numbers(disk.names(SEGMENTS)), default=None)
    size = (disk.size(segment_path(newest)) or 0) if newest else 0
    try:
        Follower(disk, end).read(End(signed, newest, size))
    except LogCorrupt as first:
        return LogDamaged(what, first.segment, first.offset, first.seq)
    # A follower may begin inside a batch: one that claims to have begun earlier is good to it alone.
    return LogDamaged(what, segment_name(end.segment) if end.segment else "", end.offset, end.next_seq)
