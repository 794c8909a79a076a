"""Finding an event without an index: seqs rise with the bytes of a segment, so a few reads halve the way to it."""

import re
from collections.abc import Iterator
from contextlib import suppress

from attrs import evolve

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Place
from eventlog.follow import EventMissing
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path

_READ_BYTES = 1 << 20
_START = re.compile(rb'(?:^|\n)\{"seq":(0|[1-9][0-9]{0,18}),"first":')
_START_BYTES = 64
"""More than a match of `_START` has."""


def located(disk: Disk, error: LogDamaged) -> LogDamaged:
    """Return *error* with the place of its event, where it has none and the event can be found."""
    with suppress(LogCorrupt):
        if not error.segment:
            at = Finder(disk).place(error.seq)
            return evolve(error, segment=segment_name(at.segment), offset=at.offset)
    return error


class Finder:
    """Finds the events of a log by the seqs that its frames claim. What it finds is not checked."""

    def __init__(self, disk: Disk) -> None:
        """Look at the segments that are there now."""
        self._disk = disk
        self._segments = segment_numbers(disk.names(SEGMENTS))

    def place(self, seq: int) -> Place:
        """Return where the frame of event *seq* begins, with its length.

        Raises:
            EventMissing: none claims to be it. It names the first event of that segment that is not where it belongs.

        """
        segment = self._segment(seq)
        for start in (self._near(segment, seq), 0):  # a frame that claims nonsense may have led astray
            for claimed, offset in self._frames(segment, start):
                if claimed == seq:
                    return Place(segment, offset, self._line_end(segment, offset) - offset)
        raise self._first_wrong(segment, seq)

    def _near(self, segment: int, seq: int) -> int:
        """Return where a frame begins that lies shortly before event *seq*, or the segment."""
        low, high = 0, self._disk.size(segment_path(segment)) or 0
        while high - low > _READ_BYTES:
            middle = (low + high) // 2
            found = next(self._frames(segment, middle, high), None)
            if found is None or found[0] > seq:
                high = middle
            else:
                low = found[1]
        return low

    def _first_wrong(self, segment: int, seq: int) -> EventMissing:
        """Return where the frames of a segment that lacks event *seq* first do not follow one another."""
        before: tuple[int, int] | None = None
        for claimed, offset in self._frames(segment, 0):
            if before is not None and claimed != before[0] + 1:
                break
            before = (claimed, offset)
        if before is None:
            return EventMissing(seq, segment_name(segment), 0)
        end = self._line_end(segment, before[1])
        following = self._segments[self._segments.index(segment) + 1 :]
        if following and end == self._disk.size(segment_path(segment)):
            segment, end = following[0], 0
        return EventMissing(before[0] + 1, segment_name(segment), end)

    def _segment(self, seq: int) -> int:
        """Return the last segment whose first frame is not beyond *seq*."""
        low, high = 0, len(self._segments)
        while low < high:
            middle = (low + high) // 2
            first = next(self._frames(self._segments[middle], 0), None)
            if first is None or first[0] > seq:
                high = middle
            else:
                low = middle + 1
        if not low:
            raise EventMissing(seq, segment_name(self._segments[0]) if self._segments else "", 0)
        return self._segments[low - 1]

    def _frames(self, segment: int, offset: int, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield seq and offset of each frame that begins from *offset* to before *end*, or to the segment's end."""
        # One byte more in front, so that a frame right at the offset is seen to begin a line.
        at = max(0, offset - 1)
        while end is None or at < end:
            data = self._disk.read(segment_path(segment), at, _READ_BYTES)
            for found in _START.finditer(data):
                begins = at + found.end() - len(found[0].lstrip(b"\n"))
                if end is not None and begins >= end:
                    return
                if begins >= offset and (found.start() or not at or data[:1] == b"\n"):
                    yield int(found[1]), begins
                    offset = begins + 1
            if len(data) < _READ_BYTES:
                return
            at += len(data) - _START_BYTES

    def _line_end(self, segment: int, offset: int) -> int:
        while data := self._disk.read(segment_path(segment), offset, _READ_BYTES):
            if (newline := data.find(b"\n")) >= 0:
                return offset + newline + 1
            offset += len(data)
        return offset
