"""Finding an event without an index: seqs rise with the bytes of a segment, so a few reads halve the way to it."""

import re
from contextlib import suppress

from attrs import evolve

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Place
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path

_READ_BYTES = 1 << 20
_START = re.compile(rb'(?:^|\n)\{"seq":(0|[1-9][0-9]{0,18}),"first":')


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
            LogCorrupt: none claims to be it where it should be.

        """
        segment = self._segment(seq)
        low, high = 0, self._disk.size(segment_path(segment)) or 0
        while high - low > _READ_BYTES:
            middle = (low + high) // 2
            found = self._first_from(segment, middle, high)
            if found is None or found[0] > seq:
                high = middle
            else:
                low = found[1]
        found = self._first_from(segment, low, high)
        while found is not None and found[0] < seq:
            found = self._first_from(segment, found[1] + 1, high + _READ_BYTES)
        if found is None or found[0] != seq:
            raise LogCorrupt(seq, segment_name(segment), low)
        return Place(segment, found[1], self._line_end(segment, found[1]) - found[1])

    def _segment(self, seq: int) -> int:
        """Return the last segment whose first frame is not beyond *seq*."""
        low, high = 0, len(self._segments)
        while low < high:
            middle = (low + high) // 2
            first = self._first_from(self._segments[middle], 0, 64)
            if first is None or first[0] > seq:
                high = middle
            else:
                low = middle + 1
        if not low:
            raise LogCorrupt(seq, segment_name(self._segments[0]) if self._segments else "", 0)
        return self._segments[low - 1]

    def _first_from(self, segment: int, offset: int, end: int) -> tuple[int, int] | None:
        """Return seq and offset of the first frame that begins from *offset* to before *end*."""
        # One byte more in front, so that a frame right at the offset is seen to begin a line.
        at = max(0, offset - 1)
        while at < end:
            data = self._disk.read(segment_path(segment), at, _READ_BYTES)
            for found in _START.finditer(data):
                begins = at + found.end() - len(found[0].lstrip(b"\n"))
                if begins >= offset and (found.start() or not at or data[:1] == b"\n"):
                    return (int(found[1]), begins) if begins < end else None
            if len(data) < _READ_BYTES:
                return None
            at += len(data) - 64
        return None

    def _line_end(self, segment: int, offset: int) -> int:
        while data := self._disk.read(segment_path(segment), offset, _READ_BYTES):
            if (newline := data.find(b"\n")) >= 0:
                return offset + newline + 1
            offset += len(data)
        return offset
